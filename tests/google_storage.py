"""A double of Google Cloud Storage, at its own address, for every client in a process.

TensorFlow's file system (C++), Beam's and Google's own library all speak to it as they would to
Google: they are given a proxy and a certificate authority in their environment, and the proxy
answers for Google itself. Objects are files below a folder. It follows the JSON API as far as
these clients use it, and says nothing of a real bucket's rights, speed or failures.

A name that ends in "/" is an object like any other there: TensorFlow makes one for each folder.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.google_account import write_key

_DOMAIN = ".googleapis.com"
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
_OBJECTS = re.compile(r"/storage/v1/b/([^/]+)/o")
_OBJECT = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o/([^/]+)")
_COPY = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/(copyTo|rewriteTo)/b/([^/]+)/o/([^/]+)")
_UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o")
_PAGE = 1000


@dataclass
class Answer:
    """A response."""

    status: int = 200
    value: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        if self.content is not None:
            return self.content
        return b"" if self.value is None else json.dumps(self.value).encode()


NOT_FOUND = Answer(404, {"error": {"code": 404, "message": "Not Found"}})
NOT_AS_ASKED = Answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})


class GoogleStorage:
    """Buckets as folders below `folder`; those that are there are all that there are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.markers: set[str] = set()
        self._uploads: dict[str, tuple[str, bytes]] = {}
        self._lock = threading.Lock()

    def path(self, address: str) -> Path:
        """Where gs://bucket/name lies."""
        return self.folder / address.removeprefix("gs://").rstrip("/")

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of a bucket's objects, as a listing gives them."""
        root = self.folder / bucket
        found = [str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()]
        marks = (mark.partition("/")[2] for mark in self.markers if mark.startswith(f"{bucket}/"))
        return sorted(name for name in (*found, *marks) if name.startswith(prefix))

    def read(self, bucket: str, name: str) -> bytes | None:
        """An object's content; None where there is none."""
        if f"{bucket}/{name}" in self.markers:
            return b""
        file = self.folder / bucket / name
        return file.read_bytes() if not name.endswith("/") and file.is_file() else None

    def write(self, bucket: str, name: str, content: bytes) -> None:
        """Makes an object."""
        place = self.folder / bucket / name
        if name.endswith("/"):
            assert not content, f"a marker with content is not emulated: {name}"
            place.mkdir(parents=True, exist_ok=True)
            self.markers.add(f"{bucket}/{name}")
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    def delete(self, bucket: str, name: str) -> None:
        """Removes an object that is there, and folders that nothing is left in."""
        root = self.folder / bucket
        self.markers.discard(f"{bucket}/{name}")
        if not name.endswith("/"):
            (root / name).unlink()
        for folder in (root / name, *(root / name).parents):
            if folder == root or f"{bucket}/{folder.relative_to(root)}/" in self.markers:
                return
            with contextlib.suppress(OSError):
                folder.rmdir()

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """What Google would answer to a request, batches of requests included."""
        with self._lock:
            return self._answer(method, target, headers, body)

    def _answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        parts = urlsplit(target)
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.startswith("/batch/"):
            return self._batch(headers, body)
        if parts.path.endswith("/token"):
            return Answer(200, {"access_token": "t", "token_type": "Bearer", "expires_in": 3600})
        if parts.path.endswith("/allowedLocations"):  # of an account: everywhere
            return Answer(200, {"locations": [], "encodedLocations": "0x0"})
        if found := _UPLOAD.fullmatch(parts.path):
            return self._upload(found[1], asked, headers, body)
        if found := _COPY.fullmatch(parts.path):
            return self._copy(found)
        if found := _OBJECTS.fullmatch(parts.path):
            return self._listing(found[1], asked)
        if found := _OBJECT.fullmatch(parts.path):
            return self._object(method, found[1], unquote(found[2]), asked, headers)
        if found := _BUCKET.fullmatch(parts.path):
            return self._bucket(found[1])
        # The short form, which TensorFlow reads by.
        bucket, _, name = unquote(parts.path).removeprefix("/").partition("/")
        return self._object(method, bucket, name, {"alt": "media"}, headers)

    def _bucket(self, bucket: str) -> Answer:
        if not (self.folder / bucket).is_dir():
            return NOT_FOUND
        return Answer(200, {"kind": "storage#bucket", "name": bucket, "location": "EUROPE-WEST4"})

    def _about(self, bucket: str, name: str) -> dict[str, Any]:
        import google_crc32c

        content = self.read(bucket, name) or b""
        changed = datetime.datetime.fromtimestamp(
            (self.folder / bucket / name).stat().st_mtime, datetime.timezone.utc
        )
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/1",
            "name": name,
            "bucket": bucket,
            "size": str(len(content)),
            "generation": str(int(changed.timestamp() * 1e6)),
            "metageneration": "1",
            "crc32c": base64.b64encode(google_crc32c.Checksum(content).digest()).decode(),
            "updated": changed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "timeCreated": changed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    def _listing(self, bucket: str, asked: dict[str, str]) -> Answer:
        if not (self.folder / bucket).is_dir():
            return NOT_FOUND
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        entries: dict[str, bool] = {}  # a name, or what several begin with
        for name in self.names(bucket, prefix):
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            entries[prefix + head + found if found else name] = bool(found)
        after = asked.get("pageToken", "")
        rest = [entry for entry in entries if entry > after]
        page = rest[: int(asked.get("maxResults") or _PAGE)]
        value: dict[str, Any] = {"kind": "storage#objects"}
        value["items"] = [self._about(bucket, one) for one in page if not entries[one]]
        value["prefixes"] = [one for one in page if entries[one]]
        if len(page) < len(rest):
            value["nextPageToken"] = page[-1]
        return Answer(200, value)

    def _object(
        self, method: str, bucket: str, name: str, asked: dict[str, str], headers: Any
    ) -> Answer:
        content = self.read(bucket, name)
        if content is None:
            return NOT_FOUND
        if method == "DELETE":
            self.delete(bucket, name)
            return Answer(204)
        if asked.get("alt") != "media":
            return Answer(200, self._about(bucket, name))
        given = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range") or "")
        if not given:
            return Answer(200, content=content)
        first, last = int(given[1]), int(given[2] or len(content))
        if first >= len(content):
            return Answer(416, content=b"")
        part = content[first : last + 1]
        span = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        return Answer(206, content=part, headers={"Content-Range": span})

    def _copy(self, found: re.Match[str]) -> Answer:
        source, name, how, target, new = (unquote(group) for group in found.groups())
        content = self.read(source, name)
        if content is None:
            return NOT_FOUND
        self.write(target, new, content)
        about, size = self._about(target, new), str(len(content))
        if how == "copyTo":
            return Answer(200, about)
        done = {"done": True, "resource": about, "objectSize": size, "totalBytesRewritten": size}
        return Answer(200, {"kind": "storage#rewriteResponse", **done})

    def _upload(self, bucket: str, asked: dict[str, str], headers: Any, body: bytes) -> Answer:
        if not (self.folder / bucket).is_dir():
            return NOT_FOUND
        name = asked.get("name", "")
        if "upload_id" in asked:
            return self._chunk(bucket, asked["upload_id"], headers, body)
        if asked["uploadType"] == "resumable":
            name = name or json.loads(body)["name"]
        elif asked["uploadType"] == "multipart":
            kind = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
            # Not read as text: the parser would change the content's line ends.
            boundary = BytesParser().parsebytes(kind).get_boundary()
            assert boundary
            _, about, data, _ = body.split(f"--{boundary}".encode())
            name = json.loads(about.split(b"\r\n\r\n", 1)[1])["name"]
            body = data.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        if asked.get("ifGenerationMatch") == "0" and self.read(bucket, name) is not None:
            return NOT_AS_ASKED
        if asked["uploadType"] == "resumable":
            number = str(len(self._uploads))
            self._uploads[number] = (name, b"")
            place = f"https://storage{_DOMAIN}/upload/storage/v1/b/{bucket}/o"
            place += f"?uploadType=resumable&upload_id={number}"
            return Answer(200, headers={"Location": place})
        self.write(bucket, name, body)
        return Answer(200, self._about(bucket, name))

    def _chunk(self, bucket: str, number: str, headers: Any, body: bytes) -> Answer:
        name, before = self._uploads[number]
        given = headers.get("Content-Range") or f"bytes 0-{len(body) - 1}/{len(body)}"
        span, _, total = given.removeprefix("bytes ").partition("/")
        if span != "*":
            first = int(span.partition("-")[0])
            assert first <= len(before), f"a chunk at {first} after {len(before)} bytes of {name}"
            before = before[:first] + body
            self._uploads[number] = (name, before)
        if total == "*" or int(total) != len(before):
            reached = {"Range": f"bytes=0-{len(before) - 1}"} if before else {}
            return Answer(308, headers=reached)
        self.write(bucket, name, before)
        return Answer(200, self._about(bucket, name))

    def _batch(self, headers: Any, body: bytes) -> Answer:
        kind = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
        parts = []
        for part in BytesParser().parsebytes(kind + body).get_payload():
            inner = part.get_payload(decode=True)  # type: ignore[union-attr]
            first, _, rest = inner.replace(b"\r\n", b"\n").partition(b"\n")
            method, target, _ = first.decode().split(" ", 2)
            lines, _, content = rest.partition(b"\n\n")
            made = self._answer(method, target, BytesParser().parsebytes(lines), content)
            status = f"{made.status} {HTTPStatus(made.status).phrase}"
            parts.append(
                b"--end\r\nContent-Type: application/http\r\n\r\n"
                + f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n".encode()
                + made.body()
                + b"\r\n"
            )
        content_type = {"Content-Type": "multipart/mixed; boundary=end"}
        return Answer(200, content=b"".join(parts) + b"--end--\r\n", headers=content_type)


@contextlib.contextmanager
def google_storage(folder: Path, *buckets: str) -> Iterator[tuple[GoogleStorage, dict[str, str]]]:
    """Runs one with these buckets.

    Args:
      folder: an empty folder, for the objects and what clients need to find them.
      *buckets: their names.

    Yields:
      The double, and the variables that a process needs in its environment.
    """
    storage = GoogleStorage(folder / "buckets")
    for bucket in buckets:
        (storage.folder / bucket).mkdir(parents=True)
    authority, chain = _certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    handler = type("Handler", (_Proxy,), {"storage": storage, "context": context})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    key = write_key(folder / "key.json", f"https://oauth2{_DOMAIN}/token")
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield (
            storage,
            {
                "https_proxy": address,
                "HTTPS_PROXY": address,
                "no_proxy": "localhost,127.0.0.1",
                "NO_PROXY": "localhost,127.0.0.1",
                "CURL_CA_BUNDLE": str(authority),  # TensorFlow's
                "REQUESTS_CA_BUNDLE": str(authority),  # Python's
                "GOOGLE_APPLICATION_CREDENTIALS": str(key),
                "NO_GCE_CHECK": "true",
            },
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Proxy(BaseHTTPRequestHandler):
    """Takes a tunnel to Google, and is Google at its other end."""

    protocol_version = "HTTP/1.1"
    storage: GoogleStorage
    context: ssl.SSLContext

    def do_CONNECT(self) -> None:
        if not self.path.partition(":")[0].endswith(_DOMAIN):
            self.send_error(502, f"the double does not answer for {self.path}")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        with contextlib.suppress(OSError):  # a client that goes without a word
            self.connection = self.context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
            self.close_connection = False
            while not self.close_connection:
                self.handle_one_request()

    def _ask(self) -> None:
        made = self.storage.answer(self.command, self.path, self.headers, self._body())
        body = made.body()
        self.send_response(made.status)
        for name, value in {"Content-Type": "application/json", **made.headers}.items():
            self.send_header(name, value)
        if made.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _ask

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while length := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: Any) -> None:
        pass


def _certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate authority, and a key with what it certifies of it: to be Google."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.timezone.utc)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def begun(subject: str, public: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("A double's authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    root, own = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    authority = (
        begun("A double's authority", root.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    google = (
        begun("googleapis.com", own.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*{_DOMAIN}")]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False
        )
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = folder / "authority.pem", folder / "google.pem"
    files[0].write_bytes(authority.public_bytes(pem))
    files[1].write_bytes(
        own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + google.public_bytes(pem)
    )
    os.chmod(files[1], 0o600)
    return files
