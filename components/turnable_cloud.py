"""A cloud that can be turned in the browser: what turnable_cloud.html, the script, reads.

A page takes the script in once with `{% include "turnable_cloud.html" %}`; each view has a still
picture that stays where scripts are off.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import numpy as np

MOST_POINTS = 4096
_REACH = 32_000
_GREY = 255


def evenly_spread(count: int, most: int = MOST_POINTS) -> np.ndarray:
    """Which of `count` points are drawn: all, or `most` of them, evenly spread. int64 [m]."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def encode_points(points: np.ndarray) -> str:
    """Coordinates as the script reads them: Base64 of int16 [n, 3], little-endian, y up.

    Args:
      points: float [n, 3], raw or normalised; centred and scaled here.
    """
    centred = np.asarray(points, np.float64) - np.mean(points, axis=0)
    reach = np.sqrt((centred**2).sum(axis=1).max(initial=0.0)) or 1.0
    whole = np.rint(centred / reach * _REACH).astype("<i2")
    return base64.b64encode(whole.tobytes()).decode("ascii")


def encode_parts(parts: np.ndarray) -> str:
    """Each point's colour as the script reads it: Base64 of uint8 [n], 255 for grey.

    Args:
      parts: int [n], index into the colours; anything below 0 or above 254 is grey.
    """
    parts = np.asarray(parts)
    known = np.where((parts >= 0) & (parts < _GREY), parts, _GREY)
    return base64.b64encode(known.astype(np.uint8).tobytes()).decode("ascii")


def encode_colours(colours: Sequence[str]) -> str:
    """The colours, #RRGGBB each, as the script reads them: JSON."""
    return json.dumps(list(colours))
