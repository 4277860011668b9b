"""What matters in the compiled specs is what is kept in golden/, until somebody means to change it.

`make test-spec TESTS=--renew-golden` writes them anew; look at the difference before you commit it.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest
import yaml

from tests.spec.meaningful_parts import meaningful_parts

GOLDEN = Path(__file__).with_name("golden")


def as_text(spec) -> str:
    return yaml.safe_dump(meaningful_parts(spec), sort_keys=False, width=100)


def difference(kept: str, found: str, name: str) -> str:
    """What changed, as lines of a unified diff."""
    return "\n".join(
        difflib.unified_diff(
            kept.splitlines(), found.splitlines(), f"kept {name}", f"compiled {name}", lineterm=""
        )
    )


@pytest.mark.parametrize("platform", ["vertex", "kubeflow"])
def test_what_matters_in_the_spec_is_unchanged(specs, platform, request):
    file = GOLDEN / f"{platform}.yaml"
    found = as_text(specs[platform])
    if request.config.getoption("--renew-golden", default=False):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, "utf-8")
    changed = difference(file.read_text("utf-8"), found, file.name)
    if changed:
        pytest.fail(
            f"{changed}\n\nIf this is meant: make test-spec TESTS=--renew-golden", pytrace=False
        )


def test_a_change_is_shown_in_its_place(specs):
    changed = specs["kubeflow"].copy()
    changed.pipeline.root.dag.tasks["Pusher"].dependent_tasks.remove("Evaluator")
    changed.deployment.executors["Trainer_executor"].container.resources.memory_limit = 8
    lines = difference(as_text(specs["kubeflow"]), as_text(changed), "kubeflow.yaml").splitlines()
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        "-    - Evaluator",
        "-      memoryLimit: 25.769803776",
        "+      memoryLimit: 8.0",
    ]


def test_a_change_of_our_code_alone_changes_nothing(specs):
    other = specs["vertex"].copy()
    text, hashes = re.subn(r"\b[0-9a-f]{16}\b", "0" * 16, other.submitted["eval_config"])
    assert hashes == 1
    other.submitted["eval_config"] = text
    assert as_text(other) == as_text(specs["vertex"])
