import io

import numpy as np
import pytest
from matplotlib.image import imread

from reports.cloud_picture import draw_cloud

BLUE, ORANGE = "#0072B2", "#E69F00"


def pixels(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    image = np.rint(imread(io.BytesIO(png), format="png") * 255).astype(int)
    return {tuple(pixel[:3]) for pixel in image.reshape(-1, 4) if pixel[3] > 100}


def test_each_point_has_its_parts_colour():
    points = np.array([[0.0, 0, 0], [1.0, 1, 1]])
    one = pixels(draw_cloud(points, np.array([0, 0]), (BLUE, ORANGE)))
    assert (0x00, 0x72, 0xB2) in one
    assert (0xE6, 0x9F, 0x00) not in one
    assert (0xE6, 0x9F, 0x00) in pixels(draw_cloud(points, np.array([0, 1]), (BLUE, ORANGE)))


def test_a_point_of_no_part_is_grey():
    assert (0x99, 0x99, 0x99) in pixels(draw_cloud(np.zeros((3, 3)), np.full(3, -1), (BLUE,)))


def test_a_cloud_that_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="expected"):
        draw_cloud(np.zeros((3, 3)), np.zeros(2, int), (BLUE,))
    with pytest.raises(ValueError, match="finite"):
        draw_cloud(np.full((3, 3), np.nan), np.zeros(3, int), (BLUE,))
