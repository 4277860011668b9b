"""Building Beam's job server for Flink: what is said where it cannot be, and what is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.flink import job_server


def test_what_is_missing_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(job_server, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(job_server.CannotBuild, match=r"java and mvn not found.*openjdk-17"):
        job_server.job_server_jar()


@pytest.fixture
def maven(tmp_path, monkeypatch):
    """Stands in for Maven and Java: it writes a jar, and counts how often."""
    monkeypatch.setattr(job_server, "CACHE", tmp_path / "cache")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "java").write_text("")
    (tools / "mvn").write_text(
        f"#!/bin/sh\necho ran >> {tmp_path}/runs\nmkdir target\n"
        f"[ ! -e {tmp_path}/broken ] || {{ echo no such artifact; exit 1; }}\n"
        "echo jar > target/flink-job-server-1.jar\n"
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return tmp_path


def test_the_jar_is_built_once_for_each_pom(maven, monkeypatch):
    jar = job_server.job_server_jar()
    assert jar.read_text() == "jar\n"
    assert job_server.job_server_jar() == jar
    assert (maven / "runs").read_text() == "ran\n"
    changed = maven / "changed"
    changed.mkdir()
    (changed / "pom.xml").write_text("<project/>")
    monkeypatch.setattr(job_server, "HERE", changed)
    assert job_server.job_server_jar() != jar


def test_a_failed_build_leaves_nothing_and_says_what_maven_said(maven, capsys):
    (maven / "broken").touch()
    assert job_server.main() == 1
    assert "no such artifact" in capsys.readouterr().err
    assert list((maven / "cache").iterdir()) == []
    (maven / "broken").unlink()
    assert job_server.main() == 0
    assert capsys.readouterr().out.strip().endswith(".jar")


def test_the_worker_is_a_program_of_its_own():
    worker = job_server.HERE / "beam_worker.py"
    assert worker.stat().st_mode & 0o111 == 0o111
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [worker, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert "--provision_endpoint" in done.stdout, done.stderr
