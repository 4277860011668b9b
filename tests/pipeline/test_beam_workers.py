import platform
import socket

import apache_beam
import pytest
from click.testing import CliRunner

from pipeline import local_runner
from pipeline.beam_workers import about_images, check_job_servers
from pipeline.cli import main
from schema.errors import UserError


def test_a_job_server_that_answers_is_all_right():
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_job_servers(["--runner=x", f"--job_endpoint=127.0.0.1:{server.getsockname()[1]}"])


def test_no_other_option_is_connected_to(closed_port):
    check_job_servers([f"--flink_master=127.0.0.1:{closed_port}"])


def test_one_that_does_not_answer_is_named(closed_port):
    with pytest.raises(UserError, match=rf"no job server answers at 127.0.0.1:{closed_port} "):
        check_job_servers([f"--job_endpoint=127.0.0.1:{closed_port}"])


@pytest.mark.parametrize("endpoint", ["localhost", "localhost:x", ":8099", ""])
def test_what_is_no_address_is_told_what_one_looks_like(endpoint):
    with pytest.raises(UserError, match=r"give host:port"):
        check_job_servers([f"--job_endpoint={endpoint}"])


def test_a_port_beyond_all_ports_is_no_traceback():
    with pytest.raises(UserError, match=r"no job server answers at 127\.0\.0\.1:70000"):
        check_job_servers(["--job_endpoint=127.0.0.1:70000"])


@pytest.fixture
def config_of_a_dead_job_server(closed_port, tmp_path):
    """A config whose Beam work goes to a job server that is not there."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "demo_shapes: 20\nbeam:\n  runner: flink\n  flink:\n"
        f"    job_endpoint: localhost:{closed_port}\n    environment_type: LOOPBACK\n"
    )
    return str(config)


def test_convert_says_so_before_it_looks_at_the_data(
    closed_port, config_of_a_dead_job_server, tmp_path
):
    words = ["convert", str(tmp_path / "none"), str(tmp_path / "data")]
    result = CliRunner().invoke(main, [*words, "--config", config_of_a_dead_job_server])
    assert result.exit_code == 2
    assert f"no job server answers at localhost:{closed_port}" in result.output


def test_a_run_says_so_before_anything_is_written(
    closed_port, config_of_a_dead_job_server, tmp_path
):
    words = ["--config", config_of_a_dead_job_server, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(local_runner.main, words)
    assert result.exit_code == local_runner.CANNOT_START
    assert f"no job server answers at localhost:{closed_port}" in result.output
    assert not (tmp_path / "out").exists()


def test_an_image_must_hold_what_is_here():
    note = about_images(["--sdk_container_image=example.org/image:1", "--runner=DataflowRunner"])
    python = ".".join(platform.python_version_tuple()[:2])
    assert "example.org/image:1" in note
    assert f"Beam {apache_beam.__version__} on Python {python}" in note


def test_without_an_image_nothing_is_said():
    assert about_images(["--runner=DirectRunner", "--environment_type=PROCESS"]) == ""
