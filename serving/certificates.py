"""The certificates that a server is believed by."""

from __future__ import annotations

import ssl
from pathlib import Path

from schema.errors import UserError


def read_certificates(file: Path) -> bytes:
    """The certificates in a file, PEM.

    Raises:
      UserError: it cannot be read, or holds no certificate.
    """
    try:
        content = file.read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode())
    # An SSLError is an OSError without the system's reason.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        if isinstance(error, ssl.SSLError) or reason is None:
            reason = "no certificate in it"
        raise UserError(
            "unavailable",
            f"{file}: it cannot be used as a certificate ({reason}); give the PEM file, "
            "BEGIN CERTIFICATE in its text, of the authority that signed the server's certificate, "
            "or that certificate itself where it signed itself.",
        ) from None
    return content


def not_believed(address: str, certificate: Path | None, said: str) -> UserError:
    """The sentence for a server whose certificate is not believed."""
    whom = f"by {certificate}" if certificate else "by the authorities known here"
    return UserError(
        "unavailable",
        f"{address} is not vouched for {whom} ({said}); give with --certificate the certificate "
        "of whoever signed the server's, and the host by the name that stands in it.",
    )
