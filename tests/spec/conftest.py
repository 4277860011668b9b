"""The pipeline compiled for Vertex AI and Kubeflow, as `make compile` compiles it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spec.compiled_spec import CompiledSpec, read

FILES = {"vertex": "vertex.json", "kubeflow": "kubeflow.yaml"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--execute-specs", action="store_true", help="execute the compiled pipelines")
    parser.addoption("--renew-golden", action="store_true", help="write tests/spec/golden anew")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files that `make compile` writes with its default config, by platform."""
    from pipeline.config import load_config
    from pipeline.specs import compile_specs

    folder = tmp_path_factory.mktemp("specs")
    written = list(compile_specs(load_config("cluster_example"), "", [], folder))
    assert [file.name for file in written] == list(FILES.values())
    return {platform: folder / name for platform, name in FILES.items()}


@pytest.fixture(scope="session")
def specs(compiled: dict[str, Path]) -> dict[str, CompiledSpec]:
    """The same, parsed; not to be changed."""
    return {platform: read(file) for platform, file in compiled.items()}


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes a line where a person sees it, also while pytest captures what tests print."""
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(line)

    return write
