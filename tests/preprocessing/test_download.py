"""Downloads against an HTTP server of the test on 127.0.0.1."""

import hashlib
import http.server
import io
import logging
import socket
import threading
import time
import zipfile

import pytest

from preprocessing import download as module
from schema.errors import UserError


def zip_of(text):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("PartAnnotation/a.pts", text)
    return content.getvalue()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


SHAPES = zip_of("0 0 0\n" * 50)
OTHER = zip_of("1 1 1\n")
PAGE = b"<html>Please log in.</html>"
ANSWERS = {"/shapes": SHAPES, "/other": OTHER, "/page": PAGE, "/empty": b""}
ANSWERS |= {"/truncated": SHAPES[:-30], "/cut": SHAPES[:100]}
STATUSES = {"/forbidden": 403, "/broken": 500, "/moved": 302, "/to_file": 302}
LOCATIONS = {"/moved": "/shapes", "/to_file": "file:///etc/passwd"}
REASONS = {"/missing": "404", "/forbidden": "403", "/broken": "500", "/page": ".zip"}
REASONS |= {"/empty": ".zip", "/truncated": ".zip", "/cut": "", "/to_file": "InvalidSchema"}
REASONS |= {"/other": sha256(OTHER), "http://127.0.0.1:9/closed": "ConnectionError"}
SOURCE = module.DataSource(
    what="shapes", layout="", terms="research", terms_url="https://a.org", by_hand=["https://b.org"]
)
BAD_ADDRESSES = [
    *("file:///etc/passwd", "/a.zip", "", "https:///a", "http://[x"),
    *("ftp://me:hunter2@host/a", "https://me:hun/ter2@host/a"),
]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.paths.append(path)
        body = ANSWERS.get(path, b"")
        self.send_response(STATUSES.get(path, 200 if path in ANSWERS else 404))
        self.send_header("Content-Length", str(len(SHAPES) if path == "/cut" else len(body)))
        self.send_header("Location", LOCATIONS.get(path, ""))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.paths = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def run(server, monkeypatch, tmp_path):
    """Downloads the data set "shapes", whose addresses are these paths of the server."""

    def run(*paths, folder=tmp_path / "data", listed_sha256=None, **options):
        root = f"http://127.0.0.1:{server.server_port}"
        urls = [path if "://" in path else root + path for path in paths]
        source = SOURCE.model_copy(update={"sha256": listed_sha256, "urls": urls})
        monkeypatch.setattr(module, "read_sources", lambda: {"shapes": source})
        return module.download(str(folder), "shapes", **options)

    return run


def test_an_archive_and_its_checksum(run, server, tmp_path, capfd):
    result = run("/shapes")
    assert result == (tmp_path / "data/shapes.zip", sha256(SHAPES), False)
    assert result.archive.read_bytes() == SHAPES
    assert list(result.archive.parent.iterdir()) == [result.archive]
    assert result.archive.stat().st_mode & 0o444 == 0o444
    assert sha256(SHAPES) in str(result)
    assert "research (https://a.org)" in capfd.readouterr().err
    # What exists is kept, and verified where a checksum is known; the user's replaces the list's.
    assert run("/shapes", listed_sha256=sha256(SHAPES)) == (*result[:2], True)
    assert run("/shapes", listed_sha256=sha256(OTHER), sha256=sha256(SHAPES)).verified
    assert server.paths == ["/shapes"]


def test_the_next_address_is_tried(run, server):
    result = run(*REASONS, "/shapes", sha256=sha256(SHAPES).upper())
    assert result.archive.read_bytes() == SHAPES
    assert result.verified
    assert server.paths == [path for path in (*REASONS, "/shapes") if path[0] == "/"]


def test_own_addresses_are_tried_first(run, server):
    root = f"http://127.0.0.1:{server.server_port}"
    result = run("/other", urls=(f"{root}/missing", f"{root}/moved"))
    assert result.archive.read_bytes() == SHAPES
    assert server.paths == ["/missing", "/moved", "/shapes"]


def test_no_address(run, tmp_path):
    with pytest.raises(UserError) as failure:
        run(*REASONS, sha256=sha256(SHAPES))
    assert failure.value.code == "no_address"
    _, *lines, rest = failure.value.message.splitlines()
    for (path, reason), line in zip(REASONS.items(), lines, strict=True):
        assert f"{path}: " in line and reason in line
    assert "https://b.org" in rest
    assert f"{tmp_path}/data/shapes.zip" in rest
    assert list((tmp_path / "data").iterdir()) == []


def test_a_server_that_never_answers(run, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", (0.5, 0.5))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        result = run(f"http://127.0.0.1:{silent.getsockname()[1]}/a", "/shapes")
    assert time.monotonic() - start < 10
    assert result.archive.read_bytes() == SHAPES


@pytest.mark.parametrize(("content", "code"), [(OTHER, "wrong_checksum"), (PAGE, "not_a_zip")])
def test_a_bad_file_that_exists(run, server, tmp_path, content, code):
    file = tmp_path / "shapes.zip"
    file.write_bytes(content)
    with pytest.raises(UserError) as failure:
        run("/shapes", folder=tmp_path, sha256=sha256(SHAPES))
    assert (failure.value.code, failure.value.file) == (code, str(file))
    assert file.read_bytes() == content
    assert not server.paths


def test_secrets_are_not_shown(run, server, capfd):
    logged = io.StringIO()
    module.pooch.get_logger().addHandler(logging.StreamHandler(logged))
    root = f"http://me:hunter2@127.0.0.1:{server.server_port}"
    with pytest.raises(UserError) as failure:
        run(f"{root}/forbidden?token=hunter2", "http://me:hunter2@127.0.0.1:9/a?token=hunter2")
    run(f"{root}/shapes?token=hunter2")
    assert server.paths == ["/forbidden", "/shapes"]
    assert "hunter2" not in str(failure.value) + "".join(capfd.readouterr()) + logged.getvalue()


@pytest.mark.parametrize(
    ("code", "options"),
    [("not_an_address", {"urls": (url,)}) for url in BAD_ADDRESSES]
    + [("not_a_checksum", {"sha256": text}) for text in ("abc", "", "g" * 64)]
    + [("cannot_write", {"folder": folder}) for folder in (f"{__file__}/a", "~no_such_user/a")],
)
def test_bad_arguments(run, server, code, options):
    with pytest.raises(UserError) as failure:
        run("/shapes", **options)
    assert failure.value.code == code
    assert "ter2" not in str(failure.value)
    assert not server.paths


def test_the_shipped_list():
    sources = module.read_sources()
    assert set(sources) == {"part_annotation", "benchmark_v0", "benchmark_normal", "benchmark_hdf5"}
    for name, source in sources.items():
        assert source.layout == name
        assert source.by_hand
        assert all(url.startswith("https://") for url in source.urls)
    with pytest.raises(UserError) as failure:
        module.download("data", "benchmark")
    assert failure.value.code == "unknown_data_set"
    assert all(name in failure.value.message for name in sources)
