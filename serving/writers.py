"""Segmented clouds as files, one format a function; a file is written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable

import numpy as np

from preprocessing.clouds.ply import labels_file, ply_file
from reports.cloud_picture import draw_cloud
from serving.segmented_cloud import SegmentedCloud

CSV_COLUMNS = ("x", "y", "z", "part", "part_name", "probability")
_PICTURE_SCALE = 2.0


def seg_file(cloud: SegmentedCloud) -> bytes:
    """The parts as text: an integer a line, -1 without an answer."""
    return labels_file(cloud.part)


def csv_file(cloud: SegmentedCloud) -> bytes:
    """A table with the columns CSV_COLUMNS; the probability is that of the named part."""
    part = cloud.part.tolist()
    # What has to be quoted are names, and of these there are few.
    named = {number: _csv_line((number, cloud.part_name(number))) for number in set(part)}
    columns = (*cloud.points.T.tolist(), [named[number] for number in part])
    rows = zip(*columns, cloud.certainty.tolist(), strict=True)
    head = _csv_line(CSV_COLUMNS)
    # Nine digits identify every float32; repr is the shortest text that identifies a float64.
    number = "%.9g" if cloud.points.dtype == np.float32 else "%r"
    line = f"{number},{number},{number},%s,%.6f\n"
    return "".join([f"{head}\n", *map(line.__mod__, rows)]).encode()


def _csv_line(values: Iterable[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().removesuffix("\n")


def npz_file(cloud: SegmentedCloud) -> bytes:
    """Arrays: points, part, probability as in SegmentedCloud; part_names and category as text."""
    file = io.BytesIO()
    np.savez(
        file,
        points=cloud.points,
        part=cloud.part,
        probability=cloud.probability,
        part_names=np.array(cloud.category.parts, np.str_),
        category=np.array(cloud.category.name, np.str_),
    )
    return file.getvalue()


def coloured_ply_file(cloud: SegmentedCloud) -> bytes:
    """A PLY in the parts' colours; see `preprocessing.clouds.ply.ply_file`."""
    return ply_file(cloud.points, cloud.part, cloud.category)


def png_file(cloud: SegmentedCloud) -> bytes:
    """A picture in the parts' colours, 960 by 640 pixels on a transparent ground."""
    return draw_cloud(cloud.points, cloud.part, cloud.category.colours, _PICTURE_SCALE)


# What makes a cloud's file, by its ending without the dot.
FILE_FORMATS: dict[str, Callable[[SegmentedCloud], bytes]] = {
    "seg": seg_file,
    "csv": csv_file,
    "npz": npz_file,
    "ply": coloured_ply_file,
    "png": png_file,
}
