"""Downloads a data set: tries its addresses in turn, verifies the archive, keeps it as a .zip."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import pooch
import requests
from pydantic import StringConstraints

from schema.documents import parse_yaml, validate
from schema.errors import UserError
from schema.settings import Settings

TIMEOUT = (10.0, 30.0)  # Seconds to wait for a connection, and for each part of the answer.
Checksum = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{64}$", to_lower=True)]


class DataSource(Settings):
    """One data set of data_sources.yaml."""

    what: str
    layout: str
    terms: str
    terms_url: str
    sha256: Checksum | None = None
    urls: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()


class Download(NamedTuple):
    """An archive on this machine; `verified` is False where no checksum is known."""

    archive: Path
    sha256: str
    verified: bool

    def __str__(self) -> str:
        state = "as expected" if self.verified else "no checksum known; pin it with --sha256"
        return f"{self.archive}\nsha256 {self.sha256} ({state})"


def read_sources() -> dict[str, DataSource]:
    """The data sets of data_sources.yaml by name."""
    file = Path(__file__).with_name("data_sources.yaml")
    content = parse_yaml(file.read_bytes(), "bad_addresses", file.name)
    return validate(dict[str, DataSource], content, "bad_addresses", file.name)


def download(
    folder: str,
    dataset: str = "part_annotation",
    urls: tuple[str, ...] = (),
    sha256: str | None = None,
) -> Download:
    """Saves a data set as <folder>/<dataset>.zip; a file that exists is kept and verified.

    `urls` are tried before the data set's own, and `sha256` replaces its own.

    Raises:
      UserError: unknown_data_set, not_an_address or not_a_checksum (arguments), not_a_zip or
        wrong_checksum (a file that exists), no_address (none gave the archive), cannot_write.
    """
    sources = read_sources()
    if dataset not in sources:
        raise UserError("unknown_data_set", f"found {dataset!r}; known: {', '.join(sources)}.")
    source = sources[dataset]
    expected = source.sha256 if sha256 is None else validate(Checksum, sha256, "not_a_checksum")
    addresses = {url: _without_secrets(url) for url in (*urls, *source.urls)}
    try:
        archive = Path(folder).expanduser() / f"{dataset}.zip"
        if not archive.exists():
            _download(archive, source, addresses, expected)
        if not zipfile.is_zipfile(archive):
            raise UserError("not_a_zip", "not a complete .zip. Move it away.", str(archive))
        actual = pooch.file_hash(archive)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~user of an unknown user.
        raise UserError("cannot_write", f"{error}. Choose another folder.", folder) from None
    if expected not in (None, actual):
        message = f"found sha256 {actual}; expected {expected}. Move it away or pass --sha256."
        raise UserError("wrong_checksum", message, str(archive))
    return Download(archive, actual, expected is not None)


def _download(archive: Path, source: DataSource, addresses: dict, expected: str | None) -> None:
    """Saves the archive from the first address that gives it."""
    print(f"Terms: {source.terms} ({source.terms_url}).", file=sys.stderr)
    pooch.get_logger().setLevel("ERROR")  # It logs addresses with their passwords.
    failures = ""
    for url, address in addresses.items():
        print(f"Downloading {address}", file=sys.stderr, flush=True)
        try:
            pooch.retrieve(url, expected, archive.name, archive.parent, downloader=_fetch_zip)
            return
        except ValueError as error:  # From _fetch_zip, or the wrong checksum.
            failures += f"  {address}: {error}\n"
    message = (
        f"no address gave {archive.stem}:\n{failures}Check the network, pass a --url, or save "
        f"{source.what} from {', '.join(source.by_hand)} as {archive}, for pointnet-parts convert."
    )
    raise UserError("no_address", message)


def _fetch_zip(url: str, output_file: str, _: object) -> None:
    """A downloader for pooch, which removes the file if this raises."""
    fetch = pooch.HTTPDownloader(sys.stderr.isatty(), chunk_size=2**20, timeout=TIMEOUT)
    try:
        fetch(url, output_file, None)
    except requests.HTTPError as error:
        raise UserError("no_answer", f"HTTP status {error.response.status_code}") from None
    except (requests.RequestException, ValueError) as error:  # Their texts contain the address.
        raise UserError("no_answer", type(error).__name__) from None
    if not zipfile.is_zipfile(output_file):
        raise UserError("not_a_zip", "not a complete .zip, but perhaps a login page")
    Path(output_file).chmod(0o644)  # pooch's files can be read only by their owner.


def _without_secrets(url: str) -> str:
    """An address without user, password and query; UserError if it is not http or https."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        pass
    raise UserError("not_an_address", f"found {url.rpartition('@')[2]!r}; expected https://HOST/.")
