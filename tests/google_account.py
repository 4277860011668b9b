"""A made-up account of Google's, for code that looks for credentials."""

import json
from pathlib import Path


def write_key(file: Path, token_uri: str) -> Path:
    """Writes the key file of an account whose tokens come from that address."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "shapes-1",
        "private_key_id": "1",
        "client_id": "1",
        "client_email": "pipeline@example.org",
        "token_uri": token_uri,
        "private_key": key.decode(),
    }
    file.write_text(json.dumps(account))
    return file
