"""Charts as PNG, readable on a light and on a dark page; learning curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

INK = "#7d8590"
BLUE, VERMILION, GREEN = "#2f81c7", "#D55E00", "#009E73"

# Title of each panel, and its lines: column of curves.csv, label and colour.
_PANELS = (
    ("loss", (("loss", "train", BLUE), ("val_loss", "val", VERMILION))),
    (
        "quality",
        (
            ("val_instance_miou", "val instance mIoU", VERMILION),
            ("point_accuracy", "train point accuracy", BLUE),
            ("val_point_accuracy", "val point accuracy", GREEN),
        ),
    ),
    ("learning rate", (("learning_rate", "", BLUE),)),
)


def new_figure(width: float, height: float, panels: int) -> tuple[Any, list[Any]]:
    """An empty figure of width by height inches, and the axes of its panels, side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="tight")
    FigureCanvasAgg(figure)
    all_axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for axes in all_axes:
        axes.tick_params(colors=INK, labelsize=8)
        axes.grid(color=INK, alpha=0.2)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
    return figure, all_axes


def to_png(figure: Any) -> bytes:
    """The figure on a transparent background."""
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True)
    return file.getvalue()


def draw_histogram(shape_ious: Sequence[float]) -> bytes:
    """How many clouds reach which shape IoU, in steps of 0.05, as PNG."""
    figure, (axes,) = new_figure(8.4, 2.4, 1)
    axes.hist(shape_ious, bins=np.linspace(0, 1, 21), color=BLUE, rwidth=0.9)
    axes.set_xlim(0, 1)
    axes.set_xlabel("shape IoU", color=INK)
    axes.set_ylabel("clouds", color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    return to_png(figure)


def draw_curves(curves: Mapping[str, Sequence[float]]) -> bytes:
    """Loss, quality and learning rate by epoch, as PNG.

    Takes the columns of curves.csv by name; `epoch` must be there, other missing ones are left out.
    """
    figure, all_axes = new_figure(10.8, 3.0, len(_PANELS))
    epochs = curves["epoch"]
    for axes, (title, lines) in zip(all_axes, _PANELS, strict=True):
        for name, label, colour in lines:
            if name in curves:
                axes.plot(epochs, curves[name], color=colour, label=label, linewidth=1.8)
        axes.set_title(title, color=INK, fontsize=10, loc="left")
        axes.set_xlabel("epoch", color=INK)
    loss, quality, _ = all_axes
    miou = curves.get("val_instance_miou", ())
    if np.isfinite(miou).any():
        best = int(np.nanargmax(miou))
        label = f"kept: epoch {epochs[best]:.0f}"
        quality.plot([epochs[best]], [miou[best]], "o", color=VERMILION, label=label)
    for axes in (loss, quality):
        if axes.lines:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return to_png(figure)
