"""docs/serving.md: the commands, files and settings that it names are there."""

import re
import shlex

import pytest

from model.export.settings import ServingSettings
from pipeline.cli import main
from serving.batches import MOST_CLOUDS
from serving.model_config import IMAGE_TAG, SHIPPED

ROOT = SHIPPED.parents[1]
PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")


def commands():
    """What the page calls of ours: the words behind the program, a line each."""
    text = PAGE.replace("\\\n", " ")
    return re.findall(
        r"pointnet-parts ((?:segment|serve|labels|withdraw|skew|inspect) [^`#\n|]*)", text
    )


def test_the_page_shows_every_command_of_serving():
    shown = {line.split()[0] for line in commands()}
    assert shown == {"segment", "serve", "labels", "withdraw", "skew", "inspect"}


@pytest.mark.parametrize("line", sorted({line.strip() for line in commands()}))
def test_every_option_that_it_shows_is_there(line):
    name, *words = shlex.split(line)
    known = {option for parameter in main.commands[name].params for option in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known


def test_every_file_that_it_names_is_there():
    named = re.findall(r"serving/tensorflow_serving/([\w./]*)", PAGE)
    assert named
    for file in named:
        # Written by a measurement on a GPU, which nobody here had.
        if not file.startswith("kubernetes/gpu/batching"):
            assert (SHIPPED / file.rstrip(".")).exists(), file


def test_its_numbers_are_the_codes():
    assert f"`serving.keep_versions` ({ServingSettings().keep_versions})" in PAGE
    assert f"No smaller than {MOST_CLOUDS}, the clouds that our client sends at once" in PAGE
    assert f"(tag {IMAGE_TAG};" in PAGE
