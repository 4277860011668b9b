"""For all tests: pytest's options are not for the code under test; and ways that lead nowhere."""

import json
import socket
import sys

import pytest

# TFX gives absl the process's own command line, and absl would take pytest's -v for its verbosity.
sys.argv = sys.argv[:1]

# The runner that newer Beams download and prefer: what would start it fails, see IN_PROCESS.
sys.modules["apache_beam.runners.portability.prism_runner"] = None  # type: ignore[assignment]


@pytest.fixture
def closed_port():
    """A port of this machine that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def key_of_a_dead_token_service(closed_port, tmp_path):
    """The key file of an account of Google's, made up, whose token service does not answer."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "client_email": "pipeline@example.org",
        "token_uri": f"http://127.0.0.1:{closed_port}/token",
        "private_key": key.decode(),
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    return file
