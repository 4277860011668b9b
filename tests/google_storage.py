"""A double of Google Cloud Storage on loopback, for the real clients.

The clients are those that a cluster's steps use: TensorFlow's file system (C++), Beam's, and
Google's own library. Nothing of them is replaced. Their environment names a proxy that answers in
Google's place, whom to believe, and who gives out tokens: a key's token service, or a metadata
server as on Google's machines. Without the token nothing is answered.

It follows the JSON API: names, not folders, and a name that ends in "/" is an object like any other
(TensorFlow makes one for each folder); an object is there as a whole, behind its last byte; a
listing is sorted, in pages, and consistent. Whatever it does not know it refuses, and keeps in
`refused`, so that a test can ask for it. It is no storage: it says nothing of rights, quotas, speed
or failures.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email import message_from_bytes, policy
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import google_crc32c

from tests.certificate import certificate
from tests.google_account import write_key

DOMAIN = "googleapis.com"
TOKEN = "a-made-up-token"
PAGE = 1000
MOST_IN_A_BATCH = 100
# Each part of an upload is a multiple of it, but the last one.
UPLOAD_UNIT = 256 * 1024


@dataclass
class Answer:
    """What a call is answered with."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The storage's own no: a status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class NotDoubled(Exception):
    """A call that the double does not know."""


@dataclass
class _Call:
    """A call, taken apart: what its path names, what it asks for, and what it brings."""

    names: dict[str, str]
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    def knows(self, *parameters: str) -> None:
        """Raises NotDoubled where it says more than these."""
        # `fields` asks for less than all.
        if unknown := set(self.query) - {*parameters, "fields", "prettyPrint", "alt"}:
            raise NotDoubled(f"with {sorted(unknown)}")


@dataclass
class _Upload:
    bucket: str
    name: str
    match: str | None
    content: bytearray = field(default_factory=bytearray)


class GoogleStorage:
    """Buckets: objects are files below `folder`/bucket, markers ("name/") are kept beside them.

    Attributes:
      folder: has a folder for each bucket that is there.
      calls: how often each kind of call came.
      written: the address of each object that was made, in order.
      refused: each call that the double does not know, or that came without the token.
      watch: is told of each address that was written, before the writer gets its answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: Counter[str] = Counter()
        self.written: list[str] = []
        self.refused: list[str] = []
        self.watch: Callable[[str], None] = lambda address: None
        self._markers: dict[str, int] = {}
        self._uploads: dict[str, _Upload] = {}
        self._lock = threading.RLock()

    # What tests ask.

    def path(self, address: str) -> Path:
        """Where gs://bucket/name lies on this machine; of a marker, the folder."""
        return self.folder / address.removeprefix("gs://").rstrip("/")

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """The names that begin so, sorted, markers included."""
        root = self.folder / bucket
        above = root / prefix.rpartition("/")[0]
        files = (str(file.relative_to(root)) for file in above.rglob("*") if file.is_file())
        marks = (mark.partition("/")[2] for mark in self._markers if mark.startswith(f"{bucket}/"))
        return sorted(name for name in (*files, *marks) if name.startswith(prefix))

    def read(self, bucket: str, name: str) -> bytes | None:
        """An object's content; None where there is none."""
        if name.endswith("/"):
            return b"" if f"{bucket}/{name}" in self._markers else None
        file = self.folder / bucket / name
        return file.read_bytes() if file.is_file() else None

    def write(self, bucket: str, name: str, content: bytes) -> None:
        """Makes an object, or replaces it.

        Raises:
          NotDoubled: a name that no file can have, or content where a marker has none.
        """
        file = self.folder / bucket / name
        if f"{bucket}/{name.rstrip('/')}" != str(file.relative_to(self.folder)):
            raise NotDoubled(f"for the name {name!r}")
        try:
            if name.endswith("/"):
                file.mkdir(parents=True, exist_ok=True)
                self._markers[f"{bucket}/{name}"] = self._now()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            raise NotDoubled(f"for {name!r}, which is an object and others' folder") from None
        if name.endswith("/") and content:
            raise NotDoubled(f"for {name!r} with content")
        self.written.append(f"gs://{bucket}/{name}")
        self.watch(self.written[-1])

    def delete(self, bucket: str, name: str) -> None:
        """Removes an object that is there, and folders that nothing is left in."""
        root = self.folder / bucket
        file = root / name
        if name.endswith("/"):
            del self._markers[f"{bucket}/{name}"]
        else:
            file.unlink()
        for folder in (file, *file.parents):
            if folder == root or f"{folder.relative_to(self.folder)}/" in self._markers:
                return
            with suppress(OSError):
                folder.rmdir()

    # The calls.

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, host: str
    ) -> Answer:
        """Answers a call, or refuses it and keeps which it was."""
        call = f"{method} https://{host}{target}"
        try:
            with self._lock:
                return self._route(method, target, headers, body, host)
        except Refused as refused:
            if refused.status == HTTPStatus.UNAUTHORIZED:
                self.refused.append(f"{call}: {refused}")
            return _error(refused.status, str(refused))
        except NotDoubled as unknown:
            why = f"{call}: not known to the double {unknown}".rstrip()
        except Exception as error:  # the double's own fault; a test shall fail with it
            why = f"{call}: {error!r}"
        self.refused.append(why)
        # A status after which no client tries again.
        return _error(400, why)

    def _route(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, host: str
    ) -> Answer:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        for pattern, methods in _CALLS:
            found = pattern.fullmatch(parts.path)
            if not found or method not in methods:
                continue
            kind = methods[method]
            self.calls[kind] += 1
            names = {key: unquote(value) for key, value in found.groupdict().items()}
            if kind != "token" and headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "without the token")
            if "bucket" in names and not (self.folder / names["bucket"]).is_dir():
                raise Refused(404, "The specified bucket does not exist.")
            made: Answer = getattr(self, f"_{kind}")(_Call(names, query, headers, body))
            return made
        raise NotDoubled()

    def _token(self, call: _Call) -> Answer:
        return _json({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})

    def _allowed_locations(self, call: _Call) -> Answer:
        return _json({"locations": [], "encodedLocations": "0x0"})  # everywhere

    def _bucket(self, call: _Call) -> Answer:
        call.knows("projection")
        return _json(
            {
                "kind": "storage#bucket",
                "id": call.names["bucket"],
                "name": call.names["bucket"],
                "location": "EUROPE-WEST4",
                "projectNumber": "1",
                # A bucket keeps what is deleted for a week, unless somebody changes that.
                "softDeletePolicy": {"retentionDurationSeconds": "604800"},
            }
        )

    def _layout(self, call: _Call) -> Answer:
        # Newer TensorFlows ask whether folders can be renamed as such.
        about = {"kind": "storage#storageLayout", "bucket": call.names["bucket"]}
        return _json({**about, "location": "EUROPE-WEST4", "locationType": "region"})

    def _list(self, call: _Call) -> Answer:
        call.knows("projection", "prefix", "delimiter", "pageToken", "maxResults")
        prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
        entries: dict[str, bool] = {}  # a name, or what several begin with
        for name in self.names(call.names["bucket"], prefix):
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            entries[prefix + head + cut if cut else name] = bool(cut)
        rest = [entry for entry in entries if entry > call.query.get("pageToken", "")]
        page = rest[: min(PAGE, int(call.query.get("maxResults", PAGE)))]
        about: dict[str, Any] = {"kind": "storage#objects"}
        if items := [name for name in page if not entries[name]]:
            about["items"] = [self._about(call.names["bucket"], name) for name in items]
        if prefixes := [name for name in page if entries[name]]:
            about["prefixes"] = prefixes
        if len(page) < len(rest):
            about["nextPageToken"] = page[-1]
        return _json(about)

    def _get(self, call: _Call) -> Answer:
        if call.query.get("alt") == "media":
            return self._media(call)
        call.knows("projection", "generation")
        bucket, name, _ = self._found(call, "generation")
        return _json(self._about(bucket, name))

    def _media(self, call: _Call) -> Answer:
        call.knows("generation")
        bucket, name, content = self._found(call, "generation")
        about = self._about(bucket, name)
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Goog-Generation": about["generation"],
            "X-Goog-Hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}",
        }
        if "Range" not in call.headers:
            return Answer(200, content, headers)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers["Range"])
        if not asked:
            raise NotDoubled(f"with the range {call.headers['Range']}")
        first, size = int(asked[1]), len(content)
        if first >= size:
            raise Refused(416, f"{size} bytes are there")
        part = content[first : int(asked[2] or size) + 1]
        headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{size}"
        return Answer(206, part, headers)

    def _delete(self, call: _Call) -> Answer:
        call.knows("ifGenerationMatch", "generation")
        bucket, name, _ = self._found(call, "generation")
        self._match(bucket, name, call.query.get("ifGenerationMatch"))
        self.delete(bucket, name)
        return Answer(204)

    def _rewrite(self, call: _Call) -> Answer:
        about = self._copied(call)
        done = {"done": True, "resource": about, "objectSize": about["size"]}
        done["totalBytesRewritten"] = about["size"]
        return _json({"kind": "storage#rewriteResponse", **done})

    def _copy(self, call: _Call) -> Answer:
        return _json(self._copied(call))

    def _copied(self, call: _Call) -> dict[str, Any]:
        call.knows("ifGenerationMatch", "sourceGeneration", "projection")
        _, _, content = self._found(call, "sourceGeneration")
        bucket, name = call.names["to_bucket"], call.names["to_name"]
        if not (self.folder / bucket).is_dir():
            raise Refused(404, "The specified bucket does not exist.")
        return self._made(bucket, name, call.query.get("ifGenerationMatch"), content)

    def _upload(self, call: _Call) -> Answer:
        call.knows("uploadType", "name", "ifGenerationMatch")
        bucket, kind = call.names["bucket"], call.query.get("uploadType")
        match = call.query.get("ifGenerationMatch")
        if kind == "media":
            return _json(self._made(bucket, call.query["name"], match, call.body))
        if kind == "multipart":
            about, content = _parts(call.headers, call.body)
            name = json.loads(about.partition(b"\r\n\r\n")[2])["name"]
            content = content.partition(b"\r\n\r\n")[2]
            return _json(self._made(bucket, name, match, content))
        if kind != "resumable":
            raise NotDoubled("for its kind of upload")
        name = call.query.get("name") or json.loads(call.body)["name"]
        number = f"{len(self.written)}-{len(self._uploads)}"
        self._uploads[number] = _Upload(bucket, name, match)
        session = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={number}"
        return Answer(200, b"", {"Location": f"https://storage.{DOMAIN}{session}"})

    def _upload_part(self, call: _Call) -> Answer:
        upload = self._uploads.get(call.query.get("upload_id", ""))
        if upload is None:
            raise Refused(404, "there is no such upload")
        sent = len(call.body)
        said = call.headers.get("Content-Range")
        if said is None:
            said = f"bytes 0-{sent - 1}/{sent}" if sent else "bytes */0"
        part = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", said)
        if not part:
            raise NotDoubled(f"with the range {said}")
        first, last, size = part.groups()
        if first is not None:
            if int(first) != len(upload.content) or int(last) - int(first) + 1 != sent:
                raise Refused(400, f"{said} with {sent} bytes behind {len(upload.content)}")
            if size == "*" and sent % UPLOAD_UNIT:
                raise Refused(400, f"a part of {sent} bytes is no multiple of {UPLOAD_UNIT}")
            upload.content += call.body
        if size == "*" or int(size) != len(upload.content):
            there = len(upload.content)
            return Answer(308, b"", {"Range": f"bytes=0-{there - 1}"} if there else {})
        del self._uploads[call.query["upload_id"]]
        return _json(self._made(upload.bucket, upload.name, upload.match, bytes(upload.content)))

    def _batch(self, call: _Call) -> Answer:
        parts = _parts(call.headers, call.body)
        if len(parts) > MOST_IN_A_BATCH:
            raise Refused(400, f"{len(parts)} calls in a batch")
        answers = []
        for part in parts:
            line, _, rest = part.partition(b"\r\n\r\n")[2].partition(b"\r\n")
            lines, _, body = rest.partition(b"\r\n\r\n")
            method, target, _ = line.decode().split()
            whole = urlsplit(target)
            headers = dict(message_from_bytes(lines).items())
            headers["Authorization"] = call.headers["Authorization"]
            path = whole._replace(scheme="", netloc="").geturl()
            made = self.answer(method, path, headers, body, whole.netloc)
            status = f"{made.status} {HTTPStatus(made.status).phrase}"
            answers.append(
                b"--end\r\nContent-Type: application/http\r\n\r\n"
                + f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n".encode()
                + f"Content-Length: {len(made.content)}\r\n\r\n".encode()
                + made.content
                + b"\r\n"
            )
        headers = {"Content-Type": "multipart/mixed; boundary=end"}
        return Answer(200, b"".join(answers) + b"--end--\r\n", headers)

    def _found(self, call: _Call, generation: str) -> tuple[str, str, bytes]:
        bucket, name = call.names["bucket"], call.names["name"]
        content = self.read(bucket, name)
        wanted = call.query.get(generation)
        if content is None or (wanted and int(wanted) != self._generation(bucket, name)):
            raise Refused(404, f"No such object: {bucket}/{name}")
        return bucket, name, content

    def _match(self, bucket: str, name: str, wanted: str | None) -> None:
        if wanted is not None and int(wanted) != self._generation(bucket, name):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")

    def _made(self, bucket: str, name: str, match: str | None, content: bytes) -> dict[str, Any]:
        self._match(bucket, name, match)
        self.write(bucket, name, content)
        return self._about(bucket, name)

    def _generation(self, bucket: str, name: str) -> int:
        """Nanoseconds of the last change; 0 for what is not there."""
        if name.endswith("/"):
            return self._markers.get(f"{bucket}/{name}", 0)
        file = self.folder / bucket / name
        return file.stat().st_mtime_ns if file.is_file() else 0

    @staticmethod
    def _now() -> int:
        return int(datetime.now(timezone.utc).timestamp() * 1e9)

    def _about(self, bucket: str, name: str) -> dict[str, Any]:
        content = self.read(bucket, name) or b""
        generation = self._generation(bucket, name)
        changed = datetime.fromtimestamp(generation / 1e9, timezone.utc)
        changed_text = changed.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{generation}",
            "name": name,
            "bucket": bucket,
            "generation": str(generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "storageClass": "STANDARD",
            "size": str(len(content)),
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
            "crc32c": base64.b64encode(google_crc32c.Checksum(content).digest()).decode(),
            "etag": base64.b64encode(str(generation).encode()).decode(),
            "timeCreated": changed_text,
            "updated": changed_text,
        }


_B, _O = r"/b/(?P<bucket>[^/]+)", r"/o/(?P<name>[^/]+)"
_TO = r"/b/(?P<to_bucket>[^/]+)/o/(?P<to_name>[^/]+)"
_UPLOAD = rf"/(?:resumable/)?upload/storage/v1{_B}/o"
_CALLS = [
    (re.compile(pattern), methods)
    for pattern, methods in [
        (r"/token|/oauth2/v4/token", {"POST": "token"}),
        (r"/v1/projects/-/serviceAccounts/[^/]+/allowedLocations", {"GET": "allowed_locations"}),
        (r"/batch/storage/v1", {"POST": "batch"}),
        (rf"/storage/v1{_B}", {"GET": "bucket"}),
        (rf"/storage/v1{_B}/storageLayout", {"GET": "layout"}),
        (rf"/storage/v1{_B}/o", {"GET": "list"}),
        (rf"/storage/v1{_B}{_O}", {"GET": "get", "DELETE": "delete"}),
        (rf"/storage/v1{_B}{_O}/rewriteTo{_TO}", {"POST": "rewrite"}),
        (rf"/storage/v1{_B}{_O}/copyTo{_TO}", {"POST": "copy"}),
        (rf"/download/storage/v1{_B}{_O}", {"GET": "media"}),
        (_UPLOAD, {"POST": "upload", "PUT": "upload_part"}),
        # The XML API's way to read, which is TensorFlow's.
        (r"/(?!storage/|upload/|download/)(?P<bucket>[^/]+)/(?P<name>.+)", {"GET": "media"}),
    ]
]


def _parts(headers: Mapping[str, str], body: bytes) -> list[bytes]:
    """The parts of a multipart body, each with its own headers; not a byte is changed."""
    kind = f"Content-Type: {headers['Content-Type']}\n\n".encode()
    boundary = message_from_bytes(kind, policy=policy.HTTP).get_boundary()
    assert boundary, headers["Content-Type"]
    # Some begin lines with a carriage return and some do not.
    begin = re.compile(rb"(?:\r?\n)?--" + re.escape(boundary.encode()) + rb"(?:--)?[ \t]*\r?\n?")
    parts = begin.split(body)[1:-1]
    return [_with_carriage_returns(part) for part in parts]


def _with_carriage_returns(part: bytes) -> bytes:
    head, _, rest = part.partition(b"\r\n\r\n" if b"\r\n\r\n" in part else b"\n\n")
    lines = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if b"application/http" in head:
        rest = rest.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return lines + b"\r\n\r\n" + rest


def _json(about: Mapping[str, Any]) -> Answer:
    return Answer(200, json.dumps(about).encode(), {"Content-Type": "application/json"})


def _error(status: int, why: str) -> Answer:
    about = {"error": {"code": status, "message": why, "errors": [{"message": why}]}}
    return Answer(status, json.dumps(about).encode(), {"Content-Type": "application/json"})


class _Handler(BaseHTTPRequestHandler):
    """A proxy that is all of Google itself; and what is asked without it, a metadata server."""

    protocol_version = "HTTP/1.1"
    # An answer leaves at once, and as a whole.
    wbufsize = -1
    disable_nagle_algorithm = True
    storage: GoogleStorage
    context: ssl.SSLContext
    host = ""

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        if not host.endswith(f".{DOMAIN}"):
            self.storage.refused.append(f"CONNECT {self.path}")
            self.send_error(HTTPStatus.FORBIDDEN, f"the double is not {host}")
            return
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        self.wfile.flush()
        self.host = host
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False

    def handle_expect_100(self) -> bool:
        answered = super().handle_expect_100()
        self.wfile.flush()
        return answered

    def _answer(self) -> None:
        body = self._body()
        if self.host:
            made = self.storage.answer(self.command, self.path, self.headers, body, self.host)
        else:
            made = self._metadata()
        self.send_response(made.status)
        for name, value in made.headers.items():
            self.send_header(name, value)
        if made.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(made.content)))
        self.end_headers()
        self.wfile.write(made.content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _body(self) -> bytes:
        # TensorFlow's uploads come in chunks, beside a Content-Length.
        if self.headers.get("Transfer-Encoding", "identity") == "identity":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _metadata(self) -> Answer:
        email = "pipeline@example.org"
        account = "/computeMetadata/v1/instance/service-accounts/default"
        about = {"email": email, "scopes": [], "aliases": ["default"]}
        known = {
            "": b"",
            account: json.dumps(about).encode(),
            f"{account}/email": email.encode(),
            f"{account}/token": self.storage._token(_Call({}, {}, {}, b"")).content,
            "/computeMetadata/v1/project/project-id": b"shapes-1",
            "/computeMetadata/v1/universe/universe-domain": DOMAIN.encode(),
        }
        # An account may be asked for by its address as well.
        path = urlsplit(self.path).path.rstrip("/").replace(f"/{email}", "/default", 1)
        kind = "application/json" if known.get(path, b"").startswith(b"{") else "application/text"
        headers = {"Metadata-Flavor": "Google", "Content-Type": kind}
        if path not in known:
            self.storage.refused.append(f"{self.command} {self.path} of the metadata server")
            return Answer(404, b"", headers)
        return Answer(200, known[path], headers)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes without a word is its own affair."""


# For a process that is to find its account as on Google's machines, and not by a key.
WITHOUT_A_KEY = {"GOOGLE_APPLICATION_CREDENTIALS": ""}


@contextmanager
def google_storage(folder: Path, *buckets: str) -> Iterator[tuple[GoogleStorage, dict[str, str]]]:
    """Runs one with these buckets, which are all that there are.

    Args:
      folder: an empty folder, for the objects and what clients need to find them.
      *buckets: their names.

    Yields:
      The double, and the variables that a process needs in its environment.
    """
    folder.mkdir(exist_ok=True)
    storage = GoogleStorage(folder / "buckets")
    for bucket in buckets:
        (storage.folder / bucket).mkdir(parents=True)
    pem, private = certificate(folder, f"*.{DOMAIN}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    handler = type("Handler", (_Handler,), {"storage": storage, "context": context})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    here = f"127.0.0.1:{server.server_port}"
    key = write_key(folder / "key.json", f"https://oauth2.{DOMAIN}/token")
    try:
        yield (
            storage,
            {
                **dict.fromkeys(("https_proxy", "HTTPS_PROXY"), f"http://{here}"),
                **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1"),
                # TensorFlow's curl, and requests.
                **dict.fromkeys(("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(pem)),
                "GOOGLE_APPLICATION_CREDENTIALS": str(key),
                # TensorFlow takes the first of them, google-auth the others too.
                "GCE_METADATA_HOST": here,
                "GCE_METADATA_IP": here,
                "NO_GCE_CHECK": "false",
                "CLOUDSDK_CONFIG": str(folder),
            },
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
