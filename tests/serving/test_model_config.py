"""Versions by labels: what a server would refuse is refused before it is written."""

import os

import pytest
from google.protobuf import text_format

from schema.errors import UserError
from serving.model_config import (
    commands_to,
    empty_config,
    model_of,
    read_config,
    serve_labelled,
    serve_newest,
    write_config,
)

THERE = (7, 8, 9)


def labelled(*steps):
    """A model's part of a config after some steps, each (labels, versions without a label)."""
    model = model_of(empty_config(), "planes")
    for labels, also in steps:
        serve_labelled(model, labels, also, THERE)
    return model


def state(model):
    return list(model.model_version_policy.specific.versions), dict(model.version_labels)


def test_a_new_model_serves_its_newest_version():
    model = model_of(empty_config(), "planes")
    assert (model.name, model.base_path) == ("planes", "/models/planes")
    assert model.model_version_policy.latest.num_versions == 1


def test_a_canary_is_loaded_beside_the_stable_version_promoted_and_the_old_one_let_go():
    first = ({"stable": 7}, ())
    canary = ({"stable": 7, "canary": 8}, ())
    promoted = ({"stable": 8}, (7,))
    assert state(labelled(first, canary)) == ([7, 8], {"stable": 7, "canary": 8})
    assert state(labelled(first, canary, promoted)) == ([7, 8], {"stable": 8})
    assert state(labelled(first, canary, promoted, ({"stable": 8}, ()))) == ([8], {"stable": 8})
    # And back, as long as the old one is loaded.
    assert state(labelled(first, canary, promoted, ({"stable": 7}, (8,))))[1] == {"stable": 7}


def test_a_label_in_use_does_not_move_to_a_version_that_is_not_loaded():
    with pytest.raises(
        UserError,
        match=r"stable is 7 and cannot move to 9.*`labels --stable 7 --also 9`, and when 9 is "
        r"AVAILABLE, move the label with `labels --stable 9`",
    ):
        labelled(({"stable": 7}, ()), ({"stable": 9}, ()))
    model = labelled(({"stable": 7}, ()), ({"stable": 7}, (9,)), ({"stable": 9}, (7,)))
    assert state(model) == ([7, 9], {"stable": 9})


@pytest.mark.parametrize(
    ("now", "wanted", "expected"),
    [
        # What is loaded and what other labels name stays while a version is loaded.
        (
            ({"stable": 7, "canary": 8}, ()),
            ({"stable": 9}, (7,)),
            ["--stable 7 --canary 8 --also 9", "--stable 9 --also 7"],
        ),
        (
            ({"stable": 7}, (8,)),
            ({"stable": 9}, ()),
            ["--stable 7 --also 8 --also 9", "--stable 9"],
        ),
        (({"stable": 7}, (8,)), ({"stable": 8}, ()), ["--stable 8"]),
        # 6 is gone: its label is left out until it can move.
        (({"stable": 6}, ()), ({"stable": 7}, ()), ["--also 7", "--stable 7"]),
        (
            ({"stable": 6, "canary": 8}, ()),
            ({"stable": 7, "canary": 8}, ()),
            ["--canary 8 --also 7", "--stable 7 --canary 8"],
        ),
    ],
)
def test_the_commands_that_lead_somewhere_are_each_accepted(now, wanted, expected):
    model = model_of(empty_config(), "planes")
    serve_labelled(model, *now, (6, *THERE))
    commands, _ = commands_to(model, *wanted, THERE, ("labels",))
    assert commands == [f"`labels {options}`" for options in expected]
    for command in commands:
        words = command.strip("`").split()[1:]
        pairs = list(zip(words[::2], map(int, words[1::2]), strict=True))
        labels = {name[2:]: version for name, version in pairs if name != "--also"}
        also = [version for name, version in pairs if name == "--also"]
        serve_labelled(model, labels, also, THERE)
    assert state(model)[1] == wanted[0]


def test_a_version_that_was_not_pushed_is_refused_and_nothing_changes():
    model = labelled(({"stable": 7}, ()))
    before = text_format.MessageToString(model)
    for labels, also in (({"stable": 7, "canary": 10}, ()), ({"stable": 7}, (10,))):
        with pytest.raises(UserError, match="planes has no version 10; found 7, 8, 9"):
            serve_labelled(model, labels, also, THERE)
    assert text_format.MessageToString(model) == before


def test_labels_go_when_the_newest_is_served_again():
    model = labelled(({"stable": 7, "canary": 8}, ()))
    serve_newest(model)
    assert not model.version_labels
    assert model.model_version_policy.WhichOneof("policy_choice") == "latest"


def test_a_config_is_read_as_it_was_written_and_other_models_stay(tmp_path):
    file = tmp_path / "new" / "models.pbtxt"
    config = read_config(file)
    model_of(config, "chairs", "/elsewhere")
    serve_labelled(model_of(config, "planes"), {"stable": 7}, (), THERE)
    write_config(config, file)
    assert [path.name for path in file.parent.iterdir()] == ["models.pbtxt"]
    again = read_config(file)
    assert again == config
    assert model_of(again, "chairs").base_path == "/elsewhere/chairs"
    assert len(again.model_config_list.config) == 2


@pytest.mark.parametrize("content", [b"model_config_list { what: 1 }", b"{", b"\xff"])
def test_what_is_no_config_is_a_sentence_with_the_place(content, tmp_path):
    file = tmp_path / "models.pbtxt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"models\.pbtxt: it cannot be read as TensorFlow") as e:
        read_config(file)
    assert e.value.code == "unavailable"


def test_a_full_disk_is_a_sentence_and_the_old_config_stays(tmp_path, monkeypatch):
    file = tmp_path / "models.pbtxt"
    write_config(empty_config(), file)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    config = empty_config()
    model_of(config, "planes")
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        write_config(config, file)
    assert read_config(file) == empty_config()
