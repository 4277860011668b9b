"""Builds Beam's job server for Flink as one jar, with Maven: `make flink-job-server`.

    python -m deploy.flink.job_server

prints the jar's path, for `beam.flink.job_server_jar`. The jar (165 MB) is kept under .cache and
built again only where pom.xml has changed. The first build takes some two minutes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "flink"


class CannotBuild(RuntimeError):
    """Why there is no job server; the message says what to do."""


def missing_tools() -> list[str]:
    """What the build needs and this machine lacks: java, mvn."""
    return [name for name in ("java", "mvn") if shutil.which(name) is None]


def job_server_jar() -> Path:
    """The jar; built where it is not there yet.

    Raises:
      CannotBuild: Java or Maven is missing, or Maven failed.
    """
    pom = (HERE / "pom.xml").read_bytes()
    jar = CACHE / f"job-server-{hashlib.sha256(pom).hexdigest()[:16]}.jar"
    if jar.exists():
        return jar
    if missing := missing_tools():
        raise CannotBuild(
            f"{' and '.join(missing)} not found: the job server is built with Maven (3.6 or later) "
            "and a Java 11 or 17; install them (Debian: maven, openjdk-17-jdk-headless)"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    # Beside the jar, so that it appears there whole.
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        (Path(folder) / "pom.xml").write_bytes(pom)
        done = subprocess.run(
            ["mvn", "--quiet", "--batch-mode", "package"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CannotBuild(f"Maven could not build the job server:\n{done.stdout[-3000:]}")
        (built,) = Path(folder).glob("target/flink-job-server-*.jar")
        built.rename(jar)
    return jar


def main() -> int:
    """Prints the path."""
    print("building Beam's job server for Flink; the first time takes minutes", file=sys.stderr)
    try:
        print(job_server_jar())
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
