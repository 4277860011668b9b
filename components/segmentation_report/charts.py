"""Learning curves and histogram as PNGs that read on a light and on a dark page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_INK = "#7d8590"
_BLUE, _VERMILION = "#2f81c7", "#D55E00"


def draw_curves(curves: Mapping[str, Sequence[float]]) -> bytes:
    """Draws loss and validation quality by epoch.

    Args:
      curves: the columns of curves.csv by name; those that are missing are left out.

    Returns:
      A PNG.
    """
    figure, (loss, quality) = _figure(8.4, 3.0, 2)
    epochs = curves["epoch"]
    panels = (
        (loss, "loss", (("loss", "train", _BLUE), ("val_loss", "val", _VERMILION))),
        (
            quality,
            "quality",
            (
                ("val_instance_miou", "val instance mIoU", _VERMILION),
                ("point_accuracy", "train point accuracy", _BLUE),
                ("val_point_accuracy", "val point accuracy", "#009E73"),
            ),
        ),
    )
    for axes, title, lines in panels:
        for name, label, colour in lines:
            if name in curves:
                axes.plot(epochs, curves[name], color=colour, label=label, linewidth=1.8)
        axes.set_title(title, color=_INK, fontsize=10, loc="left")
        axes.set_xlabel("epoch", color=_INK)
    if "val_instance_miou" in curves and np.isfinite(curves["val_instance_miou"]).any():
        best = int(np.nanargmax(curves["val_instance_miou"]))
        quality.plot(
            [epochs[best]],
            [curves["val_instance_miou"][best]],
            "o",
            color=_VERMILION,
            label=f"kept: epoch {epochs[best]:.0f}",
        )
    for axes in (loss, quality):
        if axes.lines:
            axes.legend(frameon=False, fontsize=8, labelcolor=_INK)
    return _png(figure)


def draw_histogram(shape_ious: Sequence[float]) -> bytes:
    """Draws how many clouds reached which shape IoU, in steps of 0.05.

    Returns:
      A PNG.
    """
    figure, (axes,) = _figure(8.4, 2.4, 1)
    axes.hist(shape_ious, bins=np.linspace(0, 1, 21), color=_BLUE, rwidth=0.9)
    axes.set_xlim(0, 1)
    axes.set_xlabel("shape IoU", color=_INK)
    axes.set_ylabel("clouds", color=_INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    return _png(figure)


def _figure(width: float, height: float, panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="tight")
    FigureCanvasAgg(figure)
    all_axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for axes in all_axes:
        axes.tick_params(colors=_INK, labelsize=8)
        axes.grid(color=_INK, alpha=0.2)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_INK)
    return figure, all_axes


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True)
    return file.getvalue()
