"""What the charts on our pages have in common: they read on a light and on a dark page."""

from __future__ import annotations

import io
from typing import Any

INK = "#7d8590"
BLUE, VERMILION, GREEN = "#2f81c7", "#D55E00", "#009E73"


def new_figure(width: float, height: float, panels: int) -> tuple[Any, list[Any]]:
    """An empty figure.

    Args:
      width: in inches.
      height: in inches.
      panels: how many, side by side.

    Returns:
      The figure and the axes of its panels.
    """
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
    """The figure on a transparent ground."""
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True)
    return file.getvalue()
