"""What stands in the lock files, and what must not."""

from __future__ import annotations

import re

import pytest

from requirements import environment, lock

LOCKS = sorted(environment.REQUIREMENTS.glob("*.txt"))


def names(file):
    return {lock.package(block) for block in lock.blocks(file.read_text())}


def version(file, name):
    found = re.search(rf"^{re.escape(name)}==(\S+)", file.read_text(), flags=re.MULTILINE)
    assert found, f"{name} is not in {file.name}"
    return found.group(1)


def test_the_locks_are_all_there():
    stacks = [file for stack in environment.STACKS for file in environment.locks(stack, cuda=True)]
    alone = {environment.build_lock(), environment.REQUIREMENTS / "uv.txt"}
    assert set(LOCKS) == {*stacks, environment.NEWEST.image_lock, *alone}


@pytest.mark.parametrize("file", LOCKS, ids=lambda file: file.name)
def test_every_requirement_has_an_exact_version_and_hashes(file):
    blocks = lock.blocks(file.read_text())
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+ ", block), block.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]


@pytest.mark.parametrize("file", LOCKS, ids=lambda file: file.name)
def test_no_line_is_anything_but_a_requirement_a_hash_or_a_comment(file):
    for line in file.read_text().splitlines():
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==|    --hash=sha256:|\s*#", line), line


@pytest.mark.parametrize("file", LOCKS, ids=lambda file: file.name)
def test_no_lock_names_an_index_or_a_folder_of_somebodys_machine(file):
    assert not re.search(r"://|index|find-links|/home/|/root/|/tmp/", file.read_text())


@pytest.mark.parametrize("stack", environment.STACKS, ids=lambda stack: stack.tfx)
def test_a_stack_locks_its_own_tfx_and_all_that_both_share(stack):
    assert version(stack.lock, "tfx").startswith(stack.tfx)
    assert version(stack.lock, "keras").startswith("3.")
    assert version(stack.lock, "pydantic").startswith("2.")
    loose = {"kfp", "pip", "setuptools"}
    for source in ("pipeline.in", "development.in"):
        text = (environment.REQUIREMENTS / source).read_text()
        loose |= {m.lower() for m in re.findall(r"^([A-Za-z0-9-]+)", text, flags=re.MULTILINE)}
    assert loose <= names(stack.lock)


@pytest.mark.parametrize("stack", environment.STACKS, ids=lambda stack: stack.tfx)
def test_the_cuda_lock_holds_only_what_comes_on_top(stack):
    extra = names(stack.cuda_lock)
    assert extra
    assert all(name.startswith("nvidia-") for name in extra)
    assert not extra & names(stack.lock)


def test_the_image_holds_the_newest_stack_without_what_only_the_tests_need():
    stack = environment.NEWEST
    image = names(stack.image_lock)
    # The stack's lock may have two versions of a package, one for each Python.
    heads = [
        {block.split()[0] for block in lock.blocks(file.read_text())}
        for file in (stack.image_lock, stack.lock)
    ]
    assert heads[0] <= heads[1]
    assert {"tfx", "kfp", "apache-beam", "tensorflow-serving-api", "setuptools"} <= image
    left_out = {"pytest", "mypy", "ruff", "atheris", "jax", "openvino", "hypothesis", "zizmor"}
    assert left_out <= names(stack.lock) - image


@pytest.mark.parametrize("stack", environment.STACKS, ids=lambda stack: stack.tfx)
def test_the_setuptools_that_builds_is_the_one_that_stays(stack):
    for name in ("pip", "setuptools"):
        assert version(environment.build_lock(), name) == version(stack.lock, name)


def test_only_on_top_compares_by_name():
    base = "a==1 \\\n    --hash=sha256:00\nb==2 \\\n    --hash=sha256:11\n    # via a\n"
    full = base + "nvidia-x==3 ; sys_platform == 'linux' \\\n    --hash=sha256:22\n"
    assert lock.only_on_top(full, base) == full[len(base) :]
