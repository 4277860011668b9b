"""kill -9 at moments spread over a conversion: nothing looks finished that is not, and running
again gives the same files and no others. The moments are counted: see conversion_driver.py.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.conversion.manifest import Manifest
from tests.preprocessing.conversion.conftest import contents

pytestmark = pytest.mark.slow
OLD_SEED, SEED = 1, 0


class Driver:
    """Runs conversions in processes that may be killed."""

    def __init__(self, temporary):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", Path(__file__).with_name("conversion_driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # For what Beam leaves behind when it is killed; and where our packages are.
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.getcwd()},
        )

    def convert(self, source, output, seed=SEED, kill_at=0):
        """Converts; the number of moments if it was not killed."""
        order = {"source": str(source), "output": str(output), "seed": seed, "kill_at": kill_at}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        # Some runs have a moment less: threads may make a folder together.
        assert answer["signal"] == (signal.SIGKILL if kill_at else 0) or answer["moments"]
        return answer["moments"]

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    made = Driver(tmp_path_factory.mktemp("beam"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def source(part_annotation_folder, tmp_path_factory):
    folder = part_annotation_folder(tmp_path_factory.mktemp("killed") / "source")
    for i in range(12):
        folder.shape(f"shape{i:02d}", 6 + i)
    return folder.root


@pytest.fixture(scope="module")
def starts(driver, source, tmp_path_factory):
    """What there may be before: nothing, another data set, the same one without a file."""
    folder = tmp_path_factory.mktemp("starts")
    (folder / "nothing").mkdir()
    driver.convert(source, folder / "other", OLD_SEED)
    driver.convert(source, folder / "new")
    shutil.copytree(folder / "new", folder / "damaged")
    shards = Manifest.load(folder / "new").shards
    assert len(shards) > 5
    (folder / "damaged" / shards[0].file).unlink()
    return folder


def spread(last, seed):
    """Ten moments from the first to the last, the first and last four, three that a seed draws."""
    evenly = {1 + round(i * (last - 1) / 9) for i in range(10)}
    drawn = random.Random(seed).sample(range(1, last + 1), 3)
    return sorted({*evenly, *range(1, 5), *range(last - 3, last + 1), *drawn})


@pytest.mark.parametrize("start", ["nothing", "other", "damaged"])
def test_killed(driver, source, starts, tmp_path, start):
    old, new = contents(starts / "other"), contents(starts / "new")
    shutil.copytree(starts / start, tmp_path / "undisturbed")
    last = driver.convert(source, tmp_path / "undisturbed")
    assert contents(tmp_path / "undisturbed") == new
    seen = set()
    for moment in spread(last, len(start)):
        out = tmp_path / str(moment)
        shutil.copytree(starts / start, out)
        driver.convert(source, out, kill_at=moment)
        if (out / "manifest.json").exists() and start != "damaged":
            # It and all that it lists are there.
            complete = [name for name, files in (("old", old), ("new", new))
                        if files.items() <= contents(out).items()]  # fmt: skip
            assert complete, moment
            seen.update(complete)
        # Asked for again; now and then the other data set comes first.
        for seed in (OLD_SEED, SEED) if moment % 3 == 0 else (SEED,):
            driver.convert(source, out, seed)
            assert contents(out) == (new if seed == SEED else old), moment
            assert len(os.listdir(out)) == 2, moment
    assert seen == {"nothing": {"new"}, "other": {"old", "new"}, "damaged": set()}[start]
