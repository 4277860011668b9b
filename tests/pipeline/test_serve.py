"""`pointnet-parts serve` and `labels`: what they decide, and what they say is missing.

The `docker` and `tensorflow_model_server` on PATH here are fakes, short programs that note how they
were called and answer for the model's status as the real server does. Neither the real server nor a
Docker daemon took part.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from click.testing import CliRunner

from deploy.flink.free_ports import free_ports
from pipeline import serve as serving
from pipeline.cli import main
from requirements.environment import ROOT
from serving.exported_model import ExportedModel
from serving.model_config import read_config
from tests.model.export.made_network import ROCKET, cloud
from tests.pipeline.test_segment import exported
from tests.programs import put_program

PARTS = {"categories": [{"name": "Rocket", "directory": "r", "parts": ["body", "fin"]}]}
# What both fakes become: a server that tells the status, of VERSION in STATE, and nothing else.
STATUS_SERVER = """
import http.server, json, os, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = {"version": "9", "state": os.environ.get("FAKE_STATE", "AVAILABLE"),
                  "status": {"error_message": "no such luck"}}
        known = self.path == "/v1/models/pointnet_parts"
        content = json.dumps({"model_version_status": [status]} if known else {"error": "no"})
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(content.encode())
        if "FAKE_ONCE" in os.environ:
            threading.Timer(0.2, os._exit, [0]).start()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
FAKE_DOCKER = """# A fake of docker with its compose plugin.
import json, os, pathlib, socket, subprocess, sys, time
notes = pathlib.Path({notes!r})
words = sys.argv[1:]
with notes.open("a") as file:
    kept = {{k: v for k, v in os.environ.items() if k.startswith("SERVING_")}}
    file.write(json.dumps([words, kept]) + "\\n")
fails = os.environ.get("FAKE_FAILS", "")
if fails and fails in words:
    sys.exit(f"the fake was told to fail at {{fails}}")
pids = notes.with_name("pids")
if "up" in words and fails != "start":
    port = os.environ["SERVING_REST_PORT"]
    started = subprocess.Popen([sys.executable, "-c", {server!r}, port])
    pids.write_text(str(started.pid))
    while socket.socket().connect_ex(("127.0.0.1", int(port))):
        time.sleep(0.02)
if "ps" in words and pids.exists():
    print("a container")
if "logs" in words:
    print("the server's last words")
"""
FAKE_BINARY = """# A fake of tensorflow_model_server; ends by itself once it was asked.
import json, os, pathlib, sys
os.environ["FAKE_ONCE"] = ""
words = sys.argv[1:]
pathlib.Path({notes!r}).write_text(json.dumps([words, {{}}]) + "\\n")
port = next(w.split("=")[1] for w in words if w.startswith("--rest_api_port="))
sys.argv = ["", port]
exec({server!r})
"""
# The double of TensorFlow Serving as the binary: it reads the very files that serve has written.
DOUBLE = """import pathlib, signal, sys
sys.path.insert(0, {root!r})
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from tests.serving.loopback.batching import BatchingSettings
from tests.serving.loopback_server import LoopbackServer
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
text = pathlib.Path(flags["model_config_file"]).read_text()
listed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
batching = pathlib.Path(flags["batching_parameters_file"]).read_text()
with LoopbackServer(
    config=listed.model_config_list.config[0],
    batching=BatchingSettings.from_text(batching),
    grpc_port=int(flags["port"]),
    rest_port=int(flags["rest_api_port"]),
):
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
"""


@pytest.fixture
def out(tmp_path):
    """A run's folder with a pushed model, of which only what serve looks at is there."""
    for version in ("8", "9"):
        folder = tmp_path / "out" / "serving_model" / "pointnet_parts" / version
        (folder / "assets").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
        (folder / "assets" / "parts.json").write_text(json.dumps(PARTS))
    return tmp_path / "out"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only folder on PATH, empty, and the ends of what fakes have started."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    yield folder
    pids = tmp_path / "pids"
    if pids.exists():
        with suppress(ProcessLookupError):
            os.kill(int(pids.read_text()), 9)


def put(path, name, source):
    notes = path.parent / "notes"
    put_program(path / name, source.format(notes=str(notes), server=STATUS_SERVER))
    return lambda: [json.loads(line) for line in notes.read_text().splitlines()]


def ports_of_ones_own():
    grpc, rest = free_ports(2)
    return ["--grpc-port", str(grpc), "--rest-port", str(rest)]


def serve(out, *options, wait="30"):
    options = [*ports_of_ones_own(), *map(str, options)]
    words = ["serve", "--out", str(out), "--wait", wait, *options]
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def test_without_docker_it_says_what_to_install_and_how_to_do_without(out, path):
    status, said = serve(out)
    assert status == 2 and "neither tensorflow_model_server nor docker is on PATH" in said
    assert "--model" in said


def test_without_a_daemon_it_says_how_to_start_it(out, path, monkeypatch):
    put(path, "docker", FAKE_DOCKER)
    monkeypatch.setenv("FAKE_FAILS", "info")
    status, said = serve(out)
    assert status == 2 and "its daemon does not answer (the fake was told to fail at info)" in said
    assert "systemctl start docker" in said


def test_without_the_compose_plugin_it_says_so(out, path, monkeypatch):
    put(path, "docker", FAKE_DOCKER)
    monkeypatch.setenv("FAKE_FAILS", "version")
    status, said = serve(out)
    assert status == 2 and "docker has no compose plugin" in said


@pytest.mark.parametrize("pushed", [(), ("empty",), ("withdrawn",)])
def test_without_a_pushed_model_it_says_what_pushes_one(pushed, tmp_path, path):
    put(path, "docker", FAKE_DOCKER)
    if "empty" in pushed:
        (tmp_path / "serving_model" / "pointnet_parts" / "3").mkdir(parents=True)
    if "withdrawn" in pushed:
        taken = tmp_path / "serving_model" / "pointnet_parts" / "withdrawn-3"
        taken.mkdir(parents=True)
        (taken / "saved_model.pb").write_bytes(b"")
    status, said = serve(tmp_path)
    assert status == 2 and "no model was pushed there yet" in said and "make run" in said


@pytest.mark.parametrize("option", ["--grpc-port", "--rest-port"])
@pytest.mark.parametrize("fake", ["docker", serving.BINARY])
def test_a_port_that_somebody_has_is_said(option, fake, out, path):
    put(path, fake, FAKE_DOCKER if fake == "docker" else FAKE_BINARY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = serve(out, option, port)
    assert status == 2 and f"port {port} cannot be had on this machine" in said
    assert f"serve {option}" in said


def test_docker_starts_the_compose_file_on_what_was_pushed(out, path):
    notes = put(path, "docker", FAKE_DOCKER)
    status, said = serve(out)
    assert status == 0, said
    words, given = next(call for call in notes() if "up" in call[0])
    assert words[:2] == ["compose", "--file"] and words[2].endswith("compose.yaml")
    assert words[3:] == ["up", "--detach"]
    assert given["SERVING_MODELS"] == str(out / "serving_model")
    assert given["SERVING_CONFIG"] == str(out / "serving_config")
    assert given["SERVING_NAME"] == "pointnet_parts"
    assert not given["SERVING_USER"].startswith("0:")
    files = {file.name for file in (out / "serving_config").iterdir()}
    assert files == {"models.pbtxt", "batching.pbtxt", "monitoring.pbtxt"}
    (model,) = read_config(out / "serving_config" / "models.pbtxt").model_config_list.config
    assert model.base_path == "/models/pointnet_parts"
    assert "pointnet_parts: newest version 9" in said
    parts = out / "serving_model" / "pointnet_parts" / "9" / "assets" / "parts.json"
    grpc, rest = given["SERVING_GRPC_PORT"], given["SERVING_REST_PORT"]
    assert f"segment CLOUD --server localhost:{grpc} --parts {parts}" in said
    assert f"segment CLOUD --server localhost:{rest} --rest --parts {parts}" in said
    assert f"http://127.0.0.1:{rest}/monitoring/prometheus/metrics" in said
    assert "docker compose --project-name pointnet-serving down" in said


def test_with_a_gpu_both_compose_files_are_used(out, path):
    notes = put(path, "docker", FAKE_DOCKER)
    status, said = serve(out, "--gpu")
    assert status == 0, said
    words = next(words for words, _ in notes() if "up" in words)
    assert [word.rsplit("/", 1)[-1] for word in words if word.endswith(".yaml")] == [
        "compose.yaml",
        "compose.gpu.yaml",
    ]


def test_it_may_be_asked_again_while_its_own_server_has_the_ports(out, path):
    put(path, "docker", FAKE_DOCKER)
    ports = ports_of_ones_own()
    assert serve(out, *ports)[0] == 0
    first = int((path.parent / "pids").read_text())
    try:
        assert serve(out, *ports)[0] == 0
    finally:
        os.kill(first, 9)


def test_a_model_that_does_not_load_is_said_with_the_servers_words(out, path, monkeypatch):
    put(path, "docker", FAKE_DOCKER)
    monkeypatch.setenv("FAKE_STATE", "LOADING")
    status, said = serve(out, wait="1.5")
    assert status == 2
    assert "pointnet_parts is not available after 1.5 s (version 9: LOADING, no such luck)" in said
    assert "the server's last words" in said


def test_a_compose_that_fails_is_said(out, path, monkeypatch):
    put(path, "docker", FAKE_DOCKER)
    monkeypatch.setenv("FAKE_FAILS", "up")
    status, said = serve(out)
    assert status == 2 and "`docker compose up` ended with 1" in said


def test_a_server_that_ends_at_once_is_said(out, path, monkeypatch):
    put(path, "docker", FAKE_DOCKER)
    monkeypatch.setenv("FAKE_FAILS", "start")
    status, said = serve(out)
    assert status == 2 and "the server ended before it served" in said


def test_what_a_person_changed_in_the_config_stays(out, path):
    put(path, "docker", FAKE_DOCKER)
    folder = out / "serving_config"
    folder.mkdir()
    (folder / "batching.pbtxt").write_text("max_batch_size { value: 3 }\n")
    labels = ["labels", str(out / "serving_model" / "pointnet_parts"), "--stable", "8"]
    assert CliRunner().invoke(main, labels).exit_code == 0
    assert serve(out)[0] == 0
    assert (folder / "batching.pbtxt").read_text() == "max_batch_size { value: 3 }\n"
    (model,) = read_config(folder / "models.pbtxt").model_config_list.config
    assert dict(model.version_labels) == {"stable": 8}


def test_a_config_that_wants_a_version_which_is_gone_is_said(out, path):
    put(path, "docker", FAKE_DOCKER)
    base = out / "serving_model" / "pointnet_parts"
    assert CliRunner().invoke(main, ["labels", str(base), "--stable", "8"]).exit_code == 0
    (base / "8").rename(base / "elsewhere")
    status, said = serve(out)
    assert status == 2 and "it wants version 8 of pointnet_parts, which is not in" in said
    assert "pointnet-parts labels" in said


def test_a_config_that_names_another_model_is_said(out, path):
    put(path, "docker", FAKE_DOCKER)
    (out / "serving_config").mkdir()
    text = 'model_config_list { config { name: "chairs" base_path: "/models/chairs" } }'
    (out / "serving_config" / "models.pbtxt").write_text(text)
    status, said = serve(out)
    assert status == 2 and "it names the model chairs, of which nothing is pushed" in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts the server as somebody else")
def test_what_root_alone_can_read_is_said(out, path):
    put(path, "docker", FAKE_DOCKER)
    (out / "serving_model" / "pointnet_parts" / "9" / "saved_model.pb").chmod(0o600)
    status, said = serve(out)
    assert status == 2 and "root alone can read it" in said and "chmod -R a+rX" in said


def test_the_servers_own_binary_goes_before_docker_with_the_same_flags(out, path):
    put(path, "docker", "raise SystemExit(1)")
    notes = put(path, serving.BINARY, FAKE_BINARY)
    status, said = serve(out)
    assert status == 0, said
    ((words, _),) = notes()
    flags = dict(word[2:].split("=", 1) for word in words)
    config = out / "serving_config"
    assert flags["model_config_file"] == str(config / "models.pbtxt")
    assert flags["batching_parameters_file"] == str(config / "batching.pbtxt")
    assert flags["enable_batching"] == "true"
    assert f"localhost:{flags['port']}" in said and f"localhost:{flags['rest_api_port']}" in said
    (model,) = read_config(config / "models.pbtxt").model_config_list.config
    assert model.base_path == str(out / "serving_model" / "pointnet_parts")


def test_a_binary_that_ends_at_once_is_said(out, path):
    put(path, serving.BINARY, "raise SystemExit(1)")
    status, said = serve(out)
    assert status == 2 and "the server ended before it served" in said


def test_a_folder_of_models_in_place_of_the_runs_is_recognised(out, path):
    for inner in (out / "serving_model", out / "serving_model" / "pointnet_parts"):
        status, said = serve(inner)
        assert status == 2 and f"give the folder of the run, {out}, with OUT=..." in said


def test_make_serve_is_this_command_which_does_without_tensorflow(path):
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.split("\nserve:")[1].splitlines()[1].strip()
    assert recipe == '@$(IN_ENVIRONMENT) python -m pipeline.cli serve --out "$(OUT)"'
    words = [sys.executable, "-X", "importtime", "-m", "pipeline.cli", "serve", "--out", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2 and "no model was pushed there yet" in done.stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "pipeline.serve" in imported and not imported & {"tensorflow", "tfx", "apache_beam"}


def labels(out, *options):
    base = str(out / "serving_model" / "pointnet_parts")
    done = CliRunner().invoke(main, ["labels", base, *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def test_labels_says_who_gets_which_version(out):
    status, said = labels(out, "--stable", "8", "--canary", "9")
    assert status == 0
    assert "stable is version 8" in said and "canary is version 9" in said
    assert "loaded: 8, 9" in said and "who asks for no label gets the largest of them: 9" in said
    (model,) = read_config(out / "serving_config" / "models.pbtxt").model_config_list.config
    assert dict(model.version_labels) == {"stable": 8, "canary": 9}


def test_labels_refuses_what_the_server_would(out):
    assert labels(out, "--stable", "7")[1].endswith("no version 7; found 8, 9. Give one of them.\n")
    assert labels(out, "--stable", "8")[0] == 0
    status, said = labels(out, "--stable", "9")
    assert status == 2 and "cannot move to 9, which the server has not loaded" in said
    assert labels(out)[1].endswith("the newest version is served, without labels\n")


def test_labels_wants_a_folder_of_versions_and_a_place_to_write(out):
    nowhere = CliRunner().invoke(main, ["labels", str(out), "--stable", "8"])
    assert nowhere.exit_code == 2 and "no numbered version of a model" in nowhere.output
    (out / "taken").touch()
    status, said = labels(out, "--stable", "8", "--output", str(out / "taken" / "models.pbtxt"))
    assert status == 2 and f"there is no folder {out}/taken to write it to" in said
    status, said = labels(out, "--stable", "8", "--output", str(out / "no" / "models.pbtxt"))
    assert status == 2 and f"there is no folder {out}/no to write it to" in said
    assert not (out / "no").exists()
    (out / "models.pbtxt").mkdir()
    status, said = labels(out, "--stable", "8", "--output", str(out / "models.pbtxt"))
    assert status == 2 and "models.pbtxt: it cannot be read" in said


def test_labels_says_what_a_version_is(out):
    for no_version in ("abc", "0", "-1", "²"):
        status, said = labels(out, "--stable", no_version)
        assert status == 2 and f"{no_version!r} is no version; a version is a number" in said


def test_a_label_leaves_a_version_that_is_gone_by_the_commands_that_it_is_told(out):
    base = out / "serving_model" / "pointnet_parts"
    assert labels(out, "--stable", "9")[0] == 0
    (base / "9").rename(base / "elsewhere")
    status, said = labels(out, "--stable", "8")
    assert status == 2 and "stable is 9, which is no longer there, and cannot move to 8" in said
    commands = re.findall(r"`pointnet-parts (.*?)`", said)
    assert commands == [f"labels {base} --also 8", f"labels {base} --stable 8"]
    for command in commands:
        assert CliRunner().invoke(main, command.split()).exit_code == 0
    (model,) = read_config(out / "serving_config" / "models.pbtxt").model_config_list.config
    assert dict(model.version_labels) == {"stable": 8}


def test_a_folder_that_cannot_be_written_is_said(out, path):
    put(path, "docker", FAKE_DOCKER)
    (out / "serving_config").touch()
    status, said = serve(out)
    assert status == 2 and "serving_config: it cannot be written" in said


@pytest.mark.slow
def test_what_serve_writes_and_prints_works_with_the_double_of_the_server(tmp_path, path):
    out = tmp_path / "out"
    model = out / "serving_model" / "pointnet_parts" / "9"
    exported((ROCKET,), model)
    put_program(path / serving.BINARY, DOUBLE.format(root=str(ROOT)))
    options = [*ports_of_ones_own(), "--wait", "600"]
    words = [sys.executable, "-m", "pipeline.cli", "serve", "--out", str(out), *options]
    server = subprocess.Popen(
        words, cwd=ROOT, text=True, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        said = []
        while not said or not said[-1].startswith("stop"):
            said.append(server.stdout.readline())
            assert said[-1], said
        asking = [line for line in said if " segment CLOUD " in line]
        np.save(tmp_path / "plane.npy", cloud(30))
        for number, line in enumerate(asking):
            words = line.split(" segment CLOUD ")[1].split()
            words += ["--format", "npz", "--output", str(tmp_path / f"answer{number}")]
            done = CliRunner().invoke(main, ["segment", str(tmp_path / "plane.npy"), *words])
            assert done.exit_code == 0, done.output
            found = np.load(tmp_path / f"answer{number}" / "plane.npz")
            ((part, _),) = ExportedModel(model).segment([cloud(30)], None)
            np.testing.assert_array_equal(found["part"], part)
            assert found["part_names"].tolist() == list(ROCKET.parts)
        assert len(asking) == 2
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            server.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            raise
    assert server.returncode == 0
