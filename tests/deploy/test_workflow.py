"""The public CI's workflow: read-only, pinned, both stacks, and make's own targets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from requirements.environment import NEWEST, ROOT, STACKS, Python, choose_stack

WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"

# The hosted systems: their C library and their own Python.
SYSTEMS = {"ubuntu-24.04": ((2, 39), (3, 12, 3)), "ubuntu-22.04": ((2, 35), (3, 10, 12))}


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load(WORKFLOW.read_text())


def commands(job):
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_each_stack_is_tested_on_a_system_that_picks_it_by_itself(workflow):
    rows = workflow["jobs"]["stack"]["strategy"]["matrix"]["include"]
    assert {row["tfx"] for row in rows} == {stack.tfx for stack in STACKS}
    for row in rows:
        glibc, version = SYSTEMS[row["system"]]
        python = Python("/usr/bin/python3", version, prefix="/usr")
        assert choose_stack("Linux", "x86_64", glibc, [python]).stack.tfx == row["tfx"]


def test_it_runs_what_a_developer_types(workflow):
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = workflow["jobs"]
    assert "make lint test\n" in commands(jobs["stack"]) + "\n"
    for job in jobs.values():
        for line in re.findall(r"^\s*make ([^|\n]+)", commands(job), re.MULTILINE):
            assert {word for word in line.split() if "=" not in word} <= targets


def test_actions_are_pinned_by_commit_and_may_only_read(workflow):
    uses = [
        step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert uses
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", use) for use in uses)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_the_package_cache_follows_the_lock_files(workflow):
    (cache,) = [
        step["with"]
        for step in workflow["jobs"]["stack"]["steps"]
        if "actions/cache" in step.get("uses", "")
    ]
    assert "hashFiles('requirements/*.txt')" in cache["key"]
    assert NEWEST.lock.match("requirements/*.txt")


def test_zizmor_finds_nothing_in_it():
    zizmor = Path(sys.executable).with_name("zizmor")
    words = [zizmor, "--offline", "--no-progress", ROOT / ".github"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
