"""Builds the container image, and pushes it where one is told to: `make image`.

    python3 -m deploy.build_image [--push REGISTRY/PATH] [--allow-dirty] [--builder NAME] ...

Docker (with BuildKit), Podman and Buildah can build it; the first that answers does. The image is
called `pointnet-parts:<version>-<commit>`, so that a name always means the same image: a folder
with changes that no commit holds is refused, or, with --allow-dirty, marked in the name.

Environment variables: `GPU=0` leaves the CUDA libraries out and adds `-cpu` to the name. A package
index, a Go proxy and a certificate file that pip, uv or Go are told of out here (`PIP_INDEX_URL`,
`UV_DEFAULT_INDEX`, `GOPROXY`, `PIP_CERT`, `SSL_CERT_FILE`) are passed on to the build; none of them
is in the image.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
NAME = "pointnet-parts"

# What is asked of each builder to see whether it works, best first.
BUILDERS = {
    "docker": [
        ["docker", "version", "--format", "{{.Server.Version}}"],
        ["docker", "buildx", "version"],
    ],
    "podman": [["podman", "info"]],
    "buildah": [["buildah", "info"]],
}

PASSED_ON = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "GOPROXY")
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

# A registry's host and a path in it, as the builders take them: no scheme, no tag, no capitals.
REGISTRY = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")


class ImageProblem(Exception):
    """Something that the user has to change; its text says what, and how."""


@dataclass(frozen=True)
class Source:
    """What the image is made of."""

    version: str
    commit: str  # "unknown" where there is no git checkout
    changed: List[str]  # files that differ from the commit

    def tag(self, gpu: bool, allow_dirty: bool) -> str:
        """The image's tag.

        Raises:
            ImageProblem: The files are not those of a commit, and nobody said that this will do.
        """
        if self.changed and not allow_dirty:
            some = ", ".join(self.changed[:5]) + (", ..." if len(self.changed) > 5 else "")
            raise ImageProblem(
                f"{len(self.changed)} files differ from commit {self.commit[:12]} ({some}): "
                "commit or remove them, so that the image's name says what is in it, or give "
                "--allow-dirty."
            )
        if self.commit == "unknown" and not allow_dirty:
            raise ImageProblem(
                f"{ROOT} is no git checkout, so the image's name cannot say which commit is in it: "
                "clone the repository, or give --allow-dirty."
            )
        tag = f"{self.version}-{self.commit[:12]}"
        return tag + ("-dirty" if self.changed else "") + ("" if gpu else "-cpu")


def answer(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Runs a command for what it says."""
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, universal_newlines=True, check=False,
    )  # fmt: skip


def look_at_source() -> Source:
    """The version in setup.py, the commit, and what differs from it."""
    found = re.search(r'^ *version="([^"]+)"', (ROOT / "setup.py").read_text(), flags=re.MULTILINE)
    if found is None:
        raise ImageProblem(f"{ROOT / 'setup.py'} names no version.")
    commit = answer(["git", "rev-parse", "HEAD"]) if shutil.which("git") else None
    if commit is None or commit.returncode != 0:
        return Source(found.group(1), "unknown", [])
    status = answer(["git", "status", "--porcelain"]).stdout.splitlines()
    return Source(found.group(1), commit.stdout.strip(), [line[3:] for line in status])


def why_not(builder: str) -> Optional[str]:
    """The reason why a builder cannot be used here; None where it can."""
    if shutil.which(builder) is None:
        return "not installed"
    for question in BUILDERS[builder]:
        said = answer(question)
        if said.returncode != 0:
            lines = (said.stderr or said.stdout).strip().splitlines()
            return f"`{' '.join(question)}` fails: {lines[-1] if lines else 'it says nothing'}"
    return None


def choose_builder(wanted: Optional[str]) -> str:
    """The named builder, or the first that works.

    Raises:
        ImageProblem: None works; the text has each one's reason.
    """
    reasons = []
    for builder in [wanted] if wanted else BUILDERS:
        reason = why_not(builder)
        if reason is None:
            return builder
        reasons.append(f"{builder}: {reason}")
    lines = "\n  ".join(reasons)
    raise ImageProblem(
        "No image can be built here. Needed is Docker with its daemon running and the buildx "
        f"plugin, Podman, or Buildah:\n  {lines}"
    )


def checked_registry(text: str) -> str:
    """A registry's host and path, without a slash at its end.

    Raises:
        ImageProblem: It is not of that form.
    """
    registry = text.rstrip("/")
    if not REGISTRY.fullmatch(registry):
        raise ImageProblem(
            f"--push {text} is not a registry's host and path: expected something like "
            "europe-west4-docker.pkg.dev/my-project/my-repository, without https://, without a tag "
            "and in small letters."
        )
    return registry


def build_arguments(
    source: Source, gpu: bool, base: Optional[str], environ: Mapping[str, str]
) -> List[str]:
    """What every builder's `build` is told besides the image's name."""
    arguments = {"GPU": "1" if gpu else "0", "VERSION": source.version, "REVISION": source.commit}
    if base:
        arguments["BASE"] = base
    words = []
    for name, value in arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    for name in PASSED_ON:
        if environ.get(name):
            # By name alone: the address may hold a password, and command lines are seen by all.
            words += ["--build-arg", name]
    certificates = next((environ[name] for name in CERTIFICATES if environ.get(name)), None)
    if certificates:
        if not Path(certificates).is_file():
            raise ImageProblem(
                f"{certificates}, which the environment names for certificates, is no file."
            )
        words += ["--secret", f"id=certificates,src={certificates}"]
    return words


def build_command(builder: str, image: str, arguments: Sequence[str]) -> List[str]:
    """The command that builds the image and keeps it in the builder's own store."""
    start = {
        "docker": ["docker", "buildx", "build", "--load"],
        "podman": ["podman", "build"],
        "buildah": ["buildah", "build"],
    }[builder]
    return [*start, "--file", str(DOCKERFILE), "--tag", image, *arguments, str(ROOT)]


def run(command: Sequence[str], failure: str) -> None:
    """Runs a step, its output going where ours goes."""
    print("$", *command, flush=True)
    if subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise ImageProblem(failure)


def push(builder: str, image: str, registry: str) -> str:
    """Pushes an image; gives its name by digest, which a pipeline should be told."""
    remote = f"{registry}/{image}"
    repository = remote.rpartition(":")[0]
    run([builder, "tag", image, remote], f"{image} could not be named {remote}.")
    host = registry.split("/")[0]
    failure = (
        f"{remote} could not be pushed (the reason stands above). Logged in? `{builder} login "
        f"{host}`, or for Google's Artifact Registry `gcloud auth configure-docker {host}`."
    )
    if builder == "docker":
        run(["docker", "push", remote], failure)
        words = ["docker", "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', remote]
        digests = answer(words).stdout.split()
        return next((name for name in digests if name.startswith(repository + "@")), remote)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digest"
        run([builder, "push", "--digestfile", str(file), remote], failure)
        return f"{repository}@{file.read_text().strip()}"


def size(builder: str, image: str) -> str:
    """The image's size on disk, in the builder's own words."""
    if builder == "buildah":
        return answer(["buildah", "images", "--format", "{{.Size}}", image]).stdout.strip()
    said = answer([builder, "image", "inspect", "--format", "{{.Size}}", image]).stdout.strip()
    return f"{int(said) / 1e9:.2f} GB" if said.isdigit() else said


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="make image, or python3 -m deploy.build_image",
        description="Builds the pipeline's container image.",
    )
    parser.add_argument("--push", default="", metavar="REGISTRY/PATH", help="push it there too")
    parser.add_argument("--allow-dirty", action="store_true", help="build what no commit holds")
    parser.add_argument("--builder", choices=list(BUILDERS), help="default: the first that works")
    parser.add_argument("--base", help="another base image, such as a mirror's copy of the same")
    return parser.parse_args(arguments)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Builds and pushes; a problem is told in a sentence, not in a traceback."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    gpu = os.environ.get("GPU") != "0"
    try:
        registry = checked_registry(options.push) if options.push else None
        source = look_at_source()
        image = f"{NAME}:{source.tag(gpu, options.allow_dirty)}"
        told = build_arguments(source, gpu, options.base, os.environ)
        builder = choose_builder(options.builder)
        run(
            build_command(builder, image, told),
            f"{image} could not be built (the reason stands above).",
        )
        print(f"built {image}, {size(builder, image)}")
        if registry:
            print(f"pushed {push(builder, image, registry)}")
    except ImageProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from what the builder kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
