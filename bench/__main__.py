"""Runs the programs of this package one after the other, each in its own process.

    python -m bench [conversion transform network evaluation serving quality]

Each prints its table and writes its numbers to bench/out/results.json. `make bench` runs them all.
"""

from __future__ import annotations

import os
import subprocess
import sys

from bench.results import RESULTS, ROOT

PROGRAMS = ("conversion", "transform", "network", "evaluation", "serving", "quality")


def main() -> None:
    """Runs the named programs, or all; exits with 1 if one of them failed."""
    chosen = sys.argv[1:] or list(PROGRAMS)
    unknown = [name for name in chosen if name not in PROGRAMS]
    if unknown:
        sys.exit(f"bench: unknown program {unknown[0]!r}; choose from {', '.join(PROGRAMS)}")
    # Silence start-up logs.
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    failed = []
    for name in chosen:
        print(f"bench: {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=ROOT, env=quiet).returncode:
            failed.append(name)
    print(f"bench: results are in {RESULTS}")
    if failed:
        sys.exit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
