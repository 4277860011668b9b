"""Downloads against a real HTTP server in a thread of the test, which does what servers do."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.utils
import hashlib
import http.server
import io
import ipaddress
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import main
from preprocessing.command_line import program
from preprocessing.data_sources import read_sources
from preprocessing.destination import staging_lock
from preprocessing.download import download
from preprocessing.fetch import AddressFailed, PartFile, Patience, fetch, shown
from preprocessing.findings import BadInput
from preprocessing.layouts import LAYOUTS, open_reader
from preprocessing.settings import DataSettings

QUICK = Patience(attempts=3, backoff_seconds=0.0, connect_seconds=5.0, read_seconds=5.0)
MODIFIED = email.utils.format_datetime(datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc))
CONTENT = bytes(range(256)) * 40


@dataclasses.dataclass
class Answer:
    """How one request is answered; by default well."""

    content: bytes = CONTENT
    etag: str = '"one"'
    modified: str = ""
    status: int = 200
    reason: str = ""
    kind: str = "application/zip"
    # Bytes of the body after which the connection is cut.
    cut: int | None = None
    ignores_range: bool = False
    ignores_if_range: bool = False
    refuses_range: bool = False
    content_range: str = ""
    # What Content-Length says in place of the truth; -1: it is left out.
    length: int | None = None
    chunked: bool = False
    location: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else each answer's body waits 40 ms for the client to confirm its headers.
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.seen.append((self.path, dict(self.headers)))
        queue = server.answers.get(self.path, [])
        answer = queue.pop(0) if queue else server.afterwards.get(self.path, Answer(status=404))
        body, status, extra = answer.content, answer.status, {}
        wanted = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        current = self.headers.get("If-Range", "") in ("", answer.etag, answer.modified)
        if status == 200 and wanted and not answer.ignores_range:
            begin = int(wanted[1])
            if answer.refuses_range or (current and begin >= len(body)):
                extra["Content-Range"] = f"bytes */{len(body)}"
                status, body = 416, b""
            elif current or answer.ignores_if_range:
                end = len(body)
                extra["Content-Range"] = answer.content_range or f"bytes {begin}-{end - 1}/{end}"
                status, body = 206, body[begin:]
        self.send_response(status, answer.reason or None)
        self.send_header("Content-Type", answer.kind)
        if answer.location:
            self.send_header("Location", answer.location)
        if answer.etag:
            self.send_header("ETag", answer.etag)
        if answer.modified:
            self.send_header("Last-Modified", answer.modified)
        for name, value in extra.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.length != -1:
            self.send_header("Content-Length", str(answer.length or len(body)))
        if answer.cut is not None or answer.length is not None or status >= 400:
            # This closes it, too.
            self.send_header("Connection", "close")
        self.end_headers()
        sent = body if answer.cut is None else body[: answer.cut]
        if answer.chunked:
            for begin in range(0, len(sent), 1000):
                piece = sent[begin : begin + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if answer.cut is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(sent)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.forget()

    def forget(self):
        self.seen, self.answers, self.afterwards = [], {}, {}

    def handle_error(self, *_):
        """A client that was killed hangs up; that is what is tested."""

    def gives(self, path, *answers, afterwards=None):
        """Answers the requests for `path` one after the other; returns its address."""
        self.answers[path] = list(answers)
        if afterwards is not None:
            self.afterwards[path] = afterwards
        return f"http://127.0.0.1:{self.server_port}{path}"

    @property
    def ranges(self):
        return [headers.get("Range") for _, headers in self.seen]


@contextlib.contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def one_server():
    with running(Server()) as server:
        yield server


@pytest.fixture
def server(one_server):
    one_server.forget()
    return one_server


@pytest.fixture
def part(tmp_path):
    return PartFile(tmp_path / "shapes.part")


@contextlib.contextmanager
def silent(_total, _there, _given_up):
    yield lambda _count: None


def fetch_quickly(address, part, max_bytes=10**9, patience=QUICK):
    fetch(address, part, max_bytes, patience, silent)
    return part.path.read_bytes()


def zip_of(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


SHAPES = zip_of({"PartAnnotation/metadata.json": "{}", "PartAnnotation/a.pts": "0 0 0\n" * 50})
OTHER = zip_of({"PartAnnotation/metadata.json": "{}", "PartAnnotation/b.pts": "1 1 1\n" * 70})


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def addresses(tmp_path):
    """Writes a list of addresses with the data set `shapes`; returns its path."""

    def write(*urls, checksum=None):
        file = tmp_path / "addresses.yaml"
        source = {
            "what": "made-up shapes",
            "layout": "part_annotation",
            "terms": "for tests only",
            "terms_url": "https://example.org/terms",
            "sha256": checksum,
            "urls": list(urls),
            "by_hand": ["https://example.org/register"],
        }
        file.write_text(yaml.safe_dump({"shapes": source}))
        return str(file)

    return write


def download_shapes(folder, addresses, **options):
    return download(str(folder), "shapes", addresses=addresses, **{"patience": QUICK, **options})


# Going on after a cut.


def test_goes_on_where_the_connection_was_cut(server, part):
    address = server.gives("/a", Answer(cut=1000), Answer(cut=500), Answer())
    assert fetch_quickly(address, part) == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-"]
    assert [headers.get("If-Range") for _, headers in server.seen] == [None, '"one"', '"one"']


def test_goes_on_in_another_run(server, part):
    cut = [Answer(cut=1000), Answer(cut=0), Answer(cut=0), Answer(cut=0)]
    address = server.gives("/a", *cut, afterwards=Answer())
    with pytest.raises(AddressFailed, match=r"cut off at 1,000 bytes of 10,240 bytes"):
        fetch_quickly(address, part)
    assert len(server.seen) == 1 + QUICK.attempts
    assert fetch_quickly(address, PartFile(part.path)) == CONTENT
    assert server.ranges[-1] == "bytes=1000-"


def test_goes_on_by_the_time_of_change_where_there_is_no_etag(server, part):
    dated = {"etag": "", "modified": MODIFIED}
    address = server.gives("/a", Answer(cut=1000, **dated), Answer(**dated))
    assert fetch_quickly(address, part) == CONTENT
    assert server.seen[1][1]["If-Range"] == MODIFIED
    assert server.ranges == [None, "bytes=1000-"]


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_starts_anew_where_nothing_tells_one_file_from_another(server, part, etag):
    address = server.gives("/a", Answer(cut=1000, etag=etag), Answer(etag=etag))
    assert fetch_quickly(address, part) == CONTENT
    assert server.ranges == [None, None]


@pytest.mark.parametrize(
    "second",
    [
        Answer(content=CONTENT[::-1], etag='"two"'),
        Answer(content=CONTENT[::-1], ignores_range=True),
    ],
    ids=["changed", "ignores Range"],
)
def test_a_whole_answer_replaces_what_was_there(server, part, second):
    address = server.gives("/a", Answer(cut=1000), second)
    assert fetch_quickly(address, part) == CONTENT[::-1]
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    "second",
    [
        Answer(content=CONTENT[::-1], etag='"two"', ignores_if_range=True),
        Answer(content=CONTENT[::-1] + b"more", etag="", ignores_if_range=True),
        Answer(content_range="bytes 999-10239/10240"),
        Answer(content_range="nonsense"),
        Answer(refuses_range=True),
    ],
    ids=["other ETag", "other size", "other place", "no place", "416"],
)
def test_a_rest_that_does_not_fit_is_not_put_to_what_is_there(server, part, second):
    last = Answer(content=CONTENT[::-1], etag='"two"')
    address = server.gives("/a", Answer(cut=1000), second, last)
    assert fetch_quickly(address, part) == CONTENT[::-1]
    assert server.ranges == [None, "bytes=1000-", None]


def test_a_file_of_unknown_size_goes_on_too(server, part):
    address = server.gives("/a", Answer(cut=3000, chunked=True), Answer(chunked=True))
    assert fetch_quickly(address, part) == CONTENT
    assert server.ranges == [None, "bytes=3000-"]


def test_what_arrived_whole_before_is_not_asked_for_again(server, part):
    address = server.gives("/a", Answer())
    fetch_quickly(address, part)
    assert fetch_quickly(address, PartFile(part.path)) == CONTENT
    assert len(server.seen) == 1


def test_what_is_from_another_address_is_not_gone_on_with(server, part):
    first = server.gives("/a", Answer(cut=1000), afterwards=Answer(status=410))
    with pytest.raises(AddressFailed, match="HTTP 410"):
        fetch_quickly(first, part)
    assert part.is_from(first)
    second = server.gives("/b", Answer(content=CONTENT[::-1]))
    assert fetch_quickly(second, part) == CONTENT[::-1]
    assert server.ranges[-1] is None


def test_a_note_that_cannot_be_read_means_to_start_anew(server, part):
    part.path.write_bytes(b"rubbish")
    part.path.with_name(part.path.name + ".json").write_text('{"address": 1}')
    assert fetch_quickly(server.gives("/a", Answer()), part) == CONTENT


@settings(max_examples=40)
@given(
    content=st.binary(min_size=1, max_size=4000),
    cuts=st.lists(st.integers(0, 4000), max_size=8),
    chunked=st.booleans(),
)
def test_any_cuts_give_the_source(one_server, content, cuts, chunked):
    one_server.forget()
    answers = [Answer(content=content, cut=cut, chunked=chunked) for cut in cuts]
    address = one_server.gives("/a", *answers, afterwards=Answer(content=content))
    patience = dataclasses.replace(QUICK, attempts=len(cuts) + 1)
    with tempfile.TemporaryDirectory() as folder:
        assert fetch_quickly(address, PartFile(Path(folder, "x")), patience=patience) == content


VERSIONS = {"one": CONTENT[:3000], "two": CONTENT[:3000][::-1], "three": CONTENT[:2000]}


@settings(max_examples=60)
@given(
    st.lists(
        st.builds(
            lambda name, marked, **others: Answer(
                content=VERSIONS[name], etag=f'"{name}"' if marked else "", **others
            ),
            name=st.sampled_from(sorted(VERSIONS)),
            marked=st.booleans(),
            cut=st.none() | st.integers(0, 3000),
            ignores_range=st.booleans(),
            refuses_range=st.booleans(),
            status=st.sampled_from([200, 200, 200, 503]),
            chunked=st.booleans(),
        ),
        max_size=8,
    )
)
def test_bytes_of_two_files_are_never_put_together(one_server, answers):
    one_server.forget()
    last = Answer(content=VERSIONS["one"], etag='"one"')
    address = one_server.gives("/a", *answers, afterwards=last)
    with tempfile.TemporaryDirectory() as folder:
        part = PartFile(Path(folder, "x"))
        while True:
            with contextlib.suppress(AddressFailed):
                assert fetch_quickly(address, part) in VERSIONS.values()
                break


KILLED = """
import contextlib, os, signal, sys
from pathlib import Path
from preprocessing.fetch import PartFile, Patience, fetch

address, file, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

@contextlib.contextmanager
def until_killed(total, have, given_up):
    def arrived(count):
        if count >= last:
            os.kill(os.getpid(), signal.SIGKILL)
    yield arrived

fetch(address, PartFile(file), 10**9, Patience(), until_killed)
"""


def test_goes_on_after_it_was_killed(server, part):
    content = os.urandom(3 * 2**20)
    address = server.gives("/a", afterwards=Answer(content=content))
    program = [sys.executable, "-c", KILLED, address, str(part.path), str(2**20)]
    ended = subprocess.run(program, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    there = part.size
    assert 2**20 <= there < len(content)
    assert fetch_quickly(address, part) == content
    assert server.ranges == [None, f"bytes={there}-"]


# Servers that do not give it.


def test_a_busy_server_is_asked_again(server, part):
    address = server.gives("/a", Answer(status=503), Answer(status=500), Answer())
    assert fetch_quickly(address, part) == CONTENT


def test_a_server_that_stays_busy_is_given_up(server, part):
    address = server.gives("/a", afterwards=Answer(status=503))
    with pytest.raises(AddressFailed, match=r"^HTTP 503 Service Unavailable$"):
        fetch_quickly(address, part)
    assert len(server.seen) == QUICK.attempts


def test_a_server_that_is_not_there(part, closed_port):
    with pytest.raises(AddressFailed, match=r"^the connection was refused$"):
        fetch_quickly(f"http://127.0.0.1:{closed_port}/a", part)


def test_a_server_that_promises_more_than_it_has(server, part):
    promising = Answer(length=len(CONTENT) + 1, ignores_range=True)
    address = server.gives("/a", afterwards=promising)
    with pytest.raises(AddressFailed, match=r"cut off at 10,240 bytes of 10,241 bytes"):
        fetch_quickly(address, part)
    assert len(server.seen) == 1 + QUICK.attempts


def test_a_server_that_always_starts_anew_with_another_file_is_given_up(server, part):
    changing = [Answer(cut=500, etag=f'"{number}"') for number in range(20)]
    with pytest.raises(AddressFailed, match="cut off at 500 bytes"):
        fetch_quickly(server.gives("/a", *changing), part)
    assert len(server.seen) == 1 + QUICK.attempts


@pytest.mark.parametrize(
    ("page", "kind", "said"),
    [
        (b"<html><title>Log in\n to\x07 ShapeNet</title>", "text/html", '("Log in to ShapeNet")'),
        (b"\xef\xbb\xbf \n<!DOCTYPE HTML><p>moved", "application/zip", "a web page, not"),
        (b"anything", "text/html; charset=utf-8", "a web page, not"),
    ],
)
def test_a_web_page_is_no_archive(server, part, page, kind, said):
    earlier = server.gives("/b", Answer(cut=1000), afterwards=Answer(status=404))
    with pytest.raises(AddressFailed):
        fetch_quickly(earlier, part)
    address = server.gives("/a", Answer(content=page, kind=kind))
    with pytest.raises(AddressFailed, match="answers with a web page") as failure:
        fetch_quickly(address, part)
    assert said in str(failure.value)
    # What was there from elsewhere is not given up for it.
    assert part.path.read_bytes() == CONTENT[:1000]


def test_redirects_are_followed(server, part):
    server.gives("/c", Answer())
    server.gives("/b", Answer(status=302, location="c"))
    address = server.gives("/a", Answer(status=301, location="/b"))
    assert fetch_quickly(address, part) == CONTENT


def test_redirects_come_to_an_end(server, part):
    address = server.gives("/a", afterwards=Answer(status=302, location="/a"))
    with pytest.raises(AddressFailed, match="redirects more than 10 times"):
        fetch_quickly(address, part)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_redirects_lead_to_the_web_only(server, part, target):
    address = server.gives("/a", Answer(status=302, location=target))
    with pytest.raises(AddressFailed, match=r"redirects to .*, expected https://"):
        fetch_quickly(address, part)


def test_redirects_do_not_lead_out_of_https(server, part, tmp_path, monkeypatch):
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secure = Server()
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    insecure = server.gives("/a", Answer())
    with running(secure):
        secure.gives("/a", Answer(status=302, location="/b"))
        secure.gives("/b", Answer(), Answer(status=302, location=insecure))
        address = f"https://127.0.0.1:{secure.server_port}"
        assert fetch_quickly(f"{address}/a", part) == CONTENT
        with pytest.raises(AddressFailed, match="redirects from https:// to http://127"):
            fetch_quickly(f"{address}/b", part)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(AddressFailed, match="certificate is not trusted"):
            fetch_quickly(f"{address}/c", part)
    assert not server.seen


def self_signed(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(host, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def test_what_is_too_large_elsewhere_leaves_what_is_there(server, part):
    earlier = server.gives("/b", Answer(cut=1000), afterwards=Answer(status=404))
    with pytest.raises(AddressFailed):
        fetch_quickly(earlier, part)
    with pytest.raises(AddressFailed, match="expected at most 5,000 bytes"):
        fetch_quickly(server.gives("/a", Answer()), part, max_bytes=5000)
    assert part.is_from(earlier)
    assert part.path.read_bytes() == CONTENT[:1000]


def test_no_control_characters_of_a_server_are_printed(server, part):
    address = server.gives("/a", Answer(status=404, reason="\x1b[2Jgone"))
    with pytest.raises(AddressFailed, match=r"^HTTP 404 Not Found$"):
        fetch_quickly(address, part)
    assert shown("https://host/\x1b[2J") == "https://host/?[2J"


@pytest.mark.parametrize("chunked", [False, True], ids=["says so", "does not say"])
def test_what_is_too_large_is_refused_and_leaves_nothing(server, part, chunked):
    address = server.gives("/a", afterwards=Answer(chunked=chunked))
    with pytest.raises(AddressFailed, match="expected at most 5,000 bytes"):
        fetch_quickly(address, part, max_bytes=5000)
    assert not list(part.path.parent.iterdir())


def test_a_full_disk_is_noticed_beforehand(server, part, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**26))
    with pytest.raises(BadInput, match=r"expected 10,240 bytes .*; 67\.1 MB are kept free besides"):
        fetch_quickly(server.gives("/a", Answer()), part)
    assert part.size == 0


# Data sets.


def test_the_first_address_that_gives_it_is_taken(server, tmp_path, addresses, capsys):
    urls = [
        server.gives("/gone", Answer(status=404)),
        server.gives("/page", Answer(content=b"<html>", kind="text/html")),
        server.gives("/good", Answer(content=SHAPES)),
        server.gives("/never", Answer(content=OTHER)),
    ]
    made = download_shapes(tmp_path / "data", addresses(*urls))
    assert made.archive == made.source == tmp_path / "data" / "shapes.zip"
    assert made.archive.read_bytes() == SHAPES
    assert (made.sha256, made.verified) == (sha256(SHAPES), False)
    assert [path for path, _ in server.seen] == ["/gone", "/page", "/good"]
    assert sorted(os.listdir(tmp_path / "data")) == ["shapes.zip"]
    said = capsys.readouterr().err
    assert said.index("for tests only (https://example.org/terms)") < said.index("/gone")
    assert said.count("HTTP 404 Not Found") == 1
    assert f"  downloading {len(SHAPES):,} bytes\n" in said
    assert f"  all {len(SHAPES):,} bytes are there\n" in said
    assert f"sha256 {sha256(SHAPES)}" in str(made)
    assert f"pointnet-parts convert {made.archive} OUTPUT" in str(made)


def test_the_users_own_addresses_come_first(server, tmp_path, addresses):
    listed = server.gives("/listed", Answer(content=OTHER))
    own = server.gives("/own", Answer(content=SHAPES))
    made = download_shapes(tmp_path, addresses(listed), urls=[own])
    assert made.archive.read_bytes() == SHAPES
    assert [path for path, _ in server.seen] == ["/own"]


def test_a_wrong_checksum_is_set_aside_and_the_next_address_is_tried(
    server, tmp_path, addresses, capsys
):
    urls = [
        server.gives("/bad", Answer(content=OTHER)),
        server.gives("/good", Answer(content=SHAPES)),
    ]
    made = download_shapes(tmp_path, addresses(*urls, checksum=sha256(SHAPES).upper()))
    assert made.verified
    assert made.archive.read_bytes() == SHAPES
    assert (tmp_path / "shapes.rejected").read_bytes() == OTHER
    assert f"has sha256 {sha256(OTHER)}, expected {sha256(SHAPES)}" in capsys.readouterr().err


def test_what_was_set_aside_is_taken_once_its_checksum_is_given(server, tmp_path, addresses):
    listed = addresses(server.gives("/bad", afterwards=Answer(content=OTHER)), checksum="0" * 64)
    with pytest.raises(BadInput, match=f"run again with --sha256 {sha256(OTHER)}") as failure:
        download_shapes(tmp_path, listed)
    assert failure.value.code == "no_address"
    made = download_shapes(tmp_path, listed, sha256=sha256(OTHER))
    assert made.archive.read_bytes() == OTHER
    assert len(server.seen) == 1
    assert not (tmp_path / "shapes.rejected").exists()


def test_what_is_there_is_not_downloaded_again(server, tmp_path, addresses):
    (tmp_path / "shapes.zip").write_bytes(SHAPES)
    listed = addresses(server.gives("/a", Answer(content=OTHER)))
    assert download_shapes(tmp_path, listed).sha256 == sha256(SHAPES)
    with pytest.raises(BadInput, match=f"with sha256 {sha256(SHAPES)}, expected {sha256(OTHER)}"):
        download_shapes(tmp_path, listed, sha256=sha256(OTHER))
    assert (tmp_path / "shapes.zip").read_bytes() == SHAPES
    assert not server.seen


def test_when_no_address_gives_it_the_way_by_hand_is_told(server, tmp_path, addresses, capsys):
    urls = [
        server.gives("/cut", Answer(content=SHAPES, cut=100), afterwards=Answer(status=403)),
        server.gives("/gone", Answer(status=404)),
    ]
    with pytest.raises(BadInput) as failure:
        download_shapes(tmp_path, addresses(*urls, checksum=sha256(SHAPES)))
    told = str(failure.value)
    assert f"{urls[0]}: HTTP 403 Forbidden\n" in told
    assert f"{urls[1]}: HTTP 404 Not Found\n" in told
    assert "The first 100 bytes stay for the next run." in told
    assert "https://example.org/register\n" in told
    assert f"Put the .zip, as it is, to {tmp_path}/shapes.zip\n" in told
    assert told.count("HTTP 403") == 1 and "HTTP 403" not in capsys.readouterr().err
    assert sha256(SHAPES) in told
    assert f"pointnet-parts convert {tmp_path}/shapes.zip OUTPUT\n" in told
    assert f"pointnet-parts download {tmp_path} --dataset shapes --url ADDRESS" in told


def test_the_file_to_look_for_by_hand_is_named(server, tmp_path, addresses):
    urls = [server.gives(path, Answer(status=404)) for path in ("/one.zip", "/x", "/y/two.zip")]
    with pytest.raises(
        BadInput, match=r"the \.zip \(elsewhere called one\.zip or two\.zip\), as it"
    ):
        download_shapes(tmp_path, addresses(*urls))


def test_going_on_and_starting_anew_are_said(server, tmp_path, addresses, capsys):
    listed = addresses(
        server.gives(
            "/a",
            Answer(content=SHAPES, cut=100),
            Answer(content=SHAPES, cut=50),
            Answer(content=SHAPES, ignores_range=True),
        )
    )
    download_shapes(tmp_path, listed)
    said = capsys.readouterr().err
    assert f"  going on at 100 bytes of {len(SHAPES):,} bytes\n" in said
    assert "the server cannot go on at 150 bytes, where it was: starting anew" in said


def test_the_command_to_type_next(tmp_path, monkeypatch):
    there = tmp_path / "a b" / "pointnet-parts"
    there.parent.mkdir()
    there.write_text("")
    there.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert program() == f"{tmp_path}/python -m pipeline.cli"
    monkeypatch.setattr("sys.argv", [str(there)])
    assert program() == f"'{there}'"
    monkeypatch.setenv("PATH", str(there.parent))
    assert program() == "pointnet-parts"


def test_the_next_run_begins_with_the_address_that_had_begun(server, tmp_path, addresses):
    urls = [
        server.gives("/first", Answer(status=404), afterwards=Answer(content=OTHER)),
        server.gives("/second", Answer(content=SHAPES, cut=100), Answer(status=404)),
    ]
    listed = addresses(*urls)
    with pytest.raises(BadInput):
        download_shapes(tmp_path, listed)
    server.gives("/second", Answer(content=SHAPES))
    assert download_shapes(tmp_path, listed).archive.read_bytes() == SHAPES
    assert server.seen[-1][0] == "/second"
    assert server.ranges[-1] == "bytes=100-"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(content=SHAPES[:-10]),
        Answer(content=SHAPES, length=len(SHAPES) - 10),
        Answer(content=SHAPES, length=-1, cut=len(SHAPES) - 10),
        Answer(content=b""),
        Answer(content=b"no archive at all"),
    ],
    ids=["cut at the source", "length too small", "no length and cut", "empty", "something else"],
)
def test_an_archive_without_its_end_is_not_taken(server, tmp_path, addresses, answer):
    listed = addresses(server.gives("/a", Answer(**vars(answer))))
    with pytest.raises(BadInput, match="what arrived is of no use"):
        download_shapes(tmp_path / "data", listed)
    assert not list((tmp_path / "data").iterdir())


def test_two_downloads_do_not_meet_in_one_folder(server, tmp_path, addresses):
    listed = addresses(server.gives("/a", Answer(content=SHAPES)))
    folder = tmp_path / "data"
    with (
        staging_lock(str(folder), "download"),
        pytest.raises(BadInput, match=f"another download is writing to {folder}"),
    ):
        download_shapes(folder, listed)
    assert not server.seen


def test_a_download_is_unpacked_when_asked(server, tmp_path, addresses, capsys):
    listed = addresses(server.gives("/a", Answer(content=SHAPES)))
    made = download_shapes(tmp_path, listed, unpacked=True)
    assert made.source == tmp_path / "shapes"
    assert (made.source / "PartAnnotation" / "a.pts").read_text() == "0 0 0\n" * 50
    download_shapes(tmp_path, listed, unpacked=True)
    assert "so nothing is unpacked" in capsys.readouterr().err
    assert len(server.seen) == 1


def test_what_was_downloaded_can_be_converted(server, tmp_path, addresses, planes):
    planes.shape("a")
    files = {
        f"PartAnnotation/{path.relative_to(planes.root)}": path.read_text()
        for path in planes.root.rglob("*")
        if path.is_file()
    }
    listed = addresses(server.gives("/a", Answer(content=zip_of(files))))
    made = download_shapes(tmp_path, listed)
    assert list(open_reader(str(made.source), DataSettings()).categories) == ["Airplane"]


def test_passwords_are_neither_shown_nor_kept(server, tmp_path, addresses, capsys):
    address = server.gives("/a?token=secret", Answer(content=SHAPES, cut=100), Answer(status=403))
    address = address.replace("http://", "http://me:secret@")
    with pytest.raises(BadInput) as failure:
        download_shapes(tmp_path / "data", addresses(address))
    kept = "".join(
        path.read_text("latin-1") for path in (tmp_path / "data").iterdir() if path.is_file()
    )
    for text in (str(failure.value), capsys.readouterr().err, kept):
        assert "secret" not in text
    assert shown("https://me:secret@host:1/a?b") == "https://host:1/a?..."


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/a", "/a.zip", "https:///a", "http://[x"]
)
def test_addresses_are_of_the_web(tmp_path, addresses, url):
    with pytest.raises(BadInput, match="is no address to download from"):
        download_shapes(tmp_path, addresses(), urls=[url])
    with pytest.raises(BadInput, match="is no address to download from"):
        download_shapes(tmp_path, addresses(url))


def test_a_checksum_is_64_digits(tmp_path, addresses):
    with pytest.raises(BadInput, match="'abc' is no sha256: expected 64 hexadecimal digits"):
        download_shapes(tmp_path, addresses(), sha256="abc")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no YAML"),
        ("- a", "the file: "),
        ("a: {}", "a.what: Field required"),
        ("a: {what: b, layout: c, terms: d, terms_url: e, sh256: f}", "a.sh256: Extra"),
        ("../a: {what: b, layout: c, terms: d, terms_url: e}", "names a data set"),
        ("", "the file: "),
    ],
)
def test_what_is_wrong_with_a_list_of_addresses_is_said(tmp_path, text, said):
    file = tmp_path / "list.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=re.escape(said)) as failure:
        read_sources(str(file))
    assert failure.value.file == str(file)


def test_the_list_that_is_shipped():
    sources = read_sources()
    assert set(sources) == {"part_annotation", "benchmark_v0", "benchmark_normal", "benchmark_hdf5"}
    for name, source in sources.items():
        assert source.layout == name
        assert source.layout in LAYOUTS
        assert all(url.startswith("https://") for url in source.urls)
        assert source.by_hand


def test_the_command(server, tmp_path, addresses):
    listed = addresses(server.gives("/a", Answer(content=SHAPES)))
    folder = str(tmp_path / "data")
    options = ["download", folder, "--addresses", listed, "--dataset"]
    unknown = CliRunner().invoke(main, [*options, "nothing"])
    assert unknown.exit_code == 2
    assert "no data set 'nothing' in the list of addresses; known are shapes." in unknown.output
    done = CliRunner().invoke(main, [*options, "shapes", "--sha256", sha256(SHAPES), "--unpack"])
    assert done.exit_code == 0, done.output
    assert f"sha256 {sha256(SHAPES)} (as expected)" in done.output
    assert f"next: {program()} convert {folder}/shapes OUTPUT" in done.output
