"""Learning curves as a PNG that reads on a light and on a dark page; a run's and the report's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model.chart_frame import BLUE, GREEN, INK, VERMILION, new_figure, to_png


def draw_curves(curves: Mapping[str, Sequence[float]]) -> bytes:
    """Draws loss, quality and learning rate by epoch.

    Args:
      curves: the columns of curves.csv by name; those that are missing are left out.

    Returns:
      A PNG.
    """
    figure, (loss, quality, rate) = new_figure(10.8, 3.0, 3)
    epochs = curves["epoch"]
    panels = (
        (loss, "loss", (("loss", "train", BLUE), ("val_loss", "val", VERMILION))),
        (
            quality,
            "quality",
            (
                ("val_instance_miou", "val instance mIoU", VERMILION),
                ("point_accuracy", "train point accuracy", BLUE),
                ("val_point_accuracy", "val point accuracy", GREEN),
            ),
        ),
        (rate, "learning rate", (("learning_rate", "", BLUE),)),
    )
    for axes, title, lines in panels:
        for name, label, colour in lines:
            if name in curves:
                axes.plot(epochs, curves[name], color=colour, label=label, linewidth=1.8)
        axes.set_title(title, color=INK, fontsize=10, loc="left")
        axes.set_xlabel("epoch", color=INK)
    if "val_instance_miou" in curves and np.isfinite(curves["val_instance_miou"]).any():
        best = int(np.nanargmax(curves["val_instance_miou"]))
        quality.plot(
            [epochs[best]],
            [curves["val_instance_miou"][best]],
            "o",
            color=VERMILION,
            label=f"kept: epoch {epochs[best]:.0f}",
        )
    for axes in (loss, quality):
        if axes.lines:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return to_png(figure)
