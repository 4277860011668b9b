import base64

import numpy as np

from components.segmentation_report.executor import (
    SegmentedCloud,
    draw,
    extremes,
    read_curves,
    sample_clouds,
    segment,
)
from schema.categories import Category
from schema.record import Cloud

CUP, TOOL = Category("Cup", "02", ("body",)), Category("Tool", "01", ("head", "handle"))


def record(name, size, category="Tool"):
    return Cloud(name, category, np.ones((size, 3), np.float32), np.zeros(size, np.int64))


def cloud(name, iou):
    return SegmentedCloud(record(name, 4), TOOL, np.zeros(4, np.int64), iou)


def test_best_median_and_worst_in_that_order():
    clouds = [cloud("a", 0.5), cloud("b", 0.9), cloud("c", 0.1)]
    ranks = [(rank, found.record.shape_id) for rank, found in extremes(clouds)]
    assert ranks == [("best", "b"), ("median", "a"), ("worst", "c")]
    assert [rank for rank, _ in extremes(clouds[:1])] == ["best"]
    assert extremes([]) == []


def test_the_sample_does_not_depend_on_the_order():
    records = [record(str(i), 1) for i in range(20)]
    names = [found.shape_id for found in sample_clouds(records, 5)]
    assert names == [found.shape_id for found in sample_clouds(records[::-1], 5)]
    assert len(set(names)) == 5


class _Answer:
    def __init__(self, part):
        self.part = part

    def numpy(self):
        return self.part


class _Served:
    """Calls the first half of each cloud head, the rest handle; padding -1."""

    def __init__(self):
        self.categories = []
        self.signatures = {"serve_padded": self.answer}

    def answer(self, points, num_points, category):
        self.categories += category.numpy().tolist()
        place = np.arange(points.shape[1])[None]
        sizes = num_points.numpy()[:, None]
        part = np.where(place < sizes, (place >= sizes // 2).astype(int), -1)
        return {"part": _Answer(part)}


def test_clouds_of_different_sizes_go_through_together():
    served = _Served()
    records = [record("a", 4), record("b", 2), record("c", 6, "Cup")]
    segmented = segment(served, records, (CUP, TOOL))
    assert served.categories == [1, 1, 0]
    assert [found.prediction.tolist() for found in segmented[:2]] == [[0, 0, 1, 1], [0, 1]]
    # head: half of its points; handle: none of the two claimed.
    assert segmented[0].shape_iou == 0.25
    drawn = draw("best", segmented[0])
    assert (drawn.wrong, drawn.annotated) == (2, 4)
    assert [view.name for view in drawn.views] == ["truth", "prediction", "errors"]
    assert all(view.still.startswith(b"\x89PNG") for view in drawn.views)
    errors = np.frombuffer(base64.b64decode(drawn.views[2].parts), np.uint8)
    assert errors.tolist() == [0, 0, 1, 1]


def test_curves_by_column(tmp_path):
    path = tmp_path / "curves.csv"
    assert read_curves(str(path)) == {}
    path.write_text("epoch,loss\n1,0.5\n2,0.25\n")
    assert read_curves(str(path)) == {"epoch": [1.0, 2.0], "loss": [0.5, 0.25]}
