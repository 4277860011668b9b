"""How the newest TFX is tried on an older system, without making a tree."""

from __future__ import annotations

import subprocess

import pytest

from requirements import newest_on_debian12 as newest


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ((True, True, True), None),
        ((False, True, True), "only root"),
        ((True, False, True), "apt-get install debootstrap"),
        ((True, True, False), "unshare"),
    ],
)
def test_what_is_missing_is_the_reason_for_skipping(facts, expected):
    reason = newest.why_not(*facts)
    assert reason is None if expected is None else expected in reason


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n"], "mirror"),
        (["deb [arch=amd64] http://mirror.example/debian/ bookworm main\n"], "mirror"),
        (["# deb http://mirror.example/debian bookworm main\n"], None),
        (["deb http://mirror.example/debian-security bookworm-security main\n"], None),
        (["URIs: https://other.example/node\n", "URIs: http://mirror.example/debian\n"], "mirror"),
        ([], None),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(sources, expected):
    mirror = newest.debian_mirror(sources)
    assert mirror is None if expected is None else expected in mirror


def test_only_variables_that_mean_the_same_inside_go_there(tmp_path):
    inside = newest.variables_inside(
        {
            "PATH": "/outside/bin",
            "SSL_CERT_FILE": "/outside/certificates.pem",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "POINTNET_REAL_DATA": f"{tmp_path}/x/..",
        }
    )
    assert "SSL_CERT_FILE" not in inside
    assert "/outside/bin" not in inside["PATH"]
    assert inside["TF_CPP_MIN_LOG_LEVEL"] == "2"
    assert inside["POINTNET_REAL_DATA"] == str(tmp_path)
    assert inside["VIRTUAL_ENV"] == str(newest.VENV)


def test_it_skips_with_a_sentence_and_without_failing(monkeypatch, capsys):
    monkeypatch.delenv(newest.INSIDE, raising=False)
    monkeypatch.setattr(newest.environment, "glibc_version", lambda: (2, 36))
    monkeypatch.setattr(newest, "may_unshare", lambda: True)
    monkeypatch.setattr(newest.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(newest, "ensure_environment", lambda environ: pytest.fail("it installed"))
    assert newest.main([]) == 0
    output = capsys.readouterr().out
    assert output.startswith("skipped: ")
    assert "root" in output


def test_a_failed_debootstrap_is_told_and_leaves_no_tree_that_looks_whole(monkeypatch, tmp_path):
    monkeypatch.setattr(newest, "CACHE", tmp_path)
    tree = tmp_path / "tree"

    def broken(command, stdout, **_):
        stdout.write("E: no such archive\n")
        stdout.flush()
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(newest.subprocess, "run", broken)
    with pytest.raises(newest.EnvironmentProblem, match="no such archive"):
        newest.make_tree(tree, newest.PACKAGES)
    assert not (tree / "pointnet-tree").exists()
