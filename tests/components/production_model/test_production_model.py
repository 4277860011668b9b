"""The newest pushed version as a Model artifact; before the first push an empty one."""

import pytest
from tfx.types import standard_artifacts

from components.production_model.executor import Executor


@pytest.fixture
def found(tmp_path):
    """What it gives out, given the serving folder's versions and their content."""

    def find(versions):
        for name, content in versions.items():
            (tmp_path / "serving" / name).mkdir(parents=True)
            (tmp_path / "serving" / name / "saved_model.pb").write_text(content)
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / "model")
        Executor().Do({}, {"model": [model]}, {"serving": str(tmp_path / "serving")})
        return tmp_path / "model" / "Format-Serving" / "saved_model.pb"

    return find


def test_it_is_the_version_that_a_server_takes(found):
    pushed = {"9": "older", "10": "newest", "withdrawn-11": "taken back", ".partial-12": "cut off"}
    assert found(pushed).read_text() == "newest"


def test_before_the_first_push_there_is_none(found):
    assert not found({}).exists()
