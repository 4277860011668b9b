"""The container image, built for real and tried as its ordinary user: `make test-image`.

Docker is not needed, nor any registry: Debian's Buildah builds deploy/Dockerfile, with the program
of `make image`, on a Debian 13 base that debootstrap makes, without the CUDA libraries.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from deploy import build_image
from requirements import environment
from requirements import newest_on_debian12 as newest
from requirements.environment import CACHE, NEWEST, ROOT

pytestmark = pytest.mark.slow

BASE = "localhost/debian:trixie"
STORE = CACHE / "image-store"


def why_not():
    """Why the image is not built in these tests; None where it is."""
    if not os.environ.get("POINTNET_TEST_IMAGE"):
        return "it takes minutes; `make test-image` builds the image and tries it"
    if shutil.which("buildah") is None:
        return "there is no buildah (sudo apt-get install --no-install-recommends buildah)"
    return newest.why_not(
        os.geteuid() == 0, shutil.which("debootstrap") is not None, newest.may_unshare()
    )


def run(words, **options):
    """Runs a command and gives what it printed on standard output; it must succeed."""
    said = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert said.returncode == 0, f"{words}\n{said.stdout}\n{said.stderr}"
    return said.stdout


class Buildah:
    """Buildah with a store of its own, which is gone with the tests."""

    def __init__(self):
        STORE.mkdir(parents=True, exist_ok=True)
        settings = STORE / "storage.conf"
        settings.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{STORE}/images"\n'
            f'runroot = "{STORE}/run"\n'
        )
        # Steps run in a plain chroot, which also a container of ours permits.
        self.environ = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(settings),
            "BUILDAH_ISOLATION": "chroot",
            "GPU": "0",
        }

    def __call__(self, *words):
        return run(["buildah", *words], env=self.environ).strip()

    def import_base(self):
        """Makes the base image out of a Debian tree."""
        tree = CACHE / "image-base"
        newest.make_tree(tree, [])
        for left_over in (tree / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            left_over.unlink()
        container = self("from", "scratch")
        self("add", container, str(tree), "/")
        self("commit", "--rm", container, BASE)

    def remove_all(self):
        """Removes the store and what is mounted in it."""
        subprocess.run(["buildah", "rm", "--all"], env=self.environ, check=False)
        subprocess.run(["buildah", "rmi", "--all", "--force"], env=self.environ, check=False)
        shutil.rmtree(STORE, ignore_errors=True)


class Container:
    """A container of the image."""

    def __init__(self, buildah, image):
        self.buildah = buildah
        self.image = image
        self.name = buildah("from", image)

    def __call__(self, *words):
        """Runs a command in it, as the image's own user and with its environment."""
        return self.buildah("run", self.name, "--", *words)

    def python(self, code):
        """Runs a program in it."""
        return self("python", "-c", textwrap.dedent(code))

    def fails(self, *words):
        """What a command that fails says."""
        said = subprocess.run(
            ["buildah", "run", self.name, "--", *words],
            env=self.buildah.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert said.returncode != 0
        return said.stdout + said.stderr


@pytest.fixture(scope="module")
def container():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    buildah = Buildah()
    try:
        buildah.import_base()
        program = [sys.executable, "-m", "deploy.build_image", "--builder", "buildah"]
        said = run(
            [*program, "--base", BASE, "--allow-dirty"], cwd=ROOT, env=buildah.environ
        ).splitlines()[-1]
        print(said)
        yield Container(buildah, said.split()[1].rstrip(","))
    finally:
        buildah.remove_all()


def test_it_is_an_ordinary_users_and_says_where_it_comes_from(container):
    image = json.loads(container.buildah("inspect", "--type", "image", container.image))
    config = image["OCIv1"]["config"]
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["/opt/apache/beam/boot"]
    assert config["WorkingDir"] == "/home/pointnet"
    source = build_image.look_at_source()
    assert config["Labels"]["org.opencontainers.image.version"] == source.version
    assert config["Labels"]["org.opencontainers.image.revision"] == source.commit
    assert container("id", "--user", "--name") == "pointnet"


def test_the_newest_stack_and_every_room_can_be_imported(container):
    said = container.python(
        """
        import importlib, pathlib, sys
        import tensorflow as tf
        from tfx import v1 as tfx
        from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
        home = pathlib.Path("/opt/pointnet-parts")
        for room in ("schema", "preprocessing", "model", "components", "pipeline", "serving"):
            for file in sorted((home / room).rglob("*.py")):
                name = ".".join(file.relative_to(home).with_suffix("").parts)
                importlib.import_module(name.removesuffix(".__init__"))
        print(*sys.version_info[:2], tfx.__version__, (home / "schema/schema.pbtxt").is_file())
        """
    )
    assert said.splitlines()[-1].split()[:2] == ["3", "13"]
    assert said.split()[-2].startswith(NEWEST.tfx)
    assert said.split()[-1] == "True"


def test_the_commands_of_a_cluster_are_there(container):
    assert "convert" in container("pointnet-parts", "--help")
    executor = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
    assert "--executor_class_path" in container("python", "-m", executor, "--help")
    assert "No id provided" in container.fails("/opt/apache/beam/boot")


def test_made_up_shapes_are_converted(container):
    container(
        "pointnet-parts", "demo-data", "/tmp/shapes", "--category", "Airplane", "--shapes", "12"
    )
    container("pointnet-parts", "convert", "/tmp/shapes", "/tmp/data")
    manifest = json.loads(container("cat", "/tmp/data/manifest.json"))
    assert sum(count["shapes"] for count in manifest["counts"]) == 12


def test_beams_boot_program_starts_the_worker_of_a_pipeline(container):
    """The container's other way of working: a pool of workers beside a Flink TaskManager."""
    said = container.python(
        """
        import os, pathlib, signal, socket, subprocess, time
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        def parent(number):
            import os, pathlib
            import preprocessing.convert
            return f"{number} {pathlib.Path(f'/proc/{os.getppid()}/comm').read_text().strip()}"

        options = PipelineOptions([
            "--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL",
            "--environment_config=localhost:50000",
        ])
        # Nobody resolves the name that Buildah gives this machine.
        socket.getfqdn = lambda *_: "localhost"
        pool = subprocess.Popen(["/opt/apache/beam/boot", "--worker_pool"], start_new_session=True)
        try:
            while pool.poll() is None and socket.socket().connect_ex(("localhost", 50000)):
                time.sleep(0.2)
            with beam.Pipeline(options=options) as job:
                rows = job | beam.Create([1, 2]) | beam.Map(parent)
                rows | beam.io.WriteToText("/tmp/parents")
        finally:
            os.killpg(pool.pid, signal.SIGTERM)
        texts = [file.read_text() for file in pathlib.Path("/tmp").glob("parents*")]
        print(*sorted("".join(texts).split()))
        """
    )
    assert said.splitlines()[-1] == "1 2 boot boot"


def test_no_library_is_missing(container):
    said = container(
        "sh", "-c", "find /opt/venv -name '*.so*' -type f -exec ldd {} + 2>/dev/null; true"
    )
    missing = set(re.findall(r"(\S+) => not found", said))
    # A wheel's own libraries find each other when the module beside them is loaded.
    own = container("find", "/opt/venv", "-name", "*.so*", "-type", "f", "-printf", "%f\\n").split()
    assert own
    assert missing - set(own) == set()


def test_no_compiler_is_left_in_it(container):
    names = "gcc g++ cc c++ cpp ld as go make git pytest mypy uv"
    assert container("sh", "-c", f"for n in {names}; do command -v $n; done; true") == ""
    assert container("find", "/usr", "-name", "Python.h") == ""


def test_its_user_may_write_only_where_one_expects_it(container):
    script = (
        "find / -xdev -not -type l -writable -not -path '/proc/*' -not -path '/sys/*' 2>/dev/null"
    )
    writable = container("sh", "-c", script + " || true").splitlines()
    places = ("/tmp", "/var/tmp", "/run/lock", "/home/pointnet", "/dev")
    assert [path for path in writable if not path.startswith(places)] == []


def test_it_is_no_larger_than_the_documentation_says(container):
    used = container("du", "-xsb", "/opt/venv", "/opt/apache", "/opt/pointnet-parts")
    sizes = {line.split()[1]: int(line.split()[0]) / 1e9 for line in used.splitlines()}
    print(sizes)
    assert sizes["/opt/venv"] < 4
    assert sizes["/opt/apache"] + sizes["/opt/pointnet-parts"] < 0.03


def test_the_cuda_libraries_could_be_had(container, tmp_path):
    """Without fetching their 3 GB: every one of them, by its hash, for the image's Python."""
    with environment.only_one(CACHE / "environment.lock") as held:
        uv = environment.ensure_uv(os.environ, held)
    words = [
        uv, "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--target", tmp_path,
        "--python-version", "3.13", "--python-platform", newest.PYTHON_PLATFORM,
        "-r", NEWEST.cuda_lock,
    ]  # fmt: skip
    said = subprocess.run(
        words, env=environment.uv_environment(os.environ), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "nvidia-cublas" in said.stderr
