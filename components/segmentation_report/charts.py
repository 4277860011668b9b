"""The histogram as a PNG that reads on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.charts import BLUE, INK, new_figure, to_png


def draw_histogram(shape_ious: Sequence[float]) -> bytes:
    """Draws how many clouds reached which shape IoU, in steps of 0.05.

    Returns:
      A PNG.
    """
    figure, (axes,) = new_figure(8.4, 2.4, 1)
    axes.hist(shape_ious, bins=np.linspace(0, 1, 21), color=BLUE, rwidth=0.9)
    axes.set_xlim(0, 1)
    axes.set_xlabel("shape IoU", color=INK)
    axes.set_ylabel("clouds", color=INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    return to_png(figure)
