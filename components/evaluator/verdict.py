"""The verdict: what each bound needed, what was measured, and by how much it was missed.

TFMA decides whether a bound is met. What is added here: a bound on what no cloud of its slice can
tell (a part that none of them has, a slice of fewer clouds than `FEWEST_CLOUDS`) neither blesses
nor blocks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.writers import eval_config_writer
from tfx.dsl.io import fileio

from components.evaluator.metrics import (
    ALL_CLOUDS,
    BASELINE,
    CANDIDATE,
    Slice,
    metrics_by_slice,
    slice_title,
)
from components.segmentation_metrics import DIFFERENCE_HIGH, DIFFERENCE_LOW
from model.bootstrap import FEWEST_CLOUDS

VERDICT_FILE = "verdict.json"
Kind = Literal["minimum", "maximum", "largest_drop", "largest_rise", "difference"]
State = Literal["met", "missed", "not measured"]


@dataclass(frozen=True)
class CheckedBound:
    """One bound and what came of it.

    Attributes:
      metric: its key, see components/segmentation_metrics.py.
      slice: "all clouds", or such as "category Chair".
      kind: of what sort it is.
      needed: the bound; of a drop or rise what may be lost.
      measured: the metric; of a drop, rise or difference what was lost or won.
      missed_by: how far the metric is beyond the bound; 0 where it is met, None where one of the
        two is no number.
      state: whether it is met.
      sentence: all of this for a person.
    """

    metric: str
    slice: str
    kind: Kind
    needed: float
    measured: float | None
    missed_by: float | None
    state: State
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """Whether a model may serve, and why.

    Attributes:
      blessed: no bound is missed, and at least one is met.
      bounds: all bounds.
      baseline: what the model was held against, or why against nothing, in a sentence.
    """

    blessed: bool
    bounds: tuple[CheckedBound, ...]
    baseline: str

    @property
    def reasons(self) -> list[str]:
        """A sentence for each missed bound; one where nothing was checked."""
        missed = [bound.sentence for bound in self.bounds if bound.state == "missed"]
        if not missed and not self.blessed:
            return ["no bound could be checked; set at least one under evaluation"]
        return missed

    def write(self, folder: str) -> None:
        """Writes VERDICT_FILE into the evaluation's folder."""
        with fileio.open(f"{folder}/{VERDICT_FILE}", "w") as file:
            file.write(json.dumps(asdict(self), indent=1, allow_nan=False))


def read_verdict(folder: str) -> Verdict:
    """The verdict of an evaluation's folder."""
    with fileio.open(f"{folder}/{VERDICT_FILE}", "r") as file:
        value = json.loads(file.read())
    bounds = tuple(CheckedBound(**bound) for bound in value.pop("bounds"))
    return Verdict(**value, bounds=bounds)


def judge(evaluation: str, baseline: str) -> Verdict:
    """Holds what was measured against every bound of the evaluation's config.

    Args:
      evaluation: the Evaluator's output folder.
      baseline: see Verdict.
    """
    config = eval_config_writer.load_eval_run(evaluation)[0]
    if not list(_thresholds(config)):
        return Verdict(False, (), baseline)  # TFMA has not judged either.
    candidate = metrics_by_slice(evaluation, CANDIDATE)
    blessed_model = metrics_by_slice(evaluation, BASELINE)
    failed = _failures(tfma.load_validation_result(evaluation))
    bounds: list[CheckedBound] = []
    for name, specs, threshold in _thresholds(config):
        for key, metrics in sorted(candidate.items(), key=lambda item: slice_title(item[0])):
            if any(_applies(spec, key) for spec in specs):
                before = blessed_model.get(key, {}) if blessed_model else None
                bounds.extend(_checked(name, key, threshold, metrics, before, failed))
    states = {bound.state for bound in bounds}
    return Verdict("missed" not in states and "met" in states, tuple(bounds), baseline)


def _thresholds(config: Any) -> Iterator[tuple[str, list[Any], Any]]:
    """Every threshold of the config: the metric's name, the slices, the threshold."""
    for metrics in config.metrics_specs:
        for name in sorted(metrics.per_slice_thresholds):
            for found in metrics.per_slice_thresholds[name].thresholds:
                yield name, list(found.slicing_specs), found.threshold


def _applies(spec: Any, key: Slice) -> bool:
    return tfma.slicer.SingleSliceSpec(spec=spec).is_slice_applicable(key)


def _failures(validation: Any) -> set[tuple[str, str, bool]]:
    """What TFMA found missed: slice, metric, and whether it is a difference."""
    found = set()
    for per_slice in validation.metric_validations_per_slice:
        key = tuple(
            (single.column, getattr(single, single.WhichOneof("kind")))
            for single in per_slice.slice_key.single_slice_keys
        )
        key = tuple(
            (column, value.decode() if isinstance(value, bytes) else value) for column, value in key
        )
        for failure in per_slice.failures:
            name = failure.metric_key
            found.add((slice_title(key), name.name, name.is_diff))
    return found


def _checked(
    name: str,
    key: Slice,
    threshold: Any,
    metrics: Mapping[str, float],
    before: Mapping[str, float] | None,
    failed: set[tuple[str, str, bool]],
) -> Iterator[CheckedBound]:
    """The bounds of one threshold in one slice; those on a change only with a baseline."""
    untellable = _untellable(name, key, metrics)

    def bound(kind: Kind, needed: float, measured: float, beyond: float) -> CheckedBound:
        missed = (slice_title(key), name, kind not in ("minimum", "maximum")) in failed
        state: State = "not measured" if untellable else "missed" if missed else "met"
        known = None if math.isnan(measured) else measured
        by = None if known is None else max(beyond, 0.0) if missed else 0.0
        what = metric_title(name) + (f" ({slice_title(key)})" if key else "")
        if untellable:
            sentence = f"{what}, {kind.replace('_', ' ')}: not measured, {untellable}"
        else:
            sentence = _sentence(what, kind, needed, known, by if missed else None)
        return CheckedBound(name, slice_title(key), kind, needed, known, by, state, sentence)

    measured = metrics.get(name, math.nan)
    value, change = threshold.value_threshold, threshold.change_threshold
    if value.HasField("lower_bound"):
        needed = value.lower_bound.value
        yield bound("minimum", needed, measured, needed - measured)
    if value.HasField("upper_bound"):
        needed = value.upper_bound.value
        yield bound("maximum", needed, measured, measured - needed)
    if not threshold.HasField("change_threshold") or before is None:
        return
    won, allowed = measured - before.get(name, math.nan), abs(change.absolute.value)
    if name.startswith((DIFFERENCE_LOW, DIFFERENCE_HIGH)):
        yield bound("difference", 0.0, measured, -measured)
    elif change.direction == tfma.MetricDirection.LOWER_IS_BETTER:
        yield bound("largest_rise", allowed, won, won - allowed)
    else:
        yield bound("largest_drop", allowed, -won, -won - allowed)


def _untellable(name: str, key: Slice, metrics: Mapping[str, float]) -> str:
    """Why the slice's clouds cannot tell; empty where they can."""
    clouds = metrics.get("clouds", 0.0)
    if key != ALL_CLOUDS and clouds < FEWEST_CLOUDS:
        return f"{clouds:.0f} clouds only"
    _, _, part = name.partition("/")
    if metrics.get(f"part_points/{part}") == 0:
        return "no cloud has it"
    return ""


def _sentence(
    what: str, kind: Kind, needed: float, measured: float | None, missed_by: float | None
) -> str:
    missing = "" if missed_by is None else f" ({missed_by:.4f} missing)"
    beyond = "" if missed_by is None else f" ({missed_by:.4f} too much)"
    if measured is None:
        wanted = {"minimum": "at least", "maximum": "at most"}.get(kind)
        needs = f"; {wanted} {needed:.4f} is needed" if wanted else " on both models"
        return f"{what} could not be measured{needs}"
    if kind == "minimum":
        return f"{what} is {measured:.4f}; at least {needed:.4f} is needed{missing}"
    if kind == "maximum":
        return f"{what} is {measured:.4f}; at most {needed:.4f} is allowed{beyond}"
    if kind == "largest_drop":
        moved = f"fell by {measured:.4f} below" if measured > 0 else f"is {-measured:.4f} above"
        return f"{what} {moved} the baseline; at most {needed:.4f} may be lost{beyond}"
    if kind == "largest_rise":
        moved = f"rose by {measured:.4f} above" if measured > 0 else f"is {-measured:.4f} below"
        return f"{what} {moved} the baseline's; at most {needed:.4f} may be added{beyond}"
    return f"{what} is {measured:+.4f}; it must not be below 0"


def metric_title(key: str) -> str:
    """A metric's key as a person reads it: part_iou/wing is "part IoU of wing"."""
    metric, _, part = key.partition("/")
    if metric in (DIFFERENCE_LOW, DIFFERENCE_HIGH):
        end = "lower" if metric == DIFFERENCE_LOW else "upper"
        return f"the {end} end of the 95 % interval of {metric_title(part)} less the baseline's"
    title = metric.replace("_", " ").replace("miou", "mIoU").replace("iou", "IoU")
    return f"{title} of {part}" if part else title
