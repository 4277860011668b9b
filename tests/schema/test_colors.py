import numpy as np
import pytest

from schema.categories import MAX_PARTS, UNANNOTATED_COLOUR
from schema.colors import PART_COLOURS, RIGHT_COLOUR, WRONG_COLOUR


def lab(colours):
    """#RRGGBB as CIELAB [n, 3] (sRGB, D65); equal distances look about equally different."""
    rgb = np.array([list(bytes.fromhex(colour[1:])) for colour in colours]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    x, y, z = np.cbrt(linear @ np.array(to_xyz).T / [0.9505, 1, 1.089]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize(("count", "distance"), [(24, 25), (100, 18), (MAX_PARTS, 12)])
def test_colours_of_parts_differ_from_each_other_and_from_errors(count, distance):
    others = [WRONG_COLOUR, RIGHT_COLOUR, UNANNOTATED_COLOUR, "#FFFFFF", "#161B22"]
    assert len(PART_COLOURS) == MAX_PARTS
    parts = lab(PART_COLOURS[:count])
    apart = np.linalg.norm(parts[:, np.newaxis] - parts, axis=2)
    assert apart[~np.eye(count, dtype=bool)].min() >= distance
    for other, least in zip(lab(others), (20, 20, 20, 15, 15), strict=True):
        assert np.linalg.norm(parts - other, axis=1).min() >= least
