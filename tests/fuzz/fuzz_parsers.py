"""`make fuzz`: tens of thousands of damaged files for each parser of files.

    python -m tests.fuzz.fuzz_parsers               all parsers, then hypothesis
    python -m tests.fuzz.fuzz_parsers NAME RUNS FOLDER [libFuzzer's options]   one parser

Inputs that reached new code are kept in .cache/fuzz/<name> for the next run, and those that break a
property in out/fuzz: pass their bytes to the parser's function in parsers.py to reproduce it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUNS, EXAMPLES, SECONDS = 50_000, 3_000, 60


def fuzz_one(name: str, runs: str, folder: str, *options: str) -> None:
    """Runs one parser in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["preprocessing"]):
        from tests.fuzz import parsers

    parser, sound = parsers.PARSERS[name]
    corpus, seeds, words = (Path(folder, part) for part in ("corpus", "seeds", "words"))
    corpus.mkdir(parents=True, exist_ok=True)
    seeds.mkdir(exist_ok=True)
    for number, content in enumerate(sound):
        (seeds / str(number)).write_bytes(content)
    escaped = ("".join(f"\\x{byte:02x}" for byte in token) for token in parsers.TOKENS)
    words.write_text("".join(f'"{token}"\n' for token in escaped))
    accepted = tried = 0

    def check(content: bytes) -> None:
        nonlocal accepted, tried
        tried += 1
        accepted += parser(content)
        if tried == int(runs):
            print(f"{name}: {tried} inputs, {accepted} accepted", flush=True)

    limits = [f"-runs={runs}", f"-dict={words}", "-max_len=4096", "-timeout=20"]
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus), str(seeds)], check)
    atheris.Fuzz()


def fuzz_all() -> int:
    """Runs each parser in its own process, then hypothesis; 1 if something broke."""
    from tests.fuzz.parsers import PARSERS

    Path("out/fuzz").mkdir(parents=True, exist_ok=True)
    failed = []
    for name in PARSERS:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.fuzz_parsers", name, str(RUNS)]
        options = [f"-max_total_time={SECONDS}", f"-artifact_prefix=out/fuzz/{name}-"]
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
