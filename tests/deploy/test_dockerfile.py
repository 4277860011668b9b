"""What deploy/Dockerfile and .dockerignore say; test_image.py builds what they describe."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from requirements import environment, lock
from requirements.environment import NEWEST, ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.fixture(scope="module")
def instructions():
    """The Dockerfile's instructions, each on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def last_stage(instructions):
    """The instructions of the stage that becomes the image."""
    start = max(i for i, line in enumerate(instructions) if line.startswith("FROM "))
    return instructions[start:]


def hadolint(text):
    """The rules that a Dockerfile breaks, in hadolint's numbers."""
    words = [HADOLINT, "--no-color", "--failure-threshold", "style", "-"]
    said = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return set(re.findall(r"\b(?:DL|SC)\d{4}\b", said.stdout))


def test_hadolint_finds_nothing():
    assert hadolint(DOCKERFILE.read_text()) == set()


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("USER 1000:1000", "USER root", "DL3002"),
        (" --no-install-recommends", "", "DL3015"),
        ("rm -rf /var/lib/apt/lists/*", "true", "DL3009"),
        ('ENTRYPOINT ["/opt/apache/beam/boot"]', "ENTRYPOINT /opt/apache/beam/boot", "DL3025"),
        ("WORKDIR /home/pointnet", "WORKDIR home", "DL3000"),
    ],
)
def test_hadolint_would_find_it(good, bad, rule):
    text = DOCKERFILE.read_text()
    assert good in text
    assert rule in hadolint(text.replace(good, bad))


def test_every_stage_stands_on_the_base_that_is_pinned_by_digest(instructions):
    (base,) = [line for line in instructions if line.startswith("ARG BASE=")]
    assert re.fullmatch(
        r"ARG BASE=docker\.io/library/debian:13[\d.]*-slim@sha256:[0-9a-f]{64}", base
    )
    froms = [line.split() for line in instructions if line.startswith("FROM ")]
    stages = {words[3] for words in froms if len(words) == 4}
    assert {words[1] for words in froms} <= {"${BASE}", *stages}


def test_nothing_is_added_from_an_address_or_from_another_image(instructions):
    stages = set(re.findall(r" AS (\w+)", "\n".join(instructions)))
    for line in instructions:
        assert not line.startswith("ADD "), line
        assert not re.search(r"https?://|\b(curl|wget)\b", line), line
        if line.startswith("COPY --from="):
            assert line.split()[1].partition("=")[2] in stages, line


def test_python_packages_are_installed_by_their_hashes(instructions):
    commands = re.findall(r"pip install [^&;\n]*", "\n".join(instructions))
    assert len(commands) == 5
    own = [command for command in commands if "/opt/pointnet-parts" in command]
    assert len(own) == 1
    assert "--offline" in own[0]
    assert "--no-deps" in own[0]
    assert all("--require-hashes" in command for command in commands if command not in own)


def test_the_image_gets_the_locks_of_the_newest_stack(instructions):
    copied = set(re.findall(r"requirements/(\S+\.txt)", "\n".join(instructions)))
    locks = {NEWEST.image_lock, NEWEST.cuda_lock, environment.build_lock()}
    assert copied == {file.name for file in locks} | {"uv.txt"}
    packages = re.findall(r"lib/python(\d)\.(\d+)/site-packages", "\n".join(instructions))
    assert packages
    assert {tuple(map(int, release)) for release in packages} <= set(NEWEST.pythons)


def test_the_boot_program_has_the_version_of_the_locked_beam(instructions):
    (script,) = re.findall(r"sed -n '([^']+)'", "\n".join(instructions))
    found = subprocess.run(
        ["sed", "-n", script, NEWEST.image_lock], capture_output=True, text=True, check=True
    )
    (block,) = [
        b for b in lock.blocks(NEWEST.image_lock.read_text()) if lock.package(b) == "apache-beam"
    ]
    assert block.split()[0].partition("==")[2] == found.stdout.strip()


def test_an_ordinary_user_starts_beams_program_in_a_folder_of_its_own(instructions):
    stage = last_stage(instructions)
    assert stage[-2:] == ["USER 1000:1000", 'ENTRYPOINT ["/opt/apache/beam/boot"]']
    # Beam's program writes a file there.
    assert "WORKDIR /home/pointnet" in stage
    (users,) = [line for line in stage if "useradd --uid 1000 " in line]
    # OpenShift's users have any number, and the group 0.
    assert "chgrp 0 /home/pointnet" in users
    assert "chmod 0770 /home/pointnet" in users


def test_no_layer_of_the_image_holds_a_compiler_or_a_secret(instructions):
    stage = "\n".join(last_stage(instructions))
    assert not re.search(r"g\+\+|gcc|golang|-dev\b|build-essential", stage)
    assert "secret" not in stage
    assert not re.search(r"^(ARG|ENV) .*(TOKEN|PASSWORD|KEY)", stage, flags=re.MULTILINE)


def test_the_build_sees_the_rooms_and_the_locks_and_nothing_else(monkeypatch):
    seen = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in seen if line.startswith("!")}
    assert "*" in seen
    packed = {}
    monkeypatch.setattr("setuptools.setup", lambda **words: packed.update(words))
    monkeypatch.chdir(ROOT)
    rooms = set(runpy.run_path(str(ROOT / "setup.py"))["PACKAGES"])
    made_of = {"setup.py", "pyproject.toml", "LICENSE", "requirements/*.txt"}
    assert allowed == rooms | made_of
    assert "**/__pycache__" in seen
