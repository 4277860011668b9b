"""The search space: whatever is drawn is a config that loads, and goes where its name says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.search_space import WIDTH_FACTOR, changes, search_space, with_choice
from model.settings import NetworkSettings, TrainingSettings
from preprocessing.settings import AugmentationSettings

NETWORK, TRAINING = NetworkSettings(), TrainingSettings()
shares = st.floats(0, 1)


@st.composite
def configs(draw):
    """Any recipe that loads, odd ones too."""
    scales = sorted(draw(st.lists(st.floats(0.01, 10), min_size=2, max_size=2)))
    points = draw(st.integers(1, 5000))
    return (
        NetworkSettings(dropout=draw(st.floats(0, 0.99)), head_widths=(draw(st.integers(1, 9)),)),
        TrainingSettings(
            learning_rate=draw(st.floats(1e-7, 10)),
            final_learning_rate=draw(st.floats(0, 10)),
            weight_decay=draw(st.one_of(st.just(0.0), st.floats(1e-8, 1))),
            batch_norm_momentum=draw(st.floats(0.01, 0.999)),
            points_per_draw=draw(st.one_of(st.none(), st.integers(1, points))),
            augmentation=AugmentationSettings(
                scale_low=scales[0],
                scale_high=scales[1],
                shift=draw(st.floats(0, 3)),
                jitter_sigma=draw(st.floats(0, 1)),
                jitter_clip=draw(st.floats(0, 1)),
            ),
        ),
        points,
    )


@settings(max_examples=100)
@given(configs(), st.lists(shares, min_size=15, max_size=15))
def test_every_draw_from_any_config_is_a_config_that_loads(config, places):
    network, training, points = config
    space = search_space(network, training, points).space
    values = {
        found.name: found.prob_to_value(min(place, 1 - 1e-9))
        for found, place in zip(space, places, strict=False)
    }
    _, tried = with_choice(network, training, values)
    assert 1 <= tried.points_per_draw <= points
    # The cosine decay falls wherever the config's own does.
    if training.final_learning_rate <= training.learning_rate:
        assert tried.learning_rate >= tried.final_learning_rate * (1 - 1e-9)


@settings(max_examples=50)
@given(configs())
def test_the_defaults_are_the_config_itself(config):
    network, training, points = config
    space = search_space(network, training, points)
    defaults = {found.name: found.default for found in space.space}
    drawn = {"points_per_draw": training.points_per_draw or points}
    assert with_choice(network, training, defaults) == (network, training.model_copy(update=drawn))
    assert with_choice(network, training, {}) == (network, training)


def test_values_go_where_their_names_say():
    values = {
        "training.learning_rate": 0.002,
        "training.augmentation.shift": 0.15,
        "network.dropout": 0.4,
        WIDTH_FACTOR: 0.5,
    }
    network, training = with_choice(NETWORK, TRAINING, values)
    assert training == TRAINING.model_copy(
        update={
            "learning_rate": 0.002,
            "augmentation": TRAINING.augmentation.model_copy(update={"shift": 0.15}),
        }
    )
    assert network.dropout == 0.4
    assert network.global_widths == (256, 1024)
    assert network.head_widths == (64,)
    assert changes(NETWORK, TRAINING, {**values, "network.dropout": 0.2}) == [
        "training.learning_rate: 0.001 -> 0.002",
        "training.augmentation.shift: 0.1 -> 0.15",
        "network.width_factor: 1.0 -> 0.5",
    ]


def test_a_width_never_becomes_zero():
    narrow = NetworkSettings(head_widths=(1,))
    assert with_choice(narrow, TRAINING, {WIDTH_FACTOR: 0.5})[0].head_widths == (1,)


def test_widths_stay_where_training_starts_from_weights():
    warm = TRAINING.model_copy(update={"warm_start": "last_blessed"})
    names = {found.name for found in search_space(NETWORK, TRAINING, 2048).space}
    assert names - {found.name for found in search_space(NETWORK, warm, 2048).space} == {
        WIDTH_FACTOR
    }


def test_a_name_that_the_config_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"training\.speed is no key of the config"):
        with_choice(NETWORK, TRAINING, {"training.speed": 3})
