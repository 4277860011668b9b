"""A run that cannot start is reported too, and what is stored has no secret."""

import json
import sys

import pytest
from click.testing import CliRunner

from pipeline.local_runner import CANNOT_START, main

SECRET = "T0SECRET"
PROGRAM = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"


@pytest.fixture
def run(tmp_path):
    """Runs with a config whose notification is a file; returns status, output and the message."""

    def run(config="", **options):
        message = tmp_path / "message.json"
        message.unlink(missing_ok=True)
        command = [sys.executable, "-c", PROGRAM, str(message), SECRET]
        file = tmp_path / "mine.yaml"
        file.write_text(f"notify: {{command: {json.dumps(command)}}}\n{config}")
        options = {"data": "", "out": str(tmp_path / "out"), **options}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        done = CliRunner().invoke(main, ["--config", str(file), *words])
        return done.exit_code, done.output, json.loads(message.read_text("utf-8"))

    return run


def test_a_missing_delivery_a_bad_folder_and_an_unreachable_job_server_are_reported(
    run, tmp_path, closed_port
):
    (tmp_path / "file").touch()
    server = f"{{job_endpoint: localhost:{closed_port}, environment_type: LOOPBACK}}"
    for config, options, fact in (
        ("", {"data": "/deliveries/monday"}, "/deliveries/monday"),
        ("", {}, "data"),
        ("demo_shapes: 9", {"out": str(tmp_path / "file" / "out")}, "file/out"),
        ("demo_shapes: 9", {"out": str(tmp_path / "o*t")}, "o*t"),
        (
            f"demo_shapes: 9\nbeam: {{runner: flink, flink: {server}}}",
            {},
            f"localhost:{closed_port}",
        ),
    ):
        status, output, message = run(config, **options)
        assert status == CANNOT_START and fact in output.replace("\n", "")
        assert message["event"] == "failed" and fact in message["reasons"][0]
        assert SECRET not in output


def test_what_is_printed_and_stored_has_no_arguments(run, tmp_path):
    # Twelve shapes of a category that is not one of the made-up ones: refused after the config.
    status, output, _ = run("demo_shapes: 9\ndata: {category: Boat}")
    stored = (tmp_path / "out" / "pipeline" / "config.yaml").read_text("utf-8")
    assert status == CANNOT_START
    for text in (output, stored):
        assert (
            sys.executable in text.replace("\n", "") and SECRET not in text and PROGRAM not in text
        )
