"""The verdict: every bound with what was measured, and whether the model is blessed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tfx.dsl.io import fileio

from components.evaluator.bounds import Bound, Kind
from components.evaluator.metrics import ALL_CLOUDS, Slice, slice_title
from model.bootstrap import FEWEST_CLOUDS
from model.metric_table import metric_title
from schema.categories import Category
from schema.size_buckets import CLOUD_SIZE, SIZE_BUCKETS

VERDICT_FILE = "verdict.json"
State = Literal["met", "missed", "not measured", "not applicable"]
Metrics = Mapping[Slice, Mapping[str, float]]
_WORDS: dict[Kind, str] = {
    "minimum": "minimum",
    "maximum": "maximum",
    "largest_drop": "largest drop below the baseline",
    "largest_rise": "largest rise above the baseline",
    "difference": "minimum",
    "over_trivial": "minimum, with the margin over the trivial answer,",
}


@dataclass(frozen=True)
class CheckedBound:
    """One bound on one slice.

    Attributes:
      metric, kind: as of `Bound`; kind "tfma" is a failure that only TFMA found.
      slice: "all clouds", or such as "category Chair".
      needed: the limit; of over_trivial the smallest value.
      measured: the metric; of a drop or rise the change; None: unknown.
      missed_by: how far `measured` is beyond the limit; 0 if it is met, None if unknown.
      blocks: whether the bound prevents the blessing.
      sentence: all of this for people, with the reason if it is not measured or not applicable.
    """

    metric: str
    slice: str
    kind: Kind
    needed: float
    measured: float | None
    missed_by: float | None
    state: State
    blocks: bool
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """Whether a model may serve, and why; `baseline` is a sentence on what it was compared with."""

    blessed: bool
    bounds: tuple[CheckedBound, ...]
    baseline: str
    exploratory: bool = False

    @property
    def headline(self) -> str:
        """The verdict for people, in a few words."""
        if not self.bounds:
            return "Measured"
        if not self.blessed:
            return "Not blessed"
        return "Blessed with exploratory bounds" if self.exploratory else "Blessed"

    @property
    def reasons(self) -> list[str]:
        """Why the model is not blessed, a sentence a bound; empty if it is."""
        if self.blessed:
            return []
        blocking = [bound.sentence for bound in self.bounds if bound.blocks]
        return blocking or ["no bound could be checked; set at least one under evaluation"]

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


def judge(
    bounds: Sequence[Bound],
    categories: Sequence[Category],
    candidate: Metrics,
    baseline: Metrics | None,
    baseline_sentence: str,
    exploratory: bool = False,
    tfma_failures: Iterable[tuple[str, str]] = (),
) -> Verdict:
    """Compares what was measured with every bound.

    A bound that cannot be measured blocks the blessing unless it is optional. Without a `baseline`,
    bounds on changes do not apply; nor does a bound on every size to a size that no cloud has.
    `tfma_failures` are slice titles and metrics ("": the slice is missing); one that no row
    explains blocks too.
    """
    rows = []
    for bound in bounds:
        for where in _slices(bound.where, categories):
            before = None if baseline is None else baseline.get(where, {})
            rows.append(_check(bound, where, candidate.get(where, {}), before, baseline_sentence))
    unmet = [row for row in rows if row.state != "met" and row.kind != "over_trivial"]
    explained = {(row.slice, "") for row in unmet}
    explained |= {(row.slice, row.metric) for row in unmet if row.state != "not applicable"}
    for title, metric in sorted(set(tfma_failures) - explained):
        sentence = f"TFMA's own check of {metric_title(metric) or 'the clouds'} ({title}) fails"
        rows.append(CheckedBound(metric, title, "tfma", 0.0, None, None, "missed", True, sentence))
    blessed = not any(row.blocks for row in rows) and any(row.state == "met" for row in rows)
    return Verdict(blessed, tuple(rows), baseline_sentence, exploratory)


def _slices(where: str, categories: Sequence[Category]) -> list[Slice]:
    """The slices that a name in the config means."""
    feature, _, value = where.partition("=")
    if not feature:
        return [ALL_CLOUDS]
    every = SIZE_BUCKETS if feature == CLOUD_SIZE else [category.name for category in categories]
    return [((feature, one),) for one in ([value] if value else every)]


def _check(
    bound: Bound,
    where: Slice,
    metrics: Mapping[str, float],
    baseline: Mapping[str, float] | None,
    baseline_sentence: str,
) -> CheckedBound:
    """One bound on one slice; `baseline`: the baseline's metrics there."""
    needed, measured = bound.limit, metrics.get(bound.metric, math.nan)
    if bound.kind in ("largest_drop", "largest_rise"):
        change = measured - (baseline or {}).get(bound.metric, math.nan)
        measured = change if bound.kind == "largest_rise" else -change
    elif bound.kind == "over_trivial":
        trivial = metrics.get(bound.metric.replace("part_", "trivial_", 1), math.nan)
        needed = bound.limit if math.isnan(trivial) else trivial + bound.limit * (1 - trivial)
    lower = bound.kind in ("minimum", "difference", "over_trivial")
    beyond = needed - measured if lower else measured - needed
    state, reason = _obstacle(bound, where, metrics, baseline, baseline_sentence)
    if not state and math.isnan(beyond):
        state, reason = "not measured", "its value is not a number"
    known = None if math.isnan(measured) else measured
    missed_by = None if state else max(beyond, 0.0)
    if not state:
        state, reason = ("missed" if beyond > 0 else "met"), f"measured {measured:.4f}"
    blocks = state == "missed" or (state == "not measured" and not bound.optional)
    what = metric_title(bound.metric) + (f" ({slice_title(where)})" if where else "")
    sentence = f"{what}: {_WORDS[bound.kind]} {needed:.4f} {state}, {reason}"
    if blocks:
        by = f"beyond the limit by {missed_by:.4f}" if missed_by else "optional: true accepts this"
        sentence += f" ({by})"
    return CheckedBound(
        metric=bound.metric,
        slice=slice_title(where),
        kind=bound.kind,
        needed=needed,
        measured=known,
        missed_by=missed_by,
        state=state,
        blocks=blocks,
        sentence=sentence,
    )


def _obstacle(
    bound: Bound,
    where: Slice,
    metrics: Mapping[str, float],
    baseline: Mapping[str, float] | None,
    baseline_sentence: str,
) -> tuple[State | None, str]:
    """The state and the reason if the bound cannot be checked; None if it can."""
    clouds = metrics.get("clouds", 0.0)
    if where and clouds == 0 and bound.where == CLOUD_SIZE:
        return "not applicable", "no test cloud is in this slice"
    if bound.kind in ("largest_drop", "largest_rise", "difference") and baseline is None:
        return "not applicable", baseline_sentence
    if where and clouds < FEWEST_CLOUDS:
        return "not measured", f"the slice has {clouds:.0f} test clouds, {FEWEST_CLOUDS} are needed"
    if bound.kind == "difference" and clouds < FEWEST_CLOUDS:
        return "not measured", f"the interval needs {FEWEST_CLOUDS} test clouds"
    _, _, part = bound.metric.partition("/")
    if metrics.get(f"part_points/{part}") == 0:
        return "not measured", "no test cloud has the part"
    if bound.kind == "over_trivial" and metrics.get(f"trivial_accuracy/{part}") == 1:
        return "not applicable", "it is the only part of its category in the test clouds"
    return None, ""
