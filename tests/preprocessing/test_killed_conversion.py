"""kill -9 at moments spread over a conversion: nothing looks finished that is not, nothing is lost.

The moments are counted, not timed: see conversion_driver.py.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.manifest import MANIFEST, Manifest

pytestmark = pytest.mark.slow
OLD_SEED, SEED = 1, 0
# The moments at which the new data set takes the old one's place, by what is added to its name.
EXCHANGE = (["os.rename", "", ".replaced"], ["os.rename", ".partial", ""])


class Driver:
    """Runs conversions in processes that may be killed."""

    def __init__(self, temporary):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", Path(__file__).with_name("conversion_driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # What Beam leaves behind when it is killed.
            env={**os.environ, "TMPDIR": str(temporary)},
        )

    def convert(self, source, output, seed=SEED, kill_at=0, old=None):
        """Converts; where it is to be killed, over a copy of the old data set."""
        if old:
            shutil.copytree(old, output)
        order = {"source": str(source), "output": str(output), "seed": seed, "kill_at": kill_at}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if isinstance(kill_at, int) and kill_at and answer["signal"] == 0:
            # It had fewer moments than the undisturbed one (threads may share a folder's making).
            shutil.rmtree(output)
            return self.convert(source, output, seed, len(answer["moments"]), old)
        assert answer["signal"] == (signal.SIGKILL if kill_at else 0)
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
def undisturbed(driver, source, tmp_path_factory):
    """An old data set, and the one that replaces it; the moments of making and of replacing."""
    folder = tmp_path_factory.mktemp("undisturbed")
    making = driver.convert(source, folder / "new")
    driver.convert(source, folder / "old", OLD_SEED)
    shutil.copytree(folder / "old", folder / "replaced")
    replacing = driver.convert(source, folder / "replaced")
    assert contents(folder / "replaced") == contents(folder / "new") != contents(folder / "old")
    assert sorted(os.listdir(folder)) == ["new", "old", "replaced"]
    assert len(Manifest.load(folder / "new").shards) > 5
    return folder, making, replacing


def contents(folder):
    """Hash of every file, by name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def spread(moments, seed):
    """Ten moments from the first to the last, and three that a seed draws."""
    last = len(moments)
    evenly = {1 + round(i * (last - 1) / 9) for i in range(10)}
    drawn = random.Random(seed).sample(sorted(set(range(1, last + 1)) - evenly), 3)
    return sorted(evenly) + drawn


def finished_shards(staging):
    """Inodes of the record files that need not be written again."""
    if not (staging / "plan.json").exists():
        return {}
    summaries = (staging / "summaries").glob("*.json")
    found = [json.loads(path.read_text())["shard"]["file"] for path in summaries]
    return {name: (staging / name).stat().st_ino for name in found}


def test_killed_while_making_a_data_set(driver, source, undisturbed, tmp_path):
    folder, moments, _ = undisturbed
    kept = 0
    for number, moment in enumerate(spread(moments, seed=0)):
        out = tmp_path / str(number) / "data"
        out.parent.mkdir()
        driver.convert(source, out, kill_at=moment)
        assert not out.exists(), moments[moment - 1]
        finished = finished_shards(out.with_name("data.partial"))
        driver.convert(source, out)
        assert contents(out) == contents(folder / "new"), moments[moment - 1]
        assert os.listdir(out.parent) == ["data"], moments[moment - 1]
        assert {name: (out / name).stat().st_ino for name in finished} == finished
        kept += len(finished)
    assert kept > 10


def test_killed_while_replacing_a_data_set(driver, source, undisturbed, tmp_path):
    folder, _, moments = undisturbed
    old, new = contents(folder / "old"), contents(folder / "new")
    clearing = range(len(moments) - moments[::-1].index(EXCHANGE[-1]) + 1, len(moments), 6)
    seen = set()
    for number, moment in enumerate([*sorted({*spread(moments, seed=1), *clearing}), *EXCHANGE]):
        out = tmp_path / str(number) / "data"
        driver.convert(source, out, kill_at=moment, old=folder / "old")
        if out.exists():
            found = contents(out)
            assert found in (old, new), moment
            seen.add("old" if found == old else "new")
        else:
            assert contents(out.with_name("data.replaced")) == old
            assert contents(out.with_name("data.partial")) == new
            seen.add("set aside")
        driver.convert(source, out)
        assert contents(out) == new, moment
        assert os.listdir(out.parent) == ["data"], moment
    assert seen == {"old", "set aside", "new"}


def test_a_data_set_that_was_set_aside_is_put_back(driver, source, undisturbed, tmp_path):
    folder, _, _ = undisturbed
    out = tmp_path / "data"
    driver.convert(source, out, kill_at=EXCHANGE[-1], old=folder / "old")
    assert not out.exists()
    # Asked for again, the old data set is found whole: no shape is read.
    again = driver.convert(source, out, OLD_SEED)
    assert contents(out) == contents(folder / "old")
    assert not any(name.endswith(".pts") for _, name, *_ in again)
    assert Path(out, MANIFEST).exists()
