"""The one table of metrics: keys, titles, conventions, and which bounds a config may set on them.

The Evaluator measures it, the config's section `evaluation` has a bound for each row, `compare`,
the report and docs/evaluation.md show it. `model/metrics.py` defines the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# headline: a share with a bootstrap interval; part: a share of each part, key "<metric>/<part>".
Kind = Literal["headline", "share", "error", "part"]

NO_ANSWER = "no answer"
# Ends of the 95 % bootstrap interval of a headline, "<end>/<headline>", and of its difference to
# the baseline's.
INTERVAL_LOW, INTERVAL_HIGH = "interval_low", "interval_high"
DIFFERENCE_LOW, DIFFERENCE_HIGH = "difference_low", "difference_high"


@dataclass(frozen=True)
class Metric:
    """A row: `convention` describes the value; `on_slices`: bounds on slices are possible."""

    key: str
    title: str
    convention: str
    kind: Kind
    on_slices: bool = False


METRICS = (
    Metric("point_accuracy", "point accuracy", "share of all annotated points", "headline", True),
    Metric(
        "mean_class_accuracy",
        "mean class accuracy",
        "mean of the accuracies of all parts that occur",
        "share",
        True,
    ),
    Metric(
        "instance_miou",
        "instance mIoU",
        "mean over shapes; a part absent from truth and answer counts 1",
        "headline",
        True,
    ),
    Metric("category_miou", "category mIoU", "mean of the categories' instance mIoU", "headline"),
    Metric(
        "instance_miou_of_present_parts",
        "instance mIoU, present parts",
        "mean over shapes; only parts in the truth",
        "headline",
    ),
    Metric(
        "calibration_error",
        "calibration error",
        "mean gap between probability and share of right answers, 15 bins; 0 is best",
        "error",
        True,
    ),
    Metric("part_accuracy", "part accuracy", "share of the part's points that are found", "part"),
    Metric("part_iou", "part IoU", "IoU of the part's points, pooled over all shapes", "part"),
)
BY_KEY = {metric.key: metric for metric in METRICS}
HEADLINES = tuple(metric.key for metric in METRICS if metric.kind == "headline")
PART_METRICS = tuple(metric.key for metric in METRICS if metric.kind == "part")


def metric_title(key: str) -> str:
    """The title of a measured key; "part_iou/wing" gives "part IoU of wing"."""
    metric, _, part = key.partition("/")
    if metric in (DIFFERENCE_LOW, DIFFERENCE_HIGH):
        end = "lower" if metric == DIFFERENCE_LOW else "upper"
        return f"{end} end of the 95 % interval of the difference in {metric_title(part)}"
    title = BY_KEY[metric].title if metric in BY_KEY else metric.replace("_", " ")
    return f"{title} of {part}" if part else title
