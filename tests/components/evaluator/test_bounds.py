"""The config's bounds: each reaches TFMA's config and the verdict."""

import pytest

from components.evaluator.bounds import bounds_of, evaluation_config, read_config
from components.evaluator.metrics import ALL_CLOUDS
from components.evaluator.settings import EvaluationSettings, SliceThresholds
from components.evaluator.verdict import judge
from model.bootstrap import replicate_scores
from model.metric_table import HEADLINES, METRICS, PART_METRICS
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import UserError

AIRPLANE = SHAPENET_CATEGORIES[:1]
TWO = SHAPENET_CATEGORIES[:2]
BOUNDS = {
    "headline": {"minimum": 0.11, "largest_drop": 0.12, "difference": "better"},
    "share": {"minimum": 0.21, "largest_drop": 0.22},
    "error": {"maximum": 0.31, "largest_rise": 0.32},
    "part": {"minimum": 0.41, "largest_drop": 0.42},
}
NONE = EvaluationSettings.without_bounds().model_dump()
# Fields of the settings that are not bounds.
OTHERS = {"exploratory"}


def settings_of(**values):
    return EvaluationSettings.model_validate({**NONE, **values})


def thresholds(config):
    """Metric, slice and threshold of each of TFMA's."""
    (metrics,) = config.metrics_specs
    for name, per_slice in metrics.per_slice_thresholds.items():
        for one in per_slice.thresholds:
            (spec,) = one.slicing_specs
            yield name, [*spec.feature_keys] or dict(spec.feature_values), one.threshold


def numbers(config):
    """Every number of TFMA's thresholds."""
    for _, _, one in thresholds(config):
        value, change = one.value_threshold, one.change_threshold
        for field in (value.lower_bound, value.upper_bound, change.absolute):
            if field.value:
                yield round(abs(field.value), 6)


def in_verdict(settings, categories):
    rows = judge(bounds_of(settings, categories), categories, {ALL_CLOUDS: {}}, {}, "").bounds
    return {(row.metric, row.kind, round(row.needed, 6)) for row in rows}


def cases():
    """Each field that is a bound with values of its own, and the numbers that must arrive."""
    of_kind = {metric.key: BOUNDS[metric.kind] for metric in METRICS}
    for field in EvaluationSettings.model_fields.keys() - OTHERS:
        if field in of_kind:
            yield field, of_kind[field]
        elif field.removesuffix("_of") in PART_METRICS:
            yield field, {"wing": {"minimum": 0.51, "largest_drop": 0.52}}
        elif field == "slices":
            for key in SliceThresholds.model_fields:
                bounds = {k: v for k, v in of_kind[key].items() if k != "difference"}
                yield field, {"cloud_size=1-511": {key: bounds}}
        else:
            assert field == "margin_over_trivial", f"a bound without a test: {field}"
            yield field, 0.25


def leaves(value):
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize(("field", "value"), sorted(cases(), key=str))
def test_each_bound_reaches_tfma_and_the_verdict(field, value):
    settings = settings_of(**{field: value})
    config = evaluation_config(settings, AIRPLANE)
    rows = in_verdict(settings, AIRPLANE)
    assert {needed for _, _, needed in rows} >= set(leaves(value))
    if field == "margin_over_trivial":  # TFMA has no such bound
        assert not list(thresholds(config))
        assert len(rows) == 2 * len(AIRPLANE[0].parts)
    else:
        assert set(numbers(config)) == set(leaves(value))
        kinds = {kind for _, kind, _ in rows}
        assert ("difference" in kinds) == ("difference" in str(value))
    assert read_config(config) == (settings, AIRPLANE)
    assert not list(numbers(evaluation_config(settings_of(), AIRPLANE)))
    assert not bounds_of(settings_of(), AIRPLANE)


def test_the_table_of_metrics_and_the_settings_have_the_same_rows():
    assert {metric.key for metric in METRICS} <= EvaluationSettings.model_fields.keys()
    assert {m.key for m in METRICS if m.on_slices} == SliceThresholds.model_fields.keys()
    assert set(replicate_scores({})) == set(HEADLINES)


def test_bounds_name_their_slices_in_tfmas_terms():
    settings = settings_of(
        calibration_error={"maximum": 0.1},
        slices={
            "cloud_size": {"point_accuracy": {"minimum": 0.6}},
            "category=Bag": {"instance_miou": {"minimum": 0.7}},
        },
    )
    found = {name: spec for name, spec, _ in thresholds(evaluation_config(settings, TWO))}
    assert found == {
        "calibration_error": {},
        "point_accuracy": ["cloud_size"],
        "instance_miou": {"category": "Bag"},
    }


def test_bounds_on_single_parts_are_merged_with_those_on_every_part():
    general = {"minimum": 0.3, "largest_drop": 0.05}
    single = {"wing": {"minimum": 0.6}, "engine": {"largest_drop": None}}
    settings = settings_of(part_iou=general, part_iou_of=single)
    limits = {(b.metric, b.kind): b.limit for b in bounds_of(settings, AIRPLANE)}
    assert limits["part_iou/wing", "minimum"] == 0.6
    assert limits["part_iou/wing", "largest_drop"] == 0.05
    assert limits["part_iou/engine", "minimum"] == 0.3
    assert ("part_iou/engine", "largest_drop") not in limits
    assert EvaluationSettings.model_validate(settings.model_dump()) == settings
    # With the defaults of the settings as well.
    defaults = EvaluationSettings.model_validate({"part_iou_of": {"wing": {"minimum": 0.6}}})
    assert defaults.part_iou_of["wing"].largest_drop == defaults.part_iou.largest_drop


@pytest.mark.parametrize(
    ("bounds", "fact"),
    [
        ({"part_iou_of": {"engin": {"minimum": 0.5}}}, "engin"),
        ({"slices": {"category=Boat": {}}}, "Boat"),
    ],
)
def test_a_bound_on_what_the_data_does_not_have_is_refused(bounds, fact):
    with pytest.raises(UserError, match=fact) as error:
        evaluation_config(settings_of(**bounds), AIRPLANE)
    assert error.value.code == "bad_config"


@pytest.mark.parametrize(
    ("values", "exploratory"),
    [({}, True), ({"margin_over_trivial": 0.1}, False), ({"exploratory": True}, True)],
)
def test_low_bounds_are_exploratory(values, exploratory):
    assert settings_of(**values).has_exploratory_bounds == exploratory
