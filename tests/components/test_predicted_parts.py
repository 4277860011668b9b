"""Hand-made inference results become files and Examples."""

import csv
import io
import json

import numpy as np
import pytest
import tensorflow as tf
import trimesh
from tensorflow_serving.apis import prediction_log_pb2
from tfx.components.util import examples_utils
from tfx.types import artifact_utils, standard_artifacts

from components.artifacts import PredictedPartsFiles, categories_json
from components.predicted_parts import PredictedParts_Executor, read_prediction
from preprocessing.conversion.records import from_example, to_example
from schema.categories import Category
from schema.record import Cloud

TOOL = Category("Tool", "01", ("head", "handle"))


def cloud(shape_id, size):
    rng = np.random.default_rng(size)
    return Cloud(shape_id, "Tool", rng.normal(size=(size, 3)).astype(np.float32))


def prediction_log(record, parts, probability):
    """What BulkInferrer writes of one cloud: every output with a leading dimension of 1."""
    log = prediction_log_pb2.PredictionLog()
    example = tf.make_tensor_proto([to_example(record)])
    log.predict_log.request.inputs["examples"].CopyFrom(example)
    outputs = log.predict_log.response.outputs
    outputs["part"].CopyFrom(tf.make_tensor_proto([parts], tf.int64))
    outputs["probability"].CopyFrom(tf.make_tensor_proto([probability], tf.float32))
    outputs["num_points"].CopyFrom(tf.make_tensor_proto([len(record.points)], tf.int64))
    return log.SerializeToString()


# The first is padded by two rows; the second has a point without an answer.
FIRST = prediction_log(
    cloud("shape_2", 3),
    [0, 1, 1, -1, -1],
    [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0, 0], [0, 0]],
)
SECOND = prediction_log(cloud("../shape/1", 2), [1, -1], [[0.4, 0.6], [np.nan, np.nan]])


def run(folder, logs, refused=()):
    """Runs the component; returns the folder of files and the Examples."""
    results = standard_artifacts.InferenceResult()
    results.uri = str(folder / "results")
    (folder / "results").mkdir(parents=True)
    if logs:
        file = str(folder / "results" / "prediction_logs-00000-of-00001.gz")
        with tf.io.TFRecordWriter(file, "GZIP") as writer:
            for log in logs:
                writer.write(log)
    (folder / "results" / "refused-00000-of-00001.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in refused)
    )
    files, examples = PredictedPartsFiles(), standard_artifacts.Examples()
    files.uri, examples.uri = str(folder / "files"), str(folder / "examples")
    PredictedParts_Executor().Do(
        {"inference_result": [results]},
        {"predicted_parts": [files], "predicted_examples": [examples]},
        {"categories": categories_json([TOOL]), "code_fingerprint": ""},
    )
    return folder / "files", examples


def test_padding_is_cut_and_the_answered_parts_probability_is_kept():
    for log, parts, probability in (
        (FIRST, [0, 1, 1], [0.9, 0.8, 0.7]),
        (SECOND, [1, -1], [0.6, 0.0]),
    ):
        _, _, answered, best = read_prediction(log)
        assert answered.tolist() == parts
        np.testing.assert_allclose(best, probability, rtol=1e-6)


def test_an_answer_that_is_too_short_is_an_error():
    with pytest.raises(ValueError, match="shape_2: 2 of 3 points"):
        read_prediction(prediction_log(cloud("shape_2", 3), [0, 1], [[0.9, 0.1], [0.2, 0.8]]))


def test_each_cloud_becomes_a_ply_a_labels_file_a_row_and_an_example(tmp_path):
    refused = {"shape_id": "large", "category": "Tool", "points": 9, "reason": "too many, [9]"}
    files, examples = run(tmp_path, [FIRST, SECOND], [refused])
    stems = ("shape_2", "%2E.%2Fshape%2F1")
    assert {path.name for path in files.iterdir()} == {
        "clouds.csv",
        *(stem + ending for stem in stems for ending in (".ply", ".labels")),
    }
    assert (files / "shape_2.labels").read_text() == "0\n1\n1\n"
    read = trimesh.load(io.BytesIO((files / "shape_2.ply").read_bytes()), file_type="ply")
    np.testing.assert_array_equal(np.asarray(read.vertices, np.float32), cloud("shape_2", 3).points)
    with (files / "clouds.csv").open(newline="") as table:
        rows = list(csv.reader(table))
    assert rows == [
        ["shape_id", "category", "points", "unanswered", "mean_probability", "file", "reason"],
        ["../shape/1", "Tool", "2", "1", "0.6000", "%2E.%2Fshape%2F1.ply", ""],
        ["large", "Tool", "9", "", "", "", "too many, [9]"],
        ["shape_2", "Tool", "3", "0", "0.8000", "shape_2.ply", ""],
    ]
    assert artifact_utils.decode_split_names(examples.split_names) == ["unlabelled"]
    assert examples_utils.get_payload_format_string(examples) == "FORMAT_TF_EXAMPLE"
    (split,) = (tmp_path / "examples" / "Split-unlabelled").iterdir()
    written = list(tf.data.TFRecordDataset(str(split), "GZIP").as_numpy_iterator())
    records = [from_example(example) for example in written]
    assert [record.shape_id for record in records] == ["shape_2", "../shape/1"]
    # A prediction is no label.
    assert all(record.labels is None for record in records)
    np.testing.assert_array_equal(records[0].points, cloud("shape_2", 3).points)
    feature = tf.train.Example.FromString(written[0]).features.feature
    assert feature["predicted_part"].int64_list.value == [0, 1, 1]
    np.testing.assert_allclose(feature["probability"].float_list.value, [0.9, 0.8, 0.7], rtol=1e-6)


def test_a_model_that_was_not_blessed_predicts_nothing(tmp_path):
    files, _ = run(tmp_path, [])
    assert [path.name for path in files.iterdir()] == ["clouds.csv"]
    assert len((files / "clouds.csv").read_text().splitlines()) == 1
    (split,) = (tmp_path / "examples" / "Split-unlabelled").iterdir()
    assert list(tf.data.TFRecordDataset(str(split), "GZIP").as_numpy_iterator()) == []
