"""A conversion ends at moments spread over it, as by kill -9: nothing looks finished that is not,
and running again gives the same files and no others.

Moments are Python's audit events: a file of the output is opened, something in it is made, renamed
or removed. From the moment on each of them fails, so that nothing is changed or cleaned up either.
"""

import os
import shutil
import sys

import pytest

from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import Manifest
from preprocessing.settings import DataSettings
from schema.errors import UserError
from tests.preprocessing.conversion.conftest import contents

pytestmark = pytest.mark.slow
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
OLD_SEED, SEED = 1, 0


class Killed(BaseException):
    """The process ends here, as far as the code under test can tell."""


class Moments:
    """Counts the moments of an output, and ends the conversion at one of them."""

    def __init__(self):
        self.output, self.count, self.kill_at = "", 0, 0
        sys.addaudithook(self._watch)

    def _watch(self, event, arguments):
        if self.output and event in EVENTS and str(arguments[0]).startswith(self.output):
            self.count += 1
            if self.kill_at and self.count >= self.kill_at:
                raise Killed

    def convert(self, source, output, seed=SEED, kill_at=0):
        self.output, self.count, self.kill_at = str(output), 0, kill_at
        try:
            convert(source, str(output), DataSettings(shard_megabytes=0.0005, seed=seed))
        except (Killed, UserError):
            assert kill_at
        finally:
            self.output = ""
        return self.count


@pytest.fixture(scope="module")
def moments():
    return Moments()


@pytest.fixture(scope="module")
def starts(moments, twelve, tmp_path_factory):
    """What there may be before: nothing, another data set, the same one without a file."""
    folder = tmp_path_factory.mktemp("starts")
    (folder / "nothing").mkdir()
    moments.convert(twelve, folder / "other", OLD_SEED)
    moments.convert(twelve, folder / "new")
    shutil.copytree(folder / "new", folder / "damaged")
    (folder / "damaged" / Manifest.load(folder / "new").shards[0].file).unlink()
    return folder


@pytest.mark.parametrize("start", ["nothing", "other", "damaged"])
def test_killed(moments, twelve, starts, tmp_path, start):
    old, new = contents(starts / "other"), contents(starts / "new")
    assert len(new) > 6
    shutil.copytree(starts / start, tmp_path / "undisturbed")
    last = moments.convert(twelve, tmp_path / "undisturbed")
    assert contents(tmp_path / "undisturbed") == new
    seen = set()
    for moment in sorted({*range(1, 6), *range(6, last - 4, last // 9), *range(last - 4, last)}):
        out = tmp_path / str(moment)
        shutil.copytree(starts / start, out)
        moments.convert(twelve, out, kill_at=moment)
        if (out / "manifest.json").exists() and start != "damaged":
            # It and all that it lists are there.
            complete = [files for files in (old, new) if files.items() <= contents(out).items()]
            assert complete, moment
            seen.update(files["manifest.json"] for files in complete)
        # Asked for again; now and then the other data set comes first.
        for seed in (OLD_SEED, SEED) if moment % 3 == 0 else (SEED,):
            moments.convert(twelve, out, seed)
            assert contents(out) == (new if seed == SEED else old), moment
            assert len(os.listdir(out)) == 2, moment
    assert len(seen) == {"nothing": 1, "other": 2, "damaged": 0}[start]
