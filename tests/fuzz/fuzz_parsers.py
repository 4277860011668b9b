"""`make fuzz`: tens of thousands of damaged files for each parser of files.

    python -m tests.fuzz.fuzz_parsers               all parsers, then hypothesis
    python -m tests.fuzz.fuzz_parsers NAME RUNS FOLDER [libFuzzer's options]   one parser

Inputs that reached new code are kept in .cache/fuzz/<name>, and the next run begins with them. One
that breaks a property is kept in out/fuzz, and the run ends with an error; pass its bytes to the
parser's function in parsers.py to see it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUNS = 50_000
EXAMPLES = 3_000
SECONDS = 60


def fuzz_one(name: str, runs: str, folder: str, *options: str) -> None:
    """Runs one parser in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["preprocessing"]):
        from tests.fuzz import parsers

    corpus, seeds = Path(folder, "corpus"), Path(folder, "seeds")
    for made in (corpus, seeds):
        made.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(parsers.SOUND[name]):
        (seeds / str(number)).write_bytes(content)
    words = "".join('"' + "".join(f"\\x{b:02x}" for b in t) + '"\n' for t in parsers.TOKENS)
    (Path(folder) / "words").write_text(words)
    check = parsers.PARSERS[name]
    accepted = tried = 0

    def one(content: bytes) -> None:
        nonlocal accepted, tried
        tried += 1
        accepted += check(content)
        if tried == int(runs):
            print(f"{name}: {tried} inputs, {accepted} accepted", flush=True)

    arguments = [
        f"-runs={runs}",
        f"-dict={folder}/words",
        "-max_len=4096",
        "-timeout=20",
        *options,
        str(corpus),
        str(seeds),
    ]
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def fuzz_all() -> int:
    """Runs each parser in a process of its own, then hypothesis; 1 where something broke."""
    from tests.fuzz.parsers import PARSERS

    artifacts = Path("out/fuzz")
    artifacts.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in PARSERS:
        options = [f"-max_total_time={SECONDS}", f"-artifact_prefix={artifacts}/{name}-"]
        command = [sys.executable, "-m", "tests.fuzz.fuzz_parsers", name, str(RUNS)]
        print(f"== {name}", flush=True)
        if subprocess.run([*command, f".cache/fuzz/{name}", *options], check=False).returncode:
            failed.append(name)
    pytest = [sys.executable, "-m", "pytest", "-n0", "-q", "tests/fuzz"]
    environment = {**os.environ, "FUZZ_EXAMPLES": str(EXAMPLES)}
    if subprocess.run(pytest, check=False, env=environment).returncode:
        failed.append("hypothesis")
    print(f"failed: {', '.join(failed)}" if failed else "every property held")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:]:
        fuzz_one(*sys.argv[1:])
    else:
        sys.exit(fuzz_all())
