"""Runs the tests on the newest TFX, also on a system that is too old for it: `make test-newest`.

    python3 -m requirements.newest_on_debian12 [PYTEST ARGUMENTS]

Where glibc is new enough, the tests simply run. On an older system (Debian 12, Ubuntu 22.04), and
only as root, a small Debian 13 tree is made with debootstrap and kept under .cache/newest-root.
The environment is made outside of it, on a Python 3.12 or 3.13 that is here already or that uv
fetches; then that Python, the environment and this folder are mounted into the tree, each at its
own path, and pytest runs there. The mounts live in a mount namespace of their own, so they are
gone when the tests end, however they end.

Where that cannot be done, the reason is printed and nothing fails.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

from requirements import environment
from requirements.environment import CACHE, NEWEST, ROOT, EnvironmentProblem, say

SUITE = "trixie"
TREE = CACHE / "newest-root"
VENV = ROOT / ".venv-newest"
# Wheels for this system and older ones are taken, though the system that asks is older still.
PYTHON_PLATFORM = "x86_64-manylinux_2_40"

# The libraries that an interpreter built elsewhere is linked with, and what the tests call.
PACKAGES = [
    "libbz2-1.0", "libffi8", "liblzma5", "libsqlite3-0", "libssl3t64", "libstdc++6", "zlib1g",
    "make", "git",
]  # fmt: skip

# The variables that mean the same inside, by how they begin.
VARIABLES = ("POINTNET_", "PYTEST_", "HYPOTHESIS_", "KERAS_", "TF_", "CI", "TERM", "COLUMNS")

# Set where the process already has mounts of its own.
INSIDE = "POINTNET_OWN_MOUNTS"


class CannotRunHere(Exception):
    """Why the newest TFX cannot be tried on this machine; nothing that needs mending."""


def debian_mirror(sources: Sequence[str]) -> Optional[str]:
    """The Debian archive that apt is set up with, or None: debootstrap knows a default.

    Args:
        sources: The texts of apt's source files, in either of their two forms.
    """
    for text in sources:
        active = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
        for address in re.findall(r"https?://[^\s\]]+", active):
            if re.search(r"/debian/?$", address):
                return address
    return None


def read_sources() -> List[str]:
    """The texts of apt's source files."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    return [file.read_text(errors="replace") for file in files if file.is_file()]


def why_not(root: bool, debootstrap: bool, unshare: bool) -> Optional[str]:
    """The reason why no Debian tree can be used here; None where it can."""
    if not root:
        return "only root can make a Debian tree and change into it (try it as root)"
    if not debootstrap:
        return "there is no debootstrap (sudo apt-get install debootstrap)"
    if not unshare:
        return "mounts of its own are not permitted here (unshare --mount fails)"
    return None


def may_unshare() -> bool:
    """Whether this process may have mounts of its own (a plain container may not)."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "--mount", "--propagation", "private", "true"]
    return subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0


def make_tree(tree: Path, packages: Sequence[str]) -> None:
    """Makes a Debian tree with some packages more than the least, unless it is there, whole."""
    wanted = " ".join([SUITE, *packages])
    mark = tree / "pointnet-tree"
    if mark.is_file() and mark.read_text() == wanted:
        return
    say(f"making a Debian tree ({SUITE}) in {tree}")
    shutil.rmtree(tree, ignore_errors=True)
    tree.parent.mkdir(exist_ok=True)
    mirror = debian_mirror(read_sources())
    command = ["debootstrap", "--variant=minbase"]
    command += [f"--include={','.join(packages)}"] if packages else []
    command += [SUITE, str(tree)]
    words = command + ([mirror] if mirror else [])
    log = CACHE / "debootstrap.log"
    with log.open("w") as output:
        code = subprocess.run(words, stdout=output, stderr=output, check=False).returncode
    if code != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise EnvironmentProblem(f"debootstrap failed (all of it in {log}): {' | '.join(last)}")
    mark.write_text(wanted)


def ensure_environment(environ: Mapping[str, str]) -> environment.Python:
    """Makes the environment for the tree, out here; gives the Python that it stands on."""
    with environment.only_one(CACHE / "environment.lock") as held:
        choice = environment.choose_stack(
            platform.system(),
            platform.machine(),
            NEWEST.oldest_glibc,  # the tree's, not ours
            environment.find_pythons(environ),
            [NEWEST],
        )
        # Without headers, and the compiler, the packages that come as source cannot be built.
        environment.look_ahead(choice, environment.Gpu(False, ""), environ)
        lasting = {name: value for name, value in environ.items() if name != "POINTNET_PYTHON"}
        without_gpu = environment.Gpu(False, "the tests run on the CPU")
        if not environment.is_current(VENV, [NEWEST], lasting, lambda: without_gpu):
            say(str(choice))
            environment.install(VENV, choice, False, environ, held, PYTHON_PLATFORM)
    python = environment.probe(str(VENV / "bin" / "python"))
    if python is None:
        raise EnvironmentProblem(f"{VENV} does not run; remove it and run the command again.")
    if python.prefix in ("/", "/usr"):
        raise CannotRunHere(
            f"{python} is this system's own, which cannot be moved into the tree (one made by "
            "pyenv or uv can: name it with POINTNET_PYTHON)"
        )
    return python


def folders_inside(prefix: str, environ: Mapping[str, str]) -> List[Path]:
    """What the tree needs of the outside: each is mounted at its own path."""
    folders = [ROOT, Path(prefix).resolve()]
    data = environ.get("POINTNET_REAL_DATA")
    if data and Path(data).is_dir():
        folders.append(Path(data).resolve())
    # The environment's interpreter is a chain of links, and each link's folder must be there.
    link = VENV / "bin" / "python"
    while link.is_symlink():
        link = Path(os.path.join(link.parent, os.readlink(link)))
        folders.append(link.parent.parent)
    return [
        folder
        for folder in dict.fromkeys(folders)
        if not any(other in folder.parents for other in folders)
    ]


def variables_inside(environ: Mapping[str, str]) -> Dict[str, str]:
    """The tests' environment variables in the tree."""
    # Not all of them: many name files that only the outside has (certificates, say).
    kept = {name: value for name, value in environ.items() if name.startswith(VARIABLES)}
    data = environ.get("POINTNET_REAL_DATA")
    if data:
        kept["POINTNET_REAL_DATA"] = str(Path(data).resolve())
    kept.update(PATH="/usr/local/bin:/usr/bin:/bin", HOME="/root", TMPDIR="/tmp", LC_ALL="C.UTF-8")
    return environment.activated(VENV, kept)


def mount(folders: Sequence[Path]) -> None:
    """Mounts folders, and what the kernel offers, into the tree."""
    for folder in [*folders, Path("/dev"), Path("/proc"), Path("/sys")]:
        target = TREE / folder.relative_to("/")
        target.mkdir(parents=True, exist_ok=True)
        # With their own submounts (/dev/shm, /dev/pts), except for the folders of ours.
        kind = "--bind" if folder in folders else "--rbind"
        subprocess.run(["mount", kind, str(folder), str(target)], check=True)
    for name in ("hosts", "resolv.conf"):
        if Path("/etc", name).is_file():
            shutil.copyfile(f"/etc/{name}", TREE / "etc" / name)


def run_inside(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Mounts, changes into the tree and runs pytest; the caller has mounts of its own."""
    python = environment.probe(str(VENV / "bin" / "python"))
    assert python is not None
    mount(folders_inside(python.prefix, environ))
    # Before the change: inside, links of the outside lead nowhere.
    variables = variables_inside(environ)
    os.chroot(TREE)
    os.chdir(ROOT)
    command = [str(VENV / "bin" / "python"), "-m", "pytest", *arguments]
    return subprocess.run(command, env=variables, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Runs the tests, or says why it cannot."""
    environ = dict(os.environ)
    if environ.get(INSIDE):
        return run_inside(arguments, environ)
    try:
        glibc = environment.glibc_version()
        if glibc is not None and glibc >= NEWEST.oldest_glibc:
            # What `make test` uses is the newest already, unless only an older Python was found.
            stamp = environment.read_stamp(ROOT / ".venv") or {}
            venv = VENV if stamp.get("tfx", NEWEST.tfx) != NEWEST.tfx else ROOT / ".venv"
            environment.ensure(venv, environ, [NEWEST])
            environment.run(venv, ["python", "-m", "pytest", *arguments], environ)
        has_debootstrap = shutil.which("debootstrap") is not None
        reason = why_not(os.geteuid() == 0, has_debootstrap, may_unshare())
        if reason:
            raise CannotRunHere(reason)
        ensure_environment(environ)
        make_tree(TREE, PACKAGES)
    except CannotRunHere as reason:
        print(f"skipped: the newest TFX ({NEWEST.tfx}) is not tried here: {reason}.")
        return 0
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    say(f"TFX {NEWEST.tfx} in a Debian tree ({SUITE}): pytest {' '.join(arguments)}")
    own_mounts = ["unshare", "--mount", "--propagation", "private"]
    module = [sys.executable, "-m", "requirements.newest_on_debian12", *arguments]
    again = subprocess.run(
        [*own_mounts, *module], env={**environ, INSIDE: "1"}, cwd=ROOT, check=False
    )
    return again.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
