"""Makes the project's Python environment and runs a command in it.

    python3 requirements/environment.py run [--venv DIR] [--stack TFX] -- COMMAND ...
    python3 requirements/environment.py check

Everything that a user types (`make run`, `make test`, ...) comes through here, so this file needs
nothing but the standard library of any Python 3.8 or later. It chooses one of the two locked
stacks, looks first for what it cannot install itself, installs, and then becomes COMMAND. When the
environment is up to date, that takes a fraction of a second.

Environment variables: `GPU=0` declines TensorFlow's CUDA libraries and hides the GPU;
`POINTNET_PYTHON=/path/to/python` names the Python to build on.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
CACHE = ROOT / ".cache"
STAMP = "pointnet-environment.json"

Version = Tuple[int, ...]


class EnvironmentProblem(Exception):
    """Something that the user has to change; its text says what, and how."""


@dataclass(frozen=True)
class Stack:
    """One locked set of packages and the systems that its wheels load on."""

    tfx: str
    pythons: Tuple[Version, ...]
    oldest_glibc: Version

    @property
    def lock(self) -> Path:
        """The hash-locked packages of this stack."""
        return REQUIREMENTS / f"tfx-{self.tfx}.txt"

    @property
    def cuda_lock(self) -> Path:
        """What comes on top of `lock` where there is an NVIDIA GPU."""
        return REQUIREMENTS / f"tfx-{self.tfx}-cuda.txt"

    @property
    def image_lock(self) -> Path:
        """The part of `lock` that the container image holds; only the newest stack has one."""
        return REQUIREMENTS / f"tfx-{self.tfx}-image.txt"


# Best first. The newest TFX's ML Metadata and TFDV wheels need glibc 2.38's symbols and are built
# for 2.39; what the other one locks (h5py, for one) is built for 2.28.
NEWEST = Stack("1.21", pythons=((3, 12), (3, 13)), oldest_glibc=(2, 39))
OLDER = Stack("1.16", pythons=((3, 10),), oldest_glibc=(2, 28))
STACKS = (NEWEST, OLDER)

# Measured: 4.1 GB for a stack with its bytecode, 2.8 GB for the CUDA libraries; and room to unpack.
GIGABYTE = 10**9
STACK_SIZE = 6 * GIGABYTE
CUDA_SIZE = 5 * GIGABYTE

# CUDA 12, which both stacks' TensorFlow is built for, needs a driver of this release.
OLDEST_DRIVER = 525


@dataclass(frozen=True)
class Python:
    """An interpreter that was found and that runs."""

    executable: str
    version: Version
    prefix: str = ""
    headers: bool = True
    # 64 bit, CPython, with its global lock: what TFX's wheels are built for.
    usable: bool = True

    @property
    def release(self) -> Version:
        """Major and minor version, which is what wheels are built for."""
        return self.version[:2]

    def __str__(self) -> str:
        return f"Python {dotted(self.version)} ({self.executable})"


@dataclass(frozen=True)
class Choice:
    """Which stack on which Python, and why."""

    stack: Stack
    python: Optional[Python]  # None: uv has to fetch one of release `release`.
    release: Version
    reason: str

    def __str__(self) -> str:
        python = self.python or f"Python {dotted(self.release)}, which uv will fetch"
        return f"TFX {self.stack.tfx} on {python}: {self.reason}"


@dataclass(frozen=True)
class Gpu:
    """What nvidia-smi answered, and whether to install the CUDA libraries for it."""

    install: bool
    sentence: str


def dotted(version: Version) -> str:
    """(3, 10) -> "3.10"."""
    return ".".join(map(str, version))


def say(text: str) -> None:
    """Prints to standard error: standard output belongs to the command that is run."""
    print(f"[environment] {text}", file=sys.stderr, flush=True)


# ---- what there is --------------------------------------------------------------------------


def glibc_version() -> Optional[Version]:
    """The C library's version, or None where it is not glibc (musl, macOS)."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return None
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else None


# Runs in the interpreter that is looked at, whichever release that is.
_PROBE = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "prefix": getattr(sys, "base_prefix", sys.prefix),
    "headers": os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),
    "usable": platform.python_implementation() == "CPython" and sys.maxsize > 2 ** 32
              and not sysconfig.get_config_var("Py_GIL_DISABLED"),
}))
"""


def probe(executable: str) -> Optional[Python]:
    """Asks an interpreter what it is; None where it does not run (a pyenv shim may refuse)."""
    try:
        answer = subprocess.run(
            [executable, "-I", "-c", _PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, timeout=60, check=True,
        )  # fmt: skip
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    found["version"] = tuple(found["version"])
    return Python(executable=executable, **found)


def pyenv_pythons(environ: Mapping[str, str]) -> List[str]:
    """The interpreters in pyenv's folder, newest first, whether or not their shims answer."""
    roots = [environ.get("PYENV_ROOT"), os.path.join(environ.get("HOME", "/"), ".pyenv")]
    found: Dict[str, Version] = {}
    for root in filter(None, roots):
        for folder in Path(root).glob("versions/3.*"):
            with contextlib.suppress(ValueError):  # 3.13t, 3.12-dev and named environments
                version = tuple(int(part) for part in folder.name.split("."))
                found.setdefault(str(folder / "bin" / "python"), version)
    return sorted(found, key=lambda path: found[path], reverse=True)


def find_pythons(
    environ: Mapping[str, str], ask: Callable[[str], Optional[Python]] = probe
) -> List[Python]:
    """All interpreters that a stack could use, the user's own `python3` first."""
    named = environ.get("POINTNET_PYTHON")
    if named:
        python = ask(shutil.which(named, path=environ.get("PATH")) or named)
        if python is None:
            raise EnvironmentProblem(
                f"POINTNET_PYTHON={named} does not run; name a Python interpreter that does, or "
                "leave the variable away."
            )
        return [python]
    releases = sorted({release for stack in STACKS for release in stack.pythons}, reverse=True)
    names = ["python3", *(f"python{dotted(release)}" for release in releases)]
    on_path = [shutil.which(name, path=environ.get("PATH")) for name in names]
    candidates = [path for path in on_path if path] + pyenv_pythons(environ)
    pythons = (ask(candidate) for candidate in dict.fromkeys(candidates))
    return [python for python in pythons if python is not None]


def nvidia_gpu(environ: Mapping[str, str]) -> Gpu:
    """Whether an NVIDIA driver answers, and so whether the CUDA libraries belong here."""
    if environ.get("GPU") == "0":
        return Gpu(False, "GPU=0: without CUDA libraries, training runs on the CPU")
    command = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if command is None:
        return Gpu(False, "no NVIDIA driver found (no nvidia-smi): training runs on the CPU")
    try:
        answer = subprocess.run(
            [command, "--query-gpu=name,driver_version", "--format=csv,noheader"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return Gpu(False, f"nvidia-smi does not answer ({error}): training runs on the CPU")
    text = answer.stdout.decode(errors="replace").strip()
    return gpu_from_answer(answer.returncode, text)


def gpu_from_answer(code: int, text: str) -> Gpu:
    """Reads nvidia-smi's `name, driver_version` lines."""
    first = text.splitlines()[0] if text else "no output"
    name, _, driver = first.rpartition(",")
    release = driver.strip().partition(".")[0]
    if code != 0 or not release.isdigit():
        return Gpu(False, f"nvidia-smi found no GPU ({first}): training runs on the CPU")
    if int(release) < OLDEST_DRIVER:
        return Gpu(
            False,
            f"{name.strip()}'s driver {driver.strip()} is older than {OLDEST_DRIVER}, which CUDA "
            "12 needs: training runs on the CPU until the driver is updated",
        )
    return Gpu(True, f"{name.strip()} (driver {driver.strip()}): with TensorFlow's CUDA libraries")


# ---- what to take ---------------------------------------------------------------------------


def choose_stack(
    system: str,
    machine: str,
    glibc: Optional[Version],
    pythons: Sequence[Python],
    wanted: Sequence[Stack] = STACKS,
    may_fetch: bool = True,
) -> Choice:
    """Picks the newest stack that this system and one of its Pythons can run.

    Args:
        system: What `platform.system()` says, such as "Linux".
        machine: What `platform.machine()` says, such as "x86_64".
        glibc: The C library's version; None where it is another C library.
        pythons: The interpreters found, preferred ones first.
        wanted: The stacks to choose from, best first.
        may_fetch: Whether uv may fetch a Python where none of `pythons` will do.

    Raises:
        EnvironmentProblem: No stack runs here.
    """
    if system != "Linux" or machine not in ("x86_64", "AMD64"):
        raise EnvironmentProblem(
            f"TFX has no packages for {system} on {machine}: use a Linux x86-64 machine, or a "
            "Linux container (such as `docker run --platform linux/amd64 ... ubuntu:24.04`)."
        )
    if glibc is None:
        raise EnvironmentProblem(
            "TFX's packages need the GNU C library, and this Linux has another one (musl?): use a "
            "Debian, Ubuntu or Fedora machine or container."
        )
    loadable = [stack for stack in wanted if glibc >= stack.oldest_glibc]
    if not loadable:
        needed = dotted(wanted[-1].oldest_glibc)
        raise EnvironmentProblem(
            f"This system's C library is glibc {dotted(glibc)}, and TFX {wanted[-1].tfx} needs "
            f"{needed} or later: use a newer system or container (Debian 12, Ubuntu 22.04, ...)."
        )
    for stack in loadable:
        fitting = [p for p in pythons if p.release in stack.pythons and p.usable]
        # One with headers can be built with; else the user's own python3; else what is proven most.
        fitting.sort(
            key=lambda p: (not p.headers, p is not pythons[0], stack.pythons.index(p.release))
        )
        if fitting:
            return Choice(stack, fitting[0], fitting[0].release, _reason(stack, glibc))
    releases = " or ".join(dotted(release) for stack in loadable for release in stack.pythons)
    if not may_fetch:
        found = ", ".join(str(python) for python in pythons) or "none"
        raise EnvironmentProblem(
            f"TFX runs on Python {releases} on this system (glibc {dotted(glibc)}), and found was: "
            f"{found}; install one of those (`pyenv install {dotted(loadable[0].pythons[0])}`, "
            "say), or leave POINTNET_PYTHON away so that one is looked for."
        )
    stack = loadable[0]
    return Choice(stack, None, stack.pythons[0], _reason(stack, glibc))


def _reason(stack: Stack, glibc: Version) -> str:
    if stack == NEWEST:
        return (
            f"the newest, for glibc {dotted(NEWEST.oldest_glibc)} or later (here {dotted(glibc)})"
        )
    if glibc >= NEWEST.oldest_glibc:
        newer = " or ".join(map(dotted, NEWEST.pythons))
        return f"glibc {dotted(glibc)} could run TFX {NEWEST.tfx}, but there is no Python {newer}"
    return (
        f"TFX {NEWEST.tfx} needs glibc {dotted(NEWEST.oldest_glibc)}, and here is {dotted(glibc)}"
    )


def missing_pieces(
    choice: Choice,
    has_compiler: bool,
    has_venv: bool,
    free_bytes: int,
    gpu: bool,
) -> List[str]:
    """What cannot be installed from here, one sentence each; empty where nothing is missing.

    A package in the locks (pyfarmhash) comes as source. Without this look ahead its build would
    die in a page of compiler set-up output.
    """
    found = []
    packages = []
    if not has_compiler:
        found.append("There is no C++ compiler (looked for c++, g++ and clang++).")
        packages.append("g++")
    python = choice.python
    if python is not None and not python.headers:
        found.append(f"The headers of {python} are missing (no Python.h).")
        if python.prefix == "/usr":
            packages.append(f"python{dotted(python.release)}-dev")
        else:
            found.append(f"Reinstall that Python with its headers ({python.prefix}).")
    if not has_venv:
        found.append(f"{sys.executable} lacks the venv and ensurepip modules.")
        packages.append(f"python{dotted(sys.version_info[:2])}-venv")
    if packages:
        found.append(f"On Debian or Ubuntu: sudo apt-get install {' '.join(packages)}")
    needed = STACK_SIZE + (CUDA_SIZE if gpu else 0)
    if free_bytes < needed:
        found.append(
            f"{ROOT} has {free_bytes / GIGABYTE:.1f} GB free, and the environment needs "
            f"{needed / GIGABYTE:.0f} GB: make room, or clone to a larger disk."
        )
    return found


# ---- making it ------------------------------------------------------------------------------


def fingerprint(files: Iterable[Path]) -> str:
    """One hash over the contents of files, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def locks(stack: Stack, cuda: bool) -> List[Path]:
    """The lock files that make up an environment."""
    return [stack.lock, stack.cuda_lock] if cuda else [stack.lock]


def build_lock() -> Path:
    """What goes in first, to build the source packages with."""
    return REQUIREMENTS / "build.txt"


def read_stamp(venv: Path) -> Optional[Dict[str, object]]:
    """What a finished install left; None where there is none, or only part of one."""
    try:
        stamp = json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def is_current(
    venv: Path, wanted: Sequence[Stack], environ: Mapping[str, str], gpu: Callable[[], Gpu]
) -> bool:
    """Whether the environment is finished and made of today's lock files.

    The choice that was made is not made again, for that would take longer than all the rest.
    """
    stamp = read_stamp(venv)
    if stamp is None or not os.access(venv / "bin" / "python", os.X_OK):
        return False
    stack = next((s for s in wanted if s.tfx == stamp.get("tfx")), None)
    named = environ.get("POINTNET_PYTHON")
    if stack is None or (named and stamp.get("named") != named):
        return False
    if stamp.get("glibc") != list(glibc_version() or ()) or stamp.get("root") != str(ROOT):
        return False
    cuda = bool(stamp.get("cuda"))
    if stamp.get("locks") != fingerprint([build_lock(), *locks(stack, cuda)]):
        return False
    # A driver that was installed since wants its libraries; surplus libraries do no harm.
    return cuda or not gpu().install


@contextlib.contextmanager
def only_one(lock_file: Path) -> Iterator[int]:
    """Holds a lock on a file, waiting for whoever has it; gives the file's descriptor."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is building an environment here; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def uv_environment(environ: Mapping[str, str]) -> Dict[str, str]:
    """The variables that uv runs with: the user's, and what pip was told and uv does not read."""
    result = dict(environ)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH"):
        result.pop(name, None)
    authority = next(
        (
            environ[n]
            for n in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
            if environ.get(n)
        ),
        None,
    )
    if authority and not environ.get("SSL_CERT_FILE"):
        result["SSL_CERT_FILE"] = authority
    if authority or environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR"):
        result.setdefault("UV_SYSTEM_CERTS", "true")
    if environ.get("PIP_INDEX_URL"):
        result.setdefault("UV_DEFAULT_INDEX", environ["PIP_INDEX_URL"])
    result.setdefault("UV_HTTP_TIMEOUT", environ.get("PIP_DEFAULT_TIMEOUT", "120"))
    return result


def call(command: Sequence[object], environ: Mapping[str, str], held: int, failure: str) -> None:
    """Runs one step of the installation.

    `held` is the lock's descriptor: the child gets it too, so that the lock is kept by an
    installer which outlives us.
    """
    words = [str(word) for word in command]
    if sys.stderr.isatty():
        code = subprocess.run(words, env=environ, pass_fds=[held], check=False).returncode
    else:
        # uv lists each of some 250 packages; in a log its headlines are enough.
        process = subprocess.Popen(
            words, env=environ, pass_fds=[held], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            if text and not text.startswith((" + ", " - ", " ~ ", " Downloaded ", "   Building ")):
                say(f"  {text}")
        code = process.wait()
    if code != 0:
        raise EnvironmentProblem(failure)


def ensure_uv(environ: Mapping[str, str], held: int) -> Path:
    """The locked uv, in a small environment of its own."""
    folder = CACHE / "uv"
    lock = REQUIREMENTS / "uv.txt"
    uv = folder / "bin" / "uv"
    stamp = read_stamp(folder)
    current = stamp is not None and stamp.get("locks") == fingerprint([lock])
    if current and os.access(uv, os.X_OK):
        return uv
    say("installing uv, which installs the rest")
    shutil.rmtree(folder, ignore_errors=True)
    failure = (
        "uv could not be installed (the reason stands above): see to it that pip reaches a package "
        "index, and run the command again."
    )
    call([sys.executable, "-m", "venv", folder], environ, held, failure)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes"]
    call(
        [*pip, "--disable-pip-version-check", "--no-deps", "-r", lock], environ, held, failure
    )  # fmt: skip
    (folder / STAMP).write_text(json.dumps({"locks": fingerprint([lock])}))
    return uv


def install(
    venv: Path,
    choice: Choice,
    cuda: bool,
    environ: Mapping[str, str],
    held: int,
    python_platform: Optional[str] = None,
) -> None:
    """Makes an environment from nothing and stamps it when, and only when, it is whole.

    Args:
        venv: Where; what is there is removed.
        choice: What to install on which Python.
        cuda: Whether to add the CUDA libraries.
        environ: The user's environment variables.
        held: The descriptor of the lock that is held meanwhile.
        python_platform: The system to install for, in uv's words, where it is not this one.
    """
    uv = ensure_uv(environ, held)
    variables = uv_environment(environ)
    if venv.exists():
        say(f"{venv} is out of date or unfinished: making it again")
        # The stamp first: what is killed half way through must not look finished.
        with contextlib.suppress(FileNotFoundError):
            (venv / STAMP).unlink()
        shutil.rmtree(venv)
    interpreter = choice.python.executable if choice.python else dotted(choice.release)
    call(
        [uv, "venv", "--quiet", "--no-project", "--python", interpreter, venv], variables, held,
        f"No environment could be made on Python {dotted(choice.release)} (the reason stands "
        "above): install that Python, with its headers, and run the command again.",
    )  # fmt: skip
    pip = [uv, "pip", "install", "--python", venv / "bin" / "python"]
    platform_words = ["--python-platform", python_platform] if python_platform else []
    failure = (
        "The installation broke off (the reason stands above): run the command again, what was "
        "downloaded is kept; behind a package mirror, set UV_DEFAULT_INDEX to its address."
    )
    # pip itself is among these: TFX's own command line asks for one. And the source packages are
    # built with this locked setuptools, not with whichever is newest on the day.
    call(
        [*pip, "--quiet", "--require-hashes", *platform_words, "-r", build_lock()],
        variables, held, failure,
    )  # fmt: skip
    wanted: List[object] = []
    for lock in locks(choice.stack, cuda):
        wanted += ["-r", lock]
    say(f"installing TFX {choice.stack.tfx} and what it needs into {venv} (about 4 GB; minutes)")
    # Compiled now, once: every step of the pipeline is a process that imports TensorFlow and TFX,
    # and where PYTHONDONTWRITEBYTECODE is set each would compile them again.
    words = ["--require-hashes", "--no-build-isolation", "--compile-bytecode", *platform_words]
    call(
        [*pip, *words, *wanted],
        variables, held, failure,
    )  # fmt: skip
    call(
        [*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", ROOT],
        variables, held, failure,
    )  # fmt: skip
    stamp = {
        "tfx": choice.stack.tfx,
        "cuda": cuda,
        "locks": fingerprint([build_lock(), *locks(choice.stack, cuda)]),
        "python": str(choice.python or dotted(choice.release)),
        "named": environ.get("POINTNET_PYTHON"),
        "glibc": list(glibc_version() or ()),
        "root": str(ROOT),
    }
    partial = venv / (STAMP + ".partial")
    partial.write_text(json.dumps(stamp, indent=1))
    partial.replace(venv / STAMP)


def has_compiler(environ: Mapping[str, str]) -> bool:
    """Whether something that compiles C++ can be found."""
    names = [environ.get("CXX", ""), "c++", "g++", "clang++"]
    return any(shutil.which(name, path=environ.get("PATH")) for name in names if name)


def has_venv_module() -> bool:
    """Whether this very Python can make environments (Debian packs that apart)."""
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


def choose_here(environ: Mapping[str, str], wanted: Sequence[Stack] = STACKS) -> Choice:
    """`choose_stack` for this machine."""
    system, machine, glibc = platform.system(), platform.machine(), glibc_version()
    # No interpreter is asked where none could help.
    runs_at_all = system == "Linux" and glibc is not None
    pythons = find_pythons(environ) if runs_at_all else []
    return choose_stack(
        system, machine, glibc, pythons, wanted, may_fetch=not environ.get("POINTNET_PYTHON")
    )


def look_ahead(choice: Choice, gpu: Gpu, environ: Mapping[str, str]) -> None:
    """Raises where something is missing that cannot be installed from here."""
    missing = missing_pieces(
        choice,
        has_compiler(environ),
        has_venv_module(),
        shutil.disk_usage(ROOT).free,
        gpu.install,
    )
    if missing:
        raise EnvironmentProblem("\n  ".join(["This machine lacks something:", *missing]))


def ensure(venv: Path, environ: Mapping[str, str], wanted: Sequence[Stack] = STACKS) -> None:
    """Makes the environment unless it is there and up to date."""
    gpu = asked_once(environ)
    if is_current(venv, wanted, environ, gpu):
        return
    with only_one(CACHE / "environment.lock") as held:
        if is_current(venv, wanted, environ, gpu):  # Somebody made it while we waited.
            return
        choice = choose_here(environ, wanted)
        say(f"{choice}; {gpu().sentence}")
        look_ahead(choice, gpu(), environ)
        install(venv, choice, gpu().install, environ, held)
        say("the environment is ready")


def asked_once(environ: Mapping[str, str]) -> Callable[[], Gpu]:
    """`nvidia_gpu`, asked at most once: nvidia-smi can take a second."""
    answers: List[Gpu] = []

    def ask() -> Gpu:
        if not answers:
            answers.append(nvidia_gpu(environ))
        return answers[0]

    return ask


def activated(venv: Path, environ: Mapping[str, str]) -> Dict[str, str]:
    """The variables for a command that runs in the environment."""
    result = dict(environ)
    result.pop("PYTHONHOME", None)
    result["VIRTUAL_ENV"] = str(venv)
    path = [str(venv / "bin"), environ.get("PATH", os.defpath)]
    if environ.get("GPU") == "0":
        result["CUDA_VISIBLE_DEVICES"] = "-1"
    else:
        # Programs such as ptxas; the libraries are loaded by model/training/cuda.py.
        path[1:1] = [str(tools) for tools in venv.glob("lib/python3.*/site-packages/nvidia/*/bin")]
    result["PATH"] = os.pathsep.join(path)
    return result


def run(venv: Path, command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Becomes the command; does not return."""
    variables = activated(venv, environ)
    program = shutil.which(command[0], path=variables["PATH"])
    if program is None:
        raise EnvironmentProblem(f"There is no command {command[0]} in {venv} or on the PATH.")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, list(command), variables)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="environment.py",
        description="Makes the project's environment and runs commands in it.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_parser = verbs.add_parser("run", help="make the environment if need be, then run COMMAND")
    check_parser = verbs.add_parser(
        "check", help="say what would be installed, and what is missing"
    )
    for verb in (run_parser, check_parser):
        verb.add_argument("--stack", choices=[stack.tfx for stack in STACKS], help="this one only")
    run_parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="default: .venv")
    run_parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    return parser.parse_args(arguments)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one of the verbs; a problem is told in a sentence, not in a traceback."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    wanted = [stack for stack in STACKS if options.stack in (None, stack.tfx)]
    environ = dict(os.environ)
    try:
        if options.verb == "check":
            choice, gpu = choose_here(environ, wanted), nvidia_gpu(environ)
            print(f"{choice}; {gpu.sentence}")
            look_ahead(choice, gpu, environ)
            return 0
        command = options.command[1:] if options.command[:1] == ["--"] else options.command
        if not command:
            raise EnvironmentProblem("No command was given: write it after `--`.")
        venv = options.venv.absolute()
        ensure(venv, environ, wanted)
        run(venv, command, environ)
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command begins the installation again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
