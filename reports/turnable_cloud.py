"""A cloud that can be turned in the browser, in one or more colourings side by side.

`turnable` in macros.html shows it, with a still picture where scripts are off; turnable_cloud.html
has the script, which a page includes once, in its block `scripts`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports.cloud_picture import draw_cloud

MOST_POINTS = 4096
_REACH = 32_000
_GREY = 0xFFFF


def turnable_cloud(
    points: np.ndarray,
    views: Mapping[str, tuple[np.ndarray, Sequence[str]]],
    descriptions: Mapping[str, str],
) -> dict[str, Any]:
    """The values of the macro `turnable`; at most MOST_POINTS points, evenly spread, are drawn.

    `points`: [n, 3], n >= 1, raw or normalised. `views`: by name the index of each point's colour,
    int [n], and the colours, #RRGGBB; other indices are grey. `descriptions`: the same by name.
    """
    count = len(points)
    drawn = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.int64))
    centred = np.asarray(points, np.float64)[drawn]
    centred = centred - centred.mean(axis=0)
    reach = np.sqrt((centred**2).sum(axis=1).max()) or 1.0
    return {
        "points": _encode(np.rint(centred / reach * _REACH), "<i2"),
        "drawn": len(drawn),
        "views": [
            {
                "name": name,
                "still": draw_cloud(points[drawn], parts[drawn], colours),
                "parts": _encode(np.where(parts[drawn] < 0, _GREY, parts[drawn]), "<u2"),
                "colours": json.dumps(list(colours)),
                "description": descriptions[name],
            }
            for name, (parts, colours) in views.items()
        ],
    }


def _encode(values: np.ndarray, kind: str) -> str:
    """As the script reads them: Base64 of integers, little-endian."""
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")
