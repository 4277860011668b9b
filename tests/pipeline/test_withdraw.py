"""`pointnet-parts withdraw`: a server is never left without what its config names."""

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from requirements.environment import ROOT


@pytest.fixture
def base(tmp_path):
    """A serving folder with versions 7, 8 and 9, as a run leaves it."""
    folder = tmp_path / "out" / "serving_model" / "planes"
    for version in ("7", "8", "9"):
        (folder / version).mkdir(parents=True)
    return folder


def run(*words):
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def test_the_newest_is_taken_back_where_nothing_names_it(base):
    assert run("withdraw", base) == (0, "version 9 is taken back; 8 serves\n")
    assert run("withdraw", base, "--version", "7") == (0, "version 7 is taken back; 8 serves\n")
    status, said = run("withdraw", base)
    assert status == 2 and "8 is the only version" in said
    assert sorted(os.listdir(base)) == ["8", "withdrawn-7", "withdrawn-9"]


def test_a_config_that_serves_the_newest_names_no_version(base):
    assert run("labels", base, "--stable", "8")[0] == 0
    assert run("labels", base)[0] == 0
    assert run("withdraw", base) == (0, "version 9 is taken back; 8 serves\n")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # A label moves only to a version that the server has loaded.
        ("--stable 9", ["--stable 9 --also 8", "--stable 8"]),
        ("--stable 9 --also 7", ["--stable 7"]),
        ("--stable 9 --canary 8", ["--stable 8"]),
        ("--canary 9 --also 8", ["--also 8"]),
        ("--stable 8 --canary 9", ["--stable 8"]),
        ("--canary 9", ["--also 8"]),
        ("--also 9", ["--also 8"]),
        ("--stable 8 --also 9", ["--stable 8"]),
    ],
)
def test_what_the_config_names_is_kept_until_the_commands_that_it_tells_were_run(
    base, labels, expected
):
    assert run("labels", base, *labels.split())[0] == 0
    status, said = run("withdraw", base)
    assert status == 2 and "serving_config/models.pbtxt: it names version 9, by its l" in said
    assert sorted(os.listdir(base)) == ["7", "8", "9"]
    commands = re.findall(r"`pointnet-parts (.*?)`", said)
    kept = " --canary 8" if labels.endswith("--canary 8") else ""
    assert commands == [f"labels {base} {options}{kept}" for options in expected]
    for command in commands:
        assert run("withdraw", base)[0] == 2
        assert run(*command.split())[0] == 0
    status, said = run("withdraw", base)
    assert status == 0 and re.search(r"back; [78] serves, as before$", said)


def test_stable_does_not_move_to_the_canary(base):
    assert run("labels", base, "--stable", "8", "--canary", "9")[0] == 0
    _, said = run("withdraw", base, "--version", "8")
    commands = re.findall(r"`pointnet-parts labels \S+ (.*?)`", said)
    assert commands == ["--stable 8 --canary 9 --also 7", "--stable 7 --canary 9"]


def test_it_says_8_serves_only_where_the_server_has_8(base):
    assert run("labels", base, "--stable", "7")[0] == 0
    assert run("withdraw", base) == (0, "version 9 is taken back; 7 serves, as before\n")
    for version in ("7", "8", "6"):
        (base / version).mkdir(exist_ok=True)
    (base / "7").rename(base / "elsewhere")
    status, said = run("withdraw", base, "--version", "8")
    assert status == 0 and "none serves, since" in said and "wants only 7" in said
    assert f"`pointnet-parts labels {base}` has the newest served" in said


def test_the_config_may_be_elsewhere(base, tmp_path):
    file = tmp_path / "models.pbtxt"
    assert run("labels", base, "--stable", "9", "--output", file)[0] == 0
    status, said = run("withdraw", base, "--output", file)
    assert status == 2 and f"`pointnet-parts labels {base} --output {file} --stable 8`" in said
    status, said = run("withdraw", base, "--output", tmp_path / "no.pbtxt")
    assert status == 2 and "no.pbtxt: there is no such model config" in said
    file.write_text("{")
    assert run("withdraw", base, "--output", file)[0] == 2
    assert sorted(os.listdir(base)) == ["7", "8", "9"]


def test_the_config_is_found_from_within_the_folder(base, monkeypatch):
    assert run("labels", base, "--stable", "9")[0] == 0
    monkeypatch.chdir(base)
    assert run("withdraw", ".")[0] == 2
    monkeypatch.chdir(base.parent)
    assert run("withdraw", "planes/")[0] == 2


def test_withdraw_and_labels_say_alike_which_folder_they_want(tmp_path):
    said = {run(name, tmp_path / "nowhere") for name in ("withdraw", "labels")}
    ((status, sentence),) = said
    assert status == 2 and "OUT/serving_model/<name>" in sentence


def test_neither_tensorflow_nor_tfx_is_imported(base):
    program = (
        "import sys\n"
        "from pipeline.cli import main\n"
        f"main(['labels', {str(base)!r}, '--stable', '8'], standalone_mode=False)\n"
        f"main(['withdraw', {str(base)!r}], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'tfx', 'apache_beam'}\n"
        "print('imported:', *{name.split('.')[0] for name in sys.modules} & heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "imported:"
