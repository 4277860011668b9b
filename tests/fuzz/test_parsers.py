"""Damaged files for each parser: a few hundred here, FUZZ_EXAMPLES of them in `make fuzz`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS, TOKENS

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
ROOT = Path(__file__).resolve().parents[2]

WORDS = st.one_of(
    st.sampled_from(TOKENS),
    st.floats().map(lambda number: repr(number).encode()),
    st.integers(-3, 60).map(lambda number: str(number).encode()),
)
SEPARATORS = st.sampled_from([b" "] * 8 + [b"\n"] * 6 + [b"\t", b"\r\n", b"\r", b"  ", b"\f"])
TEXTS = st.lists(st.tuples(WORDS, SEPARATORS).map(b"".join), max_size=20).map(b"".join)


@st.composite
def damaged(draw, sound):
    """A sound file with some of it inserted, deleted, repeated or changed."""
    content = draw(st.sampled_from(sound))
    for _ in range(draw(st.integers(0, 4))):
        start, end = sorted(draw(st.integers(0, len(content))) for _ in range(2))
        piece = content[start : min(end, start + 12)]
        how = draw(st.sampled_from(["replace", "repeat", "cut", "line ends"]))
        if how == "replace":
            new = draw(WORDS | st.binary(max_size=4) | st.just(b""))
            content = content[:start] + new + content[start + len(piece) :]
        elif how == "repeat":
            place = draw(st.integers(0, len(content)))
            content = content[:place] + piece + content[place:]
        elif how == "cut":
            content = content[:end]
        else:
            content = content.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n"])))
    return content


@pytest.mark.parametrize("name", PARSERS)
def test_any_file_is_read_right_or_refused(name):
    check, sound = PARSERS[name]
    assert all(check(content) for content in sound)
    accepted = []

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(damaged(sound) | damaged(sound) | TEXTS | st.binary(max_size=200))
    def holds(content):
        accepted.append(check(content))

    holds()
    # Damage that never leaves a file whole would try the refusals alone, and the reverse.
    assert 0 < sum(accepted) < len(accepted)


def test_the_fuzzer_runs(tmp_path):
    pytest.importorskip("atheris", reason="no atheris for this Python")
    command = [sys.executable, "-m", "tests.fuzz.fuzz_parsers", "csv", "500", str(tmp_path)]
    options = ["-seed=1", f"-artifact_prefix={tmp_path}/"]
    result = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "csv: 500 inputs" in result.stdout
