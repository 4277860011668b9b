"""Damaged files for each parser: a few hundred here, FUZZ_EXAMPLES of them in `make fuzz`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS, SOUND, TOKENS

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
ROOT = Path(__file__).resolve().parents[2]

WORDS = st.one_of(
    st.sampled_from(TOKENS),
    st.floats().map(lambda number: repr(number).encode()),
    st.decimals(-10, 10, places=5).map(lambda number: f"{number:.5f}".encode()),
    st.integers(-3, 60).map(lambda number: str(number).encode()),
)
SEPARATORS = st.sampled_from(
    [b" "] * 8 + [b"\n"] * 6 + [b"\t", b"\r\n", b"\r", b"  ", b"\f", b"\x1c"]
)
TEXTS = st.lists(st.tuples(WORDS, SEPARATORS), max_size=20).map(
    lambda pairs: b"".join(word + separator for word, separator in pairs)
)


@st.composite
def damaged(draw, sound):
    """A sound file with some of it inserted, taken out, doubled, moved or changed."""
    content = draw(st.sampled_from(sound))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 12)))
        piece = content[start:end]
        how = draw(st.sampled_from(["insert", "delete", "double", "change", "cut", "move", "ends"]))
        if how == "insert":
            content = (
                content[:start] + draw(st.one_of(st.sampled_from(TOKENS), WORDS)) + content[start:]
            )
        elif how == "delete":
            content = content[:start] + content[end:]
        elif how == "double":
            content = content[:end] + piece + content[end:]
        elif how == "change":
            content = content[:start] + draw(st.binary(max_size=len(piece))) + content[end:]
        elif how == "cut":
            content = content[:start]
        elif how == "move":
            rest = content[:start] + content[end:]
            place = draw(st.integers(0, len(rest)))
            content = rest[:place] + piece + rest[place:]
        else:
            content = content.replace(
                b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n", b"\0"]))
            )
    return content


# protobuf's C++ parser warns of such a tag, and the record is refused.
@pytest.mark.filterwarnings("ignore:Unexpected end-group tag:RuntimeWarning")
@pytest.mark.parametrize("name", PARSERS)
def test_any_file_is_read_right_or_refused(name):
    accepted = []

    @settings(
        max_examples=EXAMPLES,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.one_of(damaged(SOUND[name]), damaged(SOUND[name]), TEXTS, st.binary(max_size=200)))
    def holds(content):
        accepted.append(PARSERS[name](content))

    holds()
    # Damage that never leaves a file whole would try the refusals alone, and the reverse.
    assert 0 < sum(accepted) < len(accepted)


@pytest.mark.parametrize("name", PARSERS)
def test_sound_files_are_read(name):
    read = [PARSERS[name](content) for content in SOUND[name]]
    # Two of the archives are packed by methods that nothing bounds.
    assert read == ([True, True, False, False] if name == "archive" else [True] * len(read))


@pytest.mark.parametrize("name", PARSERS)
def test_the_fuzzer_runs(name, tmp_path):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this Python: its fuzzer does not run here")
    options = ["-seed=1", f"-artifact_prefix={tmp_path}/"]
    result = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzz_parsers", name, "500", str(tmp_path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"{name}: 500 inputs" in result.stdout
