"""A picture of a cloud, each point in its part's colour, on a transparent background."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from schema.categories import UNANNOTATED_COLOUR

_TURN, _TILT = np.radians(-52.0), np.radians(24.0)
_WIDTH, _HEIGHT, _DPI = 480, 320, 100


def draw_cloud(
    points: np.ndarray, parts: np.ndarray, colours: Sequence[str], scale: float = 1.0
) -> bytes:
    """Draws a cloud in parallel projection, from the front and a little above; y points up.

    Args:
      points: [n, 3], raw or normalised.
      parts: int [n], index into colours; other values are drawn grey.
      colours: #RRGGBB each.
      scale: factor on 480 by 320 pixels.

    Returns:
      A PNG.

    Raises:
      ValueError: the shapes do not fit, or a coordinate is not finite.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba_array
    from matplotlib.figure import Figure

    points, parts = np.asarray(points, np.float64), np.asarray(parts)
    if points.ndim != 2 or points.shape[1] != 3 or parts.shape != points.shape[:1]:
        raise ValueError(
            f"points have shape {points.shape} and parts {parts.shape}; expected [n, 3] and [n]"
        )
    if not np.isfinite(points).all():
        raise ValueError("the cloud holds coordinates that are not finite numbers")
    figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI * scale)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_axis_off()
    if len(points):
        across, up, depth = _project(points)
        order = np.argsort(depth)
        known = (parts >= 0) & (parts < len(colours))
        palette = to_rgba_array([*colours, UNANNOTATED_COLOUR])
        paint = palette[np.where(known, parts, len(colours))]
        reach = max(float(np.ptp(depth)), 1e-12)
        # Far points are paler, which reads as depth on a light and on a dark page.
        paint[:, 3] = 0.5 + 0.5 * (depth - depth.min()) / reach
        size = float(np.clip(26_000 / len(points), 5.0, 40.0))
        axes.scatter(across[order], up[order], s=size, c=paint[order], linewidths=0)
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True)
    return file.getvalue()


def _project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each point's place in the picture: across, up, and towards the viewer."""
    x, y, z = (points - points.mean(axis=0)).T
    across = np.cos(_TURN) * x - np.sin(_TURN) * z
    towards = np.sin(_TURN) * x + np.cos(_TURN) * z
    return (
        across,
        np.cos(_TILT) * y - np.sin(_TILT) * towards,
        np.sin(_TILT) * y + np.cos(_TILT) * towards,
    )
