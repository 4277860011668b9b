"""The choice of the environment, with systems, Pythons and drivers that are made up."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from requirements import environment
from requirements.environment import (
    NEWEST,
    OLDER,
    ROOT,
    Choice,
    EnvironmentProblem,
    Gpu,
    Python,
    choose_stack,
    find_pythons,
    gpu_from_answer,
    missing_pieces,
    nvidia_gpu,
)

PYTHON_310 = Python("/opt/a/bin/python3.10", (3, 10, 13))
PYTHON_311 = Python("/usr/bin/python3", (3, 11, 2), prefix="/usr")
PYTHON_312 = Python("/usr/bin/python3.12", (3, 12, 3), prefix="/usr")
PYTHON_313 = Python("/usr/bin/python3.13", (3, 13, 5), prefix="/usr")
PYTHON_314 = Python("/opt/b/bin/python3", (3, 14, 0))

DEBIAN_12 = ("Linux", "x86_64", (2, 36))
UBUNTU_24 = ("Linux", "x86_64", (2, 39))
DEBIAN_13 = ("Linux", "x86_64", (2, 41))


def program(folder: Path, name: str, script: str) -> Path:
    """Writes an executable shell script."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.mark.parametrize(
    ("machine", "pythons", "stack", "python"),
    [
        (DEBIAN_12, [PYTHON_311, PYTHON_310], OLDER, PYTHON_310),
        (DEBIAN_12, [PYTHON_311, PYTHON_312, PYTHON_310], OLDER, PYTHON_310),
        (UBUNTU_24, [PYTHON_312], NEWEST, PYTHON_312),
        (DEBIAN_13, [PYTHON_313], NEWEST, PYTHON_313),
        # The user's own python3 before one that would have to be found.
        (DEBIAN_13, [PYTHON_313, PYTHON_312], NEWEST, PYTHON_313),
        (DEBIAN_13, [PYTHON_311, PYTHON_313, PYTHON_312], NEWEST, PYTHON_312),
        # A newer system without a newer Python can still run the older stack.
        (UBUNTU_24, [PYTHON_311, PYTHON_310], OLDER, PYTHON_310),
    ],
)
def test_each_system_gets_its_stack(machine, pythons, stack, python):
    choice = choose_stack(*machine, pythons)
    assert (choice.stack, choice.python) == (stack, python)


@pytest.mark.parametrize(
    ("machine", "release"), [(DEBIAN_12, (3, 10)), (UBUNTU_24, (3, 12)), (DEBIAN_13, (3, 12))]
)
def test_uv_fetches_a_python_where_none_fits(machine, release):
    choice = choose_stack(*machine, [PYTHON_311, PYTHON_314])
    assert (choice.python, choice.release) == (None, release)
    assert "uv will fetch" in str(choice)


def test_a_python_with_headers_is_preferred():
    bare = Python("/usr/bin/python3", (3, 12, 3), prefix="/usr", headers=False)
    assert choose_stack(*UBUNTU_24, [bare, PYTHON_313]).python == PYTHON_313


def test_a_python_without_the_global_lock_is_passed_over():
    free = Python("/usr/bin/python3.13t", (3, 13, 5), usable=False)
    assert choose_stack(*DEBIAN_13, [free]).python is None


@pytest.mark.parametrize("pythons", [[PYTHON_310], [PYTHON_312]])
def test_the_choice_says_which_and_why_in_one_line(pythons):
    text = str(choose_stack(*UBUNTU_24, pythons))
    assert "\n" not in text
    assert pythons[0].executable in text
    assert "glibc 2.39" in text


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (("Darwin", "arm64", None), "Darwin on arm64"),
        (("Windows", "AMD64", None), "Windows on AMD64"),
        (("Linux", "aarch64", (2, 39)), "Linux on aarch64"),
        (("Linux", "x86_64", None), "GNU C library"),
        (("Linux", "x86_64", (2, 17)), "glibc 2.17"),
    ],
)
def test_systems_without_packages_get_one_sentence(machine, expected):
    with pytest.raises(EnvironmentProblem, match=expected) as problem:
        choose_stack(*machine, [PYTHON_312, PYTHON_310])
    assert "\n" not in str(problem.value)
    assert "container" in str(problem.value)


def test_a_named_python_that_no_stack_supports_gets_one_sentence():
    with pytest.raises(EnvironmentProblem) as problem:
        choose_stack(*DEBIAN_12, [PYTHON_314], may_fetch=False)
    text = str(problem.value)
    assert "\n" not in text
    assert "Python 3.10" in text  # what is expected
    assert "3.14.0 (/opt/b/bin/python3)" in text  # what was found
    assert "pyenv install 3.10" in text  # what to do


def test_pyenv_is_looked_into_where_its_shims_refuse(tmp_path):
    shims = tmp_path / "shims"
    shims.mkdir()
    program(shims, "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    for version in ("3.9.18", "3.10.2", "3.10.13", "3.13.0t", "a-virtualenv"):
        (tmp_path / "versions" / version).mkdir(parents=True)
    asked = []

    def ask(executable):
        asked.append(executable)
        if executable.startswith(str(shims)):
            return environment.probe(executable)
        version = Path(executable).parent.parent.name
        return Python(executable, tuple(map(int, version.split("."))))

    found = find_pythons(
        {"PATH": str(shims), "PYENV_ROOT": str(tmp_path), "HOME": "/nonexistent"}, ask
    )
    assert str(shims / "python3.10") in asked
    assert [python.version for python in found] == [(3, 10, 13), (3, 10, 2), (3, 9, 18)]


def test_a_named_python_is_the_only_one_asked(tmp_path):
    environ = {"PATH": os.environ["PATH"], "POINTNET_PYTHON": sys.executable}
    assert [python.executable for python in find_pythons(environ)] == [sys.executable]


def test_a_named_python_that_does_not_run_is_refused(tmp_path):
    with pytest.raises(EnvironmentProblem, match=r"POINTNET_PYTHON=.*does not run"):
        find_pythons({"PATH": "", "POINTNET_PYTHON": str(tmp_path / "python")})


def test_probing_this_very_python_tells_the_truth():
    python = environment.probe(sys.executable)
    assert python is not None
    assert python.version == sys.version_info[:3]
    assert python.prefix == sys.base_prefix


@pytest.mark.parametrize(
    ("code", "text", "install", "words"),
    [
        (0, "NVIDIA H100 80GB HBM3, 550.54.15\nNVIDIA H100 80GB HBM3, 550.54.15", True, "H100"),
        (0, "Tesla K80, 470.256.02", False, "older than 525"),
        (9, "NVIDIA-SMI has failed because it couldn't communicate", False, "found no GPU"),
        (0, "No devices were found", False, "found no GPU"),
        (0, "", False, "found no GPU"),
    ],
)
def test_what_nvidia_smi_says_decides_on_cuda(code, text, install, words):
    gpu = gpu_from_answer(code, text)
    assert gpu.install is install
    assert words in gpu.sentence


def test_an_nvidia_driver_is_found_by_its_command(tmp_path):
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA L4, 535.1'")
    assert nvidia_gpu({"PATH": f"{tmp_path}:/bin"}).install
    assert not nvidia_gpu({"PATH": str(tmp_path / "elsewhere")}).install


def test_gpu_0_declines_without_asking(tmp_path):
    program(tmp_path, "nvidia-smi", f"touch {tmp_path}/asked; echo 'NVIDIA L4, 535.1'")
    gpu = nvidia_gpu({"PATH": f"{tmp_path}:/bin", "GPU": "0"})
    assert not gpu.install
    assert "GPU=0" in gpu.sentence
    assert not (tmp_path / "asked").exists()


def choice_of(python: Python) -> Choice:
    """A choice of the newest stack on a Python."""
    return Choice(NEWEST, python, python.release, "for a test")


def test_nothing_is_missing_on_a_complete_machine():
    assert missing_pieces(choice_of(PYTHON_312), True, True, 10**12, gpu=True) == []


def test_all_that_is_missing_is_named_with_its_packages():
    bare = Python("/usr/bin/python3.12", (3, 12, 3), prefix="/usr", headers=False)
    text = "\n".join(missing_pieces(choice_of(bare), False, False, 10**9, gpu=False))
    assert "no C++ compiler" in text
    assert "no Python.h" in text
    assert "venv and ensurepip" in text
    own = ".".join(map(str, sys.version_info[:2]))
    assert f"sudo apt-get install g++ python3.12-dev python{own}-venv" in text
    assert "1.0 GB free" in text


def test_no_debian_package_is_named_for_a_python_that_is_not_debians():
    bare = Python("/opt/python/bin/python", (3, 12, 3), prefix="/opt/python", headers=False)
    text = "\n".join(missing_pieces(choice_of(bare), True, True, 10**12, gpu=False))
    assert "apt-get" not in text
    assert "/opt/python" in text


def test_the_cuda_libraries_need_more_room():
    enough = environment.STACK_SIZE
    assert missing_pieces(choice_of(PYTHON_312), True, True, enough, gpu=False) == []
    assert missing_pieces(choice_of(PYTHON_312), True, True, enough, gpu=True) != []


def test_the_compiler_is_looked_for_on_the_path(tmp_path):
    assert not environment.has_compiler({"PATH": str(tmp_path)})
    program(tmp_path, "g++", "exit 0")
    assert environment.has_compiler({"PATH": str(tmp_path)})


def test_uv_trusts_the_authority_that_pip_was_told_of():
    variables = environment.uv_environment({"PIP_CERT": "/etc/ours.pem", "PYTHONHOME": "/x"})
    assert variables["SSL_CERT_FILE"] == "/etc/ours.pem"
    assert variables["UV_SYSTEM_CERTS"] == "true"
    assert "PYTHONHOME" not in variables
    kept = environment.uv_environment({"PIP_CERT": "/a.pem", "SSL_CERT_FILE": "/b.pem"})
    assert kept["SSL_CERT_FILE"] == "/b.pem"


def test_a_command_gets_the_environment_first_and_its_cuda_programs(tmp_path):
    tools = tmp_path / "lib" / "python3.10" / "site-packages" / "nvidia" / "cuda_nvcc" / "bin"
    tools.mkdir(parents=True)
    variables = environment.activated(tmp_path, {"PATH": "/bin"})
    assert variables["PATH"].split(":") == [str(tmp_path / "bin"), str(tools), "/bin"]
    assert variables["VIRTUAL_ENV"] == str(tmp_path)
    without = environment.activated(tmp_path, {"PATH": "/bin", "GPU": "0"})
    assert without["PATH"].split(":") == [str(tmp_path / "bin"), "/bin"]
    assert without["CUDA_VISIBLE_DEVICES"] == "-1"


class Installer:
    """An installation into a temporary folder, in which programs are only pretended."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.venv = folder / "venv"
        self.log = folder / "log"
        self.environ = {"PATH": "/usr/bin:/bin", "LOG": str(self.log), "HOME": str(folder)}
        # `uv venv` makes an interpreter; `uv pip` only notes that it was called.
        uv = program(
            folder,
            "uv",
            'echo "$@" >>"$LOG"\n'
            'if [ "$1" = venv ]; then for last; do :; done; mkdir -p "$last/bin"\n'
            'printf "#!/bin/sh\\n" >"$last/bin/python"; chmod +x "$last/bin/python"; fi\n'
            'if [ -n "$BREAK_AT" ] && echo "$@" | grep -q -- "$BREAK_AT"; then kill -9 $$; fi',
        )
        monkeypatch.setattr(environment, "CACHE", folder / "cache")
        monkeypatch.setattr(environment, "ensure_uv", lambda environ, held: uv)
        monkeypatch.setattr(
            environment,
            "choose_here",
            lambda environ, wanted: choose_stack(*DEBIAN_12, [PYTHON_310]),
        )
        monkeypatch.setattr(environment, "look_ahead", lambda choice, gpu, environ: None)
        monkeypatch.setattr(environment, "nvidia_gpu", lambda environ: Gpu(False, "no GPU"))

    def ensure(self, **variables: str) -> None:
        environment.ensure(self.venv, {**self.environ, **variables})

    def installs(self) -> int:
        """How often an environment was begun."""
        if not self.log.exists():
            return 0
        return sum(line.startswith("venv ") for line in self.log.read_text().splitlines())


@pytest.fixture
def installer(tmp_path, monkeypatch):
    return Installer(tmp_path, monkeypatch)


def test_a_finished_environment_is_not_made_again(installer):
    installer.ensure()
    installer.ensure()
    assert installer.installs() == 1


def test_every_package_is_installed_by_its_hash_and_nothing_is_fetched_to_build_with(installer):
    installer.ensure()
    pip = [line for line in installer.log.read_text().splitlines() if line.startswith("pip ")]
    *locked, own = pip
    assert len(locked) == 2
    assert all("--require-hashes" in line for line in locked)
    assert "--no-build-isolation" in locked[1]
    assert "--no-deps" in own
    assert "--no-build-isolation" in own


@pytest.mark.parametrize("step", ["^venv", "build.txt", "tfx-1.16.txt", "--editable"])
def test_a_killed_install_is_noticed_and_done_again(installer, step):
    with pytest.raises(EnvironmentProblem, match="again"):
        installer.ensure(BREAK_AT=step)
    installer.ensure()
    assert installer.installs() == 2
    installer.ensure()
    assert installer.installs() == 2


def test_a_changed_lock_makes_the_environment_anew(installer, monkeypatch, tmp_path):
    installer.ensure()
    changed = tmp_path / "build.txt"
    changed.write_text("pip==0\n")
    monkeypatch.setattr(environment, "build_lock", lambda: changed)
    installer.ensure()
    assert installer.installs() == 2


def test_a_driver_that_was_installed_since_brings_its_libraries(installer, monkeypatch):
    installer.ensure()
    monkeypatch.setattr(environment, "nvidia_gpu", lambda environ: Gpu(True, "a new GPU"))
    installer.ensure()
    assert installer.installs() == 2
    assert "tfx-1.16-cuda.txt" in installer.log.read_text()
    # Once there, the libraries may stay though the GPU is declined.
    monkeypatch.setattr(environment, "nvidia_gpu", lambda environ: Gpu(False, "GPU=0"))
    installer.ensure()
    assert installer.installs() == 2


def test_an_environment_whose_python_went_away_is_made_anew(installer):
    installer.ensure()
    (installer.venv / "bin" / "python").unlink()
    installer.ensure()
    assert installer.installs() == 2


def test_two_makes_at_once_install_once(installer):
    problems = []

    def ensure():
        try:
            installer.ensure()
        except Exception as problem:  # a thread's exception would otherwise be lost
            problems.append(problem)

    makes = [threading.Thread(target=ensure) for _ in range(4)]
    for make in makes:
        make.start()
    for make in makes:
        make.join()
    assert problems == []
    assert installer.installs() == 1


def test_the_lock_is_kept_by_an_installer_that_outlives_us(tmp_path):
    """Were it not, a second make would remove what the orphan still writes."""
    lock = tmp_path / "a.lock"
    with environment.only_one(lock) as held:
        orphan = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[held])
    with lock.open() as second:
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        orphan.communicate()
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def run_script(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs environment.py as `make` does, without what this machine's own needs to be told."""
    here = {name: value for name, value in os.environ.items() if name != "POINTNET_PYTHON"}
    return subprocess.run(
        [sys.executable, str(ROOT / "requirements" / "environment.py"), *arguments],
        env={**here, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def finished(venv: Path) -> Path:
    """Writes an environment that looks as if this machine had just made it."""
    (venv / "bin").mkdir(parents=True)
    program(venv / "bin", "python", 'echo "in $VIRTUAL_ENV: $*"')
    stamp = {
        "tfx": OLDER.tfx,
        "cuda": False,
        "locks": environment.fingerprint([environment.build_lock(), OLDER.lock]),
        "named": None,
        "glibc": list(environment.glibc_version() or ()),
        "root": str(ROOT),
    }
    (venv / environment.STAMP).write_text(json.dumps(stamp))
    return venv


def test_a_command_runs_in_the_environment_and_gives_its_exit_status(tmp_path):
    venv = finished(tmp_path / "venv")
    words = ("run", "--venv", str(venv), "--")
    good = run_script(*words, "python", "-m", "thing", "--flag", GPU="0")
    assert good.stdout == f"in {venv}: -m thing --flag\n"
    assert good.stderr == ""
    assert run_script(*words, "sh", "-c", "exit 7", GPU="0").returncode == 7


def test_an_unknown_command_is_one_sentence(tmp_path):
    venv = finished(tmp_path / "venv")
    bad = run_script("run", "--venv", str(venv), "--", "no-such-command", GPU="0")
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: There is no command no-such-command")
    assert len(bad.stderr.splitlines()) == 1


def test_check_names_an_unsupported_python_in_one_sentence(tmp_path):
    old = program(
        tmp_path,
        "python",
        """echo '{"version": [3, 8, 1], "prefix": "/", "headers": true, "usable": true}'""",
    )
    answer = run_script("check", POINTNET_PYTHON=str(old))
    assert answer.returncode == 1
    assert "3.8.1" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
