"""Fetches one file from one address, and goes on where an earlier attempt was cut off.

What has arrived stands in `<name>.part`, and in `<name>.part.json` beside it what the server said
of the file: its total size, and the ETag or the time by which it can be told whether the file there
is still the same one. Without these, or when the file has changed, the download starts anew; bytes
of two files are never put together.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from pydantic import TypeAdapter
from requests.adapters import HTTPAdapter

from preprocessing.data_sources import SCHEMES
from preprocessing.findings import BadInput

CHUNK_BYTES = 2**18
MAX_REDIRECTS = 10
# Stays free on the disk besides the file.
_SPARE_BYTES = 2**26
_BUSY = (429, 500, 502, 503, 504)
# Our own: what the server calls it could hold anything, and is printed.
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

# Entered while bytes arrive with the total (None: unknown), the bytes that are gone on with, and
# those from the same address that were given up; gives what is told how many are there.
Arriving = Callable[[int | None, int, int], AbstractContextManager[Callable[[int], None]]]


class AddressFailed(Exception):
    """This address does not give the file, another one may; says why in a few words."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
      attempts: requests in a row that bring nothing new before an address is given up; also how
        often a server that is busy or does not answer is asked again.
      backoff_seconds: pause before the second of them, doubled each time.
      connect_seconds: until a connection stands.
      read_seconds: without a single byte.
    """

    attempts: int = 4
    backoff_seconds: float = 1.0
    connect_seconds: float = 15.0
    read_seconds: float = 60.0


@dataclass(frozen=True)
class Origin:
    """What the bytes in a .part file are a beginning of; stands beside it as JSON.

    Attributes:
      address: sha256 of the address, which itself may hold a password.
      etag: the server's strong ETag, or "".
      modified: its Last-Modified, or "".
      total: bytes of the whole file, None where the server does not say.
    """

    address: str
    etag: str
    modified: str
    total: int | None

    @property
    def validator(self) -> str:
        """What `If-Range` tells the server: give the rest only if it is still this file."""
        return self.etag or self.modified


class PartFile:
    """The beginning of a file, and what it is a beginning of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._origin_path = path.with_name(path.name + ".json")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def is_from(self, address: str) -> bool:
        """Whether there are bytes, and they came from this address."""
        origin = self._origin()
        return self.size > 0 and origin is not None and origin.address == _hash(address)

    def origin(self, address: str) -> Origin | None:
        """What is there a beginning of, if a download from `address` can go on after it."""
        origin = self._origin()
        return origin if self.is_from(address) and origin and origin.validator else None

    def begin(self, origin: Origin) -> None:
        """Empties it for the bytes of another file."""
        self.discard()
        temporary = self._origin_path.with_name(self._origin_path.name + ".new")
        temporary.write_text(json.dumps(asdict(origin)), "utf-8")
        os.replace(temporary, self._origin_path)

    def discard(self) -> None:
        """Removes it."""
        # The bytes first: without them, what is said of them does no harm.
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)

    def _origin(self) -> Origin | None:
        try:
            return TypeAdapter(Origin).validate_json(self._origin_path.read_bytes(), strict=True)
        except (OSError, ValueError):
            return None


def fetch(
    address: str,
    part: PartFile,
    max_bytes: int,
    patience: Patience,
    arriving: Arriving,
) -> None:
    """Fetches what stands at `address` into `part`, whole.

    Args:
      address: http:// or https://.
      part: where to; what is there from the same address is gone on with.
      max_bytes: a larger file is refused.
      patience: how long to wait, how often to try.
      arriving: entered while bytes arrive, see Arriving; gives what is told the bytes that are
        there after each chunk.

    Raises:
      AddressFailed: the file cannot be had from there; what has arrived stays for another time.
      BadInput: the disk has no room for it.
      OSError: the part file cannot be written.
    """
    furthest = part.size if part.is_from(address) else 0
    fruitless = 0
    with _session(patience) as session:
        attempt = _Attempt(session, address, part, max_bytes, patience, arriving)
        while True:
            trouble = attempt.run()
            if not trouble:
                return
            # A server that starts anew each time must not keep us here forever.
            fruitless = 0 if part.size > furthest else fruitless + 1
            furthest = max(furthest, part.size)
            if fruitless >= patience.attempts:
                raise AddressFailed(trouble)
            if fruitless:
                time.sleep(patience.backoff_seconds * 2 ** (fruitless - 1))


def shown(address: str) -> str:
    """An address as it may be printed: without password and query, which may hold a secret."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    query = "?..." if parts.query else ""
    text = f"{parts.scheme}://{host}{parts.path}{query}"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def megabytes(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count:,} bytes" if count < 10**6 else f"{count / 10**6:,.1f} MB"


@dataclass(frozen=True)
class _Attempt:
    """A request, and taking in what it brings; the fields are the arguments of `fetch`."""

    session: requests.Session
    address: str
    part: PartFile
    max_bytes: int
    patience: Patience
    arriving: Arriving

    def run(self) -> str:
        """One request; "" if the file is whole after it, else what came in between."""
        origin = self.part.origin(self.address)
        have = self.part.size if origin else 0
        if origin and have == origin.total:
            return ""
        # The bytes as they stand in the file: sizes of compressed ones would say nothing.
        headers = {"Accept-Encoding": "identity", "User-Agent": "pointnet-parts"}
        if origin:
            headers |= {"Range": f"bytes={have}-", "If-Range": origin.validator}
        with self._ask(headers) as response:
            status = response.status_code
            if origin and status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if _range_total(response) == have and origin.total is None:
                    return ""
                self.part.discard()
                return "the file there is another one than before"
            if origin and status == HTTPStatus.PARTIAL_CONTENT:
                if not _goes_on(response, origin, have):
                    self.part.discard()
                    return "the file there is another one than before"
                if origin.total is None:
                    origin = replace(origin, total=_range_total(response))
                return self._receive(response, origin, have)
            if status != HTTPStatus.OK:
                raise AddressFailed(f"HTTP {status} {_PHRASES.get(status, '')}".rstrip())
            return self._receive(response, _origin_of(response, self.address), 0)

    def _ask(self, headers: dict[str, str]) -> requests.Response:
        """The answer, after redirects."""
        wait = (self.patience.connect_seconds, self.patience.read_seconds)
        address = self.address
        try:
            for _ in range(MAX_REDIRECTS + 1):
                response = self.session.get(
                    address, headers=headers, stream=True, timeout=wait, allow_redirects=False
                )
                target = self.session.get_redirect_target(response)
                if target is None:
                    return response
                response.close()
                address = _redirected(address, target)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise AddressFailed(_reason(error, self.patience)) from None
        raise AddressFailed(f"redirects more than {MAX_REDIRECTS} times")

    def _receive(self, response: requests.Response, origin: Origin, have: int) -> str:
        """Takes in the bytes of an answer, after the `have` bytes that are there."""
        self._check_size(origin.total or have, have)
        chunks = response.raw.stream(CHUNK_BYTES, decode_content=False)
        given_up = 0 if have or not self.part.is_from(self.address) else self.part.size
        try:
            first = next(chunks, b"")
            if not have:
                _refuse_web_page(response, first)
                # Only now, with bytes in hand, is what there was from elsewhere given up.
                self.part.begin(origin)
            with self.arriving(origin.total, have, given_up) as arrived:
                self._write(first, chunks, have, arrived)
        except urllib3.exceptions.HTTPError:
            return f"the connection was cut off at {self._reached(origin.total)}"
        if origin.total is None or self.part.size == origin.total:
            return ""
        if self.part.size > origin.total:
            self.part.discard()
            return f"more than the {megabytes(origin.total)} arrived that the server told of"
        return f"the connection was cut off at {self._reached(origin.total)}"

    def _write(
        self, chunk: bytes, more: Iterator[bytes], have: int, arrived: Callable[[int], None]
    ) -> None:
        # Unbuffered: what has arrived is there if we are killed.
        with open(self.part.path, "ab", buffering=0) as file:
            while chunk:
                have += len(chunk)
                self._check_size(have, have)
                rest = memoryview(chunk)
                while rest:
                    rest = rest[file.write(rest) :]
                arrived(have)
                chunk = next(more, b"")

    def _check_size(self, total: int, have: int) -> None:
        """Whether a file of `total` bytes may be had, and the rest of it has room."""
        if total > self.max_bytes:
            if have:
                self.part.discard()
            raise AddressFailed(
                f"is {megabytes(total)} or more, expected at most {megabytes(self.max_bytes)} "
                "(--max-gigabytes)"
            )
        if total == have:
            return
        folder = self.part.path.parent
        free = shutil.disk_usage(folder).free
        if free < total - have + _SPARE_BYTES:
            raise BadInput(
                "no_space",
                f"{folder} has {megabytes(free)} free, expected {megabytes(total - have)} for what "
                f"is to come; {megabytes(_SPARE_BYTES)} are kept free besides. Make room, or give "
                "a folder on another disk.",
            )

    def _reached(self, total: int | None) -> str:
        there = megabytes(self.part.size)
        return there if total is None else f"{there} of {megabytes(total)}"


def _session(patience: Patience) -> requests.Session:
    # Retry-After is not heeded: a server could make us wait for a day.
    again = urllib3.Retry(
        total=patience.attempts - 1,
        redirect=0,
        status_forcelist=_BUSY,
        backoff_factor=patience.backoff_seconds,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    session = requests.Session()
    for scheme in SCHEMES:
        session.mount(f"{scheme}://", HTTPAdapter(max_retries=again))
    return session


def _redirected(address: str, target: str) -> str:
    """Where a redirect leads, if we may follow."""
    target = urljoin(address, target)
    scheme, before = urlsplit(target).scheme, urlsplit(address).scheme
    if scheme not in SCHEMES:
        raise AddressFailed(f"redirects to {shown(target)}, expected https://")
    if before == "https" and scheme != "https":
        raise AddressFailed(
            f"redirects from https:// to {shown(target)}, where anybody could change what arrives"
        )
    return target


def _origin_of(response: requests.Response, address: str) -> Origin:
    length = response.headers.get("Content-Length", "")
    etag = response.headers.get("ETag", "")
    return Origin(
        address=_hash(address),
        # A weak one says that two files are as good as each other, not that bytes are the same.
        etag=etag if etag.startswith('"') else "",
        modified=response.headers.get("Last-Modified", ""),
        total=int(length) if length.isdecimal() else None,
    )


def _goes_on(response: requests.Response, origin: Origin, have: int) -> bool:
    """Whether a partial answer is the rest of the file that is there in part."""
    begins = re.match(r"bytes (\d{1,20})-", response.headers.get("Content-Range", ""))
    total = _range_total(response)
    now = _origin_of(response, "")
    return (
        begins is not None
        and int(begins[1]) == have
        and (total is None or origin.total is None or total == origin.total)
        and (not now.etag or not origin.etag or now.etag == origin.etag)
        and (not now.modified or not origin.modified or now.modified == origin.modified)
    )


def _range_total(response: requests.Response) -> int | None:
    found = re.search(r"/(\d{1,20})$", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _refuse_web_page(response: requests.Response, first: bytes) -> None:
    kind = response.headers.get("Content-Type", "").lower()
    head = first[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if "text/html" not in kind and not head.startswith((b"<!doctype html", b"<html")):
        return
    found = re.search(rb"(?is)<title[^>]*>(.{1,200}?)</title", first[:65536])
    words = " ".join(found[1].decode("utf-8", "replace").split()) if found else ""
    title = "".join(letter for letter in words if letter.isprintable())
    raise AddressFailed(
        "answers with a web page" + (f' ("{title}")' if title else "") + ", not with an archive; "
        "it may ask for a login or for consent"
    )


def _reason(error: Exception, patience: Patience) -> str:
    """Why there was no answer, without the library's layers of words."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or it does not speak TLS"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {patience.connect_seconds:g} s"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return f"no answer within {patience.read_seconds:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy gives no connection"
    if isinstance(error, requests.exceptions.ConnectionError):
        words = str(error)
        for part, reason in _CONNECTION_REASONS.items():
            if part in words:
                return reason
        return "no connection, or it was cut off before an answer came"
    return f"no usable answer ({type(error).__name__})"


_CONNECTION_REASONS = {
    "NameResolutionError": "no machine of that name is known",
    "Name or service not known": "no machine of that name is known",
    "Temporary failure in name resolution": "no machine of that name is known",
    "Connection refused": "the connection was refused",
    "Network is unreachable": "the network cannot be reached",
}


def _hash(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()
