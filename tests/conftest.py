"""For all tests: the same surroundings, whoever starts them; and ways that lead nowhere."""

import os
import signal
import socket
import sys
import tempfile

import hypothesis
import pytest

from tests.google_account import write_key

# TFX gives absl the process's own command line, and absl would take pytest's -v for its verbosity.
sys.argv = sys.argv[:1]

# The runner that newer Beams download and prefer: what would start it fails, see IN_PROCESS.
sys.modules["apache_beam.runners.portability.prism_runner"] = None  # type: ignore[assignment]

# What a shell may hold for other work, and we or our libraries would heed.
_NOT_FOR_TESTS = ("FORCE_COLOR", "COLUMNS", "TF_CONFIG")
_NOT_FOR_TESTS += ("POINTNET_CONFIG", "POINTNET_DATA", "POINTNET_CATEGORY", "POINTNET_SPAN")
_NOT_FOR_TESTS += ("POINTNET_OUT", "POINTNET_MANIFEST")
for _name in list(os.environ):
    if _name in _NOT_FOR_TESTS or _name.startswith("KF_PIPELINES_"):
        del os.environ[_name]

# Servers in tests are on this machine: no proxy stands before them.
_without_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = f"{_without_proxy},localhost,127.0.0.1".lstrip(",")

# Keras reads a person's settings from its home.
_keras_home = tempfile.TemporaryDirectory(prefix="keras-")
os.environ |= {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": _keras_home.name}
# Several test processes may share a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# Others can read what a run pushes: what happens where they cannot is a test of its own.
os.umask(0o022)
# A shell's background jobs ignore it, and so would all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, however slow the machine is; `make fuzz` looks for others.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ, database=None
)
hypothesis.settings.load_profile("tests")


def pytest_make_parametrize_id(val, argname):
    """Content is no part of a test's name: where two processes' names differ, xdist runs none."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def closed_port():
    """A port of this machine that nothing listens at, nor will while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def key_of_a_dead_token_service(closed_port, tmp_path):
    """The key file of an account of Google's, made up, whose token service does not answer."""
    return write_key(tmp_path / "key.json", f"http://127.0.0.1:{closed_port}/token")
