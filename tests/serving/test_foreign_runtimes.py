"""The pushed model in runtimes that nobody here wrote, each in a process without our code.

TensorFlow for Java is the C++ loader that TensorFlow Serving uses, without Python; OpenVINO is an
independent implementation of the operations.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.export.signatures import PARTS_ASSET, export
from preprocessing.conversion.records import to_example
from schema.record import Cloud
from tests.fetching import fetched_and_built
from tests.model.export.made_network import MUG, ROCKET, cloud, make_network

JAVA = Path(__file__).parent / "java"
# The TensorFlow in Java's package; another version's kernels may differ in the last bits.
JAVAS_TENSORFLOW = "2.16"
HERE_IS_LINUX = sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.fixture(scope="module", params=[(ROCKET,), (MUG, ROCKET)], ids=["one", "several"])
def model(request, tmp_path_factory):
    """An exported model: its folder, its categories, and itself as Python loads it."""
    categories = request.param
    folder = tmp_path_factory.mktemp("foreign") / "model"
    network = make_network(sum(len(c.parts) for c in categories), len(categories))
    export(network, categories, str(folder))
    return folder, categories, tf.saved_model.load(str(folder))


def requests(categories):
    """Requests to every signature, by name; two of them cannot be answered."""
    sizes = np.array([60, 25, 1], np.int64)
    padded = np.full((3, 60, 3), 7.5, np.float32)
    for row, size in zip(padded, sizes, strict=True):
        row[:size] = cloud(int(size), seed=int(size))
    labels = np.resize([0, 1, -1], 60)
    records = [
        Cloud(f"shape {i}", categories[-1].name, row[:size], labels[:size])
        for i, (row, size) in enumerate(zip(padded, sizes, strict=True))
    ]
    examples = np.array([to_example(record) for record in records], object)
    last = np.full(3, len(categories) - 1, np.int64)
    category = {"category": last} if len(categories) > 1 else {}
    small = {name: value[:1] for name, value in category.items()}
    bad = padded[:1].copy()
    bad[0, 5] = np.nan
    return {
        "default": ("serving_default", {"points": padded, **category}),
        "one_point": ("serving_default", {"points": padded[:1, :1], **small}),
        "padded": ("serve_padded", {"points": padded, "num_points": sizes, **category}),
        "examples": ("serve_examples", {"examples": examples}),
        "evaluate": ("evaluate", {"examples": examples}),
        "error_nan": ("serving_default", {"points": bad, **small}),
        "error_four": ("serving_default", {"points": np.zeros((1, 5, 4), np.float32), **small}),
    }


def pythons_answer(loaded, signature, inputs):
    arguments = {name: tf.constant(value) for name, value in inputs.items()}
    return {name: v.numpy() for name, v in loaded.signatures[signature](**arguments).items()}


@pytest.fixture(scope="module")
def java_program(tmp_path_factory):
    """Java's command line for the program in `java/`, compiled."""
    if not HERE_IS_LINUX:
        pytest.skip("TensorFlow for Java is fetched for Linux on x86-64 only")
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: no TensorFlow for Java")
    folder = tmp_path_factory.mktemp("java")
    project = shutil.copytree(JAVA, folder / "project")

    def build():
        words = ["mvn", "-q", "-B", "package", "dependency:copy-dependencies"]
        done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stdout)

    fetched_and_built(build)
    (program,) = project.glob("target/*.jar")
    libraries = [program, *project.glob("target/dependency/*.jar")]
    cache = f"-Dorg.bytedeco.javacpp.cachedir={folder / 'cache'}"
    yield ["java", cache, "-cp", ":".join(map(str, libraries)), "AnswerRequests"]
    shutil.rmtree(folder)  # the libraries, 800 MB unpacked


def write_request(folder, signature, inputs):
    folder.mkdir(parents=True)
    (folder / "signature").write_text(signature)
    for name, value in inputs.items():
        shape = "x".join(map(str, value.shape))
        if value.dtype == object:
            content = b"".join(len(one).to_bytes(8, "little") + one for one in value)
            (folder / f"{name}.string.{shape}").write_bytes(content)
        else:
            (folder / f"{name}.{value.dtype}.{shape}").write_bytes(value.tobytes())


def read_answer(folder):
    found = {}
    for path in folder.iterdir():
        name, dtype, shape = path.name.split(".")
        found[name] = np.fromfile(path, dtype).reshape([int(size) for size in shape.split("x")])
    return found


@pytest.mark.slow
def test_java_answers_every_signature_as_python_does(model, java_program, tmp_path):
    folder, categories, loaded = model
    asked = requests(categories)
    for name, (signature, inputs) in asked.items():
        write_request(tmp_path / "requests" / name, signature, inputs)
    done = subprocess.run(
        [*java_program, str(folder), str(tmp_path / "requests"), str(tmp_path / "answers")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, (signature, inputs) in asked.items():
        answer = tmp_path / "answers" / name
        if name.startswith("error"):
            assert (answer / "error").exists(), f"{name} was answered"
            continue
        found, expected = read_answer(answer), pythons_answer(loaded, signature, inputs)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if tf.__version__.startswith(JAVAS_TENSORFLOW) or value.dtype != np.float32:
                np.testing.assert_array_equal(found[key], value, err_msg=f"{name}: {key}")
            else:
                np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=f"{name}: {key}")
    said = (tmp_path / "answers" / "error_nan" / "error").read_text()
    assert "points: NaN or infinity among the coordinates" in said


OPENVINO = """
import json, sys
import numpy as np, openvino
core = openvino.Core()
model = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
inputs = dict(np.load(sys.argv[2]))
found = model(inputs)
np.savez(sys.argv[3], **{next(iter(out.names)): found[out] for out in model.outputs})
ours = {"schema", "preprocessing", "model", "components", "tensorflow"} & set(sys.modules)
print(json.dumps(sorted(ours)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "one_point"])
def test_openvino_answers_as_python_does(model, name, tmp_path):
    folder, categories, loaded = model
    signature, inputs = requests(categories)[name]
    np.savez(tmp_path / "inputs.npz", **inputs)
    files = [str(folder), str(tmp_path / "inputs.npz"), str(tmp_path / "answer.npz")]
    done = subprocess.run(
        [sys.executable, "-c", OPENVINO, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
    expected = pythons_answer(loaded, signature, inputs)
    with np.load(tmp_path / "answer.npz", allow_pickle=False) as found:
        assert set(found.files) == expected.keys()
        np.testing.assert_allclose(found["probability"], expected["probability"], atol=1e-5)
        np.testing.assert_array_equal(found["part"], expected["part"])


def test_the_parts_asset_is_plain_json(model):
    folder, categories, _ = model
    about = json.loads((folder / "assets" / PARTS_ASSET).read_text("utf-8"))
    assert [category["name"] for category in about["categories"]] == [c.name for c in categories]
