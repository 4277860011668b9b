"""Everything that is measured, one program after the other, each in a process of its own.

    python -m bench [conversion transform network ...]

Each prints its table and puts its numbers into bench/out/results.json. `make bench` runs them all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.results import RESULTS

PROGRAMS = (
    "conversion",
    "transform",
    "network",
    "epoch",
    "evaluation",
    "serving",
    "serving_load",
    "serving_batches",
    "quality",
    "components",
)


def main() -> None:
    """Runs the programs named, or all; ends with 1 if one of them failed."""
    chosen = sys.argv[1:] or list(PROGRAMS)
    unknown = [name for name in chosen if name not in PROGRAMS]
    if unknown:
        sys.exit(f"bench: no program {unknown[0]!r}; there are {', '.join(PROGRAMS)}")
    # TensorFlow's and Google's words about this machine would bury the tables.
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    failed = []
    for name in chosen:
        print(f"bench: {name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{name}"], cwd=Path(__file__).parents[1], env=quiet
        )
        if done.returncode:
            failed.append(name)
    print(f"bench: results are in {RESULTS}")
    if failed:
        sys.exit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
