"""`make image` with builders that are made up: what it asks them for, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from deploy import build_image
from deploy.build_image import ImageProblem, Source
from requirements.environment import ROOT
from tests.programs import put_program

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLEAN = Source("0.1.0", COMMIT, [])

# Stands for Docker, Podman or Buildah: writes down what it is told, and answers what is asked.
BUILDER = """import json, os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, *words]) + "\\n")
if {broken!r} and words[0] in {broken!r}:
    print("first line", file=sys.stderr)
    sys.exit("cannot " + words[0])
if "--digestfile" in words:
    open(words[words.index("--digestfile") + 1], "w").write("sha256:ab")
if "{{{{.Size}}}}" in words:
    print("3400000000" if {name!r} == "docker" else "3.4 GB")
if any("RepoDigests" in word for word in words):
    print("elsewhere/pointnet-parts@sha256:cd\\nhost/path/pointnet-parts@sha256:ab")
"""


@pytest.fixture
def builders(tmp_path, monkeypatch):
    """Puts made-up builders on an otherwise empty PATH; gives what they were told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build_image, "look_at_source", lambda: CLEAN)
    for name in (*build_image.PASSED_ON, *build_image.CERTIFICATES, "GPU"):
        monkeypatch.delenv(name, raising=False)
    log = tmp_path / "log"
    log.write_text("")

    def make(*names, broken=()):
        for name in names:
            fill = {"log": str(log), "name": name, "broken": list(broken)}
            put_program(tmp_path / name, BUILDER.format(**fill))
        return lambda: [json.loads(line) for line in log.read_text().splitlines()]

    return make


def build_words(told):
    """The one build command."""
    (words,) = [words for words in told if "--tag" in words]
    return words


def test_the_first_builder_that_works_builds_the_dockerfile_in_this_folder(builders, capsys):
    told = builders("docker", "podman", "buildah")
    assert build_image.main([]) == 0
    words = build_words(told())
    assert words[:4] == ["docker", "buildx", "build", "--load"]
    assert words[-1] == str(ROOT)
    assert words[words.index("--file") + 1] == str(build_image.DOCKERFILE)
    assert words[words.index("--tag") + 1] == "pointnet-parts:0.1.0-0123456789ab"
    assert {"GPU=1", "VERSION=0.1.0", f"REVISION={COMMIT}"} <= set(words)
    assert "built pointnet-parts:0.1.0-0123456789ab, 3.40 GB" in capsys.readouterr().out


@pytest.mark.parametrize("builder", ["podman", "buildah"])
def test_other_builders_do_where_docker_has_no_daemon(builders, builder):
    builders("docker", broken=["version"])
    told = builders(builder)
    assert build_image.main([]) == 0
    assert build_words(told())[:2] == [builder, "build"]


def test_gpu_0_builds_without_cuda_and_says_so_in_the_name(builders, monkeypatch):
    told = builders("docker")
    monkeypatch.setenv("GPU", "0")
    assert build_image.main([]) == 0
    assert "GPU=0" in build_words(told())
    assert "pointnet-parts:0.1.0-0123456789ab-cpu" in build_words(told())


def test_without_a_builder_each_ones_reason_is_given(builders, capsys):
    builders("docker", broken=["version"])
    builders("podman", broken=["info"])
    assert build_image.main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: No image can be built here.")
    assert "docker: `docker version --format {{.Server.Version}}` fails: cannot version" in error
    assert "podman: `podman info` fails: cannot info" in error
    assert "buildah: not installed" in error


def test_docker_without_buildkit_is_not_taken(builders, capsys):
    builders("docker", broken=["buildx"])
    assert build_image.main([]) == 1
    assert "docker: `docker buildx version` fails" in capsys.readouterr().err


def test_a_failed_build_is_one_sentence(builders, capsys):
    builders("buildah", broken=["build"])
    assert build_image.main(["--push", "host/path"]) == 1
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: pointnet-parts:0.1.0-0123456789ab could not be built")


@pytest.mark.parametrize("builder", ["docker", "podman", "buildah"])
def test_a_push_names_the_image_by_its_digest(builders, builder, capsys):
    told = builders(builder)
    assert build_image.main(["--push", "host/path/"]) == 0
    name = "pointnet-parts:0.1.0-0123456789ab"
    assert [builder, "tag", name, f"host/path/{name}"] in told()
    (pushed,) = [words for words in told() if words[1] == "push"]
    assert pushed[-1] == f"host/path/{name}"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "pushed host/path/pointnet-parts@sha256:ab"


def test_a_refused_push_says_how_to_log_in(builders, capsys):
    builders("docker", broken=["push"])
    assert build_image.main(["--push", "europe-docker.pkg.dev/p/r"]) == 1
    assert "gcloud auth configure-docker europe-docker.pkg.dev" in capsys.readouterr().err


@pytest.mark.parametrize(
    "registry", ["https://host/path", "host/path:tag", "Host/Path", "host//path", "", "/", "a b"]
)
def test_what_is_no_registry_is_refused_before_anything_is_built(registry):
    with pytest.raises(ImageProblem, match="not a registry's host and path"):
        build_image.checked_registry(registry)


@pytest.mark.parametrize(
    "registry", ["docker.io/me", "localhost:5000", "127.0.0.1:5000/x", "ghcr.io/a-b/c_d"]
)
def test_registries_are_taken_as_the_builders_take_them(registry):
    assert build_image.checked_registry(registry + "/") == registry


def test_changed_files_are_refused_or_named():
    changed = Source("0.1.0", COMMIT, [f"model/{n}.py" for n in range(7)])
    with pytest.raises(ImageProblem, match=r"7 files differ .*model/0\.py, .*--allow-dirty"):
        changed.tag(gpu=True, allow_dirty=False)
    assert changed.tag(gpu=False, allow_dirty=True) == "0.1.0-0123456789ab-dirty-cpu"


def test_a_folder_without_git_is_refused_or_named():
    unknown = Source("0.1.0", "unknown", [])
    with pytest.raises(ImageProblem, match="no git checkout"):
        unknown.tag(gpu=True, allow_dirty=False)
    assert unknown.tag(gpu=True, allow_dirty=True) == "0.1.0-unknown"


def test_the_source_is_this_checkouts(tmp_path, monkeypatch):
    """In a small repository, so that what is being edited here does not matter."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(tmp_path)]
    (tmp_path / "setup.py").write_text('setup(\n    version="1.2.3",\n)\n')
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(build_image, "ROOT", tmp_path)
    clean = build_image.look_at_source()
    assert (clean.version, clean.changed) == ("1.2.3", [])
    assert len(clean.commit) == 40
    (tmp_path / "setup.py").write_text('setup(\n    version="1.2.4",\n)\n')
    (tmp_path / "new.py").write_text("")
    assert sorted(build_image.look_at_source().changed) == ["new.py", "setup.py"]


def test_a_network_of_ones_own_is_passed_on_without_its_addresses(builders, monkeypatch, tmp_path):
    told = builders("docker")
    certificates = tmp_path / "own.pem"
    certificates.write_text("")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@mirror.example/simple")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    assert build_image.main([]) == 0
    words = build_words(told())
    assert words[words.index("PIP_INDEX_URL") - 1] == "--build-arg"
    assert f"id=certificates,src={certificates}" in words
    assert not any("secret@" in word for word in words)
    assert "UV_DEFAULT_INDEX" not in words


def test_certificates_that_are_not_there_are_named(builders, monkeypatch, capsys):
    builders("docker")
    monkeypatch.setenv("PIP_CERT", "/nowhere/own.pem")
    assert build_image.main([]) == 1
    assert "/nowhere/own.pem" in capsys.readouterr().err


def test_the_program_runs_under_the_systems_python(tmp_path):
    said = subprocess.run(
        ["python3", "-m", "deploy.build_image", "--help"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert said.returncode == 0
    assert "--push" in said.stdout
