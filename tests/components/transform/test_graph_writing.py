"""A job that is started again writes its graph where the attempt before wrote one."""

from __future__ import annotations

from contextlib import nullcontext

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from components.transform.executor import Executor, executor
from components.transform.graph_writing import WriteTransformFn
from preprocessing.conversion.beam_options import IN_PROCESS

SPEC = {"x": tf.io.FixedLenFeature([], tf.float32)}
METADATA = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(SPEC))


def write(path, temporary, numbers, transform):
    """Analyses numbers, and writes the graph that takes their mean away."""

    def preprocessing_fn(inputs):
        return {"x": inputs["x"] - tft.mean(inputs["x"])}

    with (
        beam.Pipeline(options=PipelineOptions(list(IN_PROCESS))) as pipeline,
        tft_beam.Context(temp_dir=str(temporary)),
    ):
        data = pipeline | beam.Create([{"x": number} for number in numbers])
        found = (data, METADATA) | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = found | transform(str(path))


def shifted(path, number):
    """What the written graph makes of a number."""
    layer = tft.TFTransformOutput(str(path)).transform_features_layer()
    return layer({"x": tf.constant([number], tf.float32)})["x"].numpy().tolist()


def test_the_last_attempts_graph_is_the_one_that_counts(tmp_path):
    path = tmp_path / "graph"
    write(path, tmp_path / "temporary", [1.0, 3.0], WriteTransformFn)
    assert shifted(path, 5.0) == [3.0]
    (path / "metadata").mkdir()
    write(path, tmp_path / "temporary", [2.0, 6.0], WriteTransformFn)
    assert shifted(path, 5.0) == [1.0]
    assert sorted(folder.name for folder in path.iterdir()) == [
        "metadata",
        "transform_fn",
        "transformed_metadata",
    ]


def test_tensorflow_transforms_own_fails_there_on_the_older_stack(tmp_path):
    """Where no locked stack's does any more, ours is not needed."""
    path = tmp_path / "graph"
    write(path, tmp_path / "temporary", [1.0, 3.0], tft_beam.WriteTransformFn)
    older = tft.__version__.startswith("1.16.")
    with pytest.raises(RuntimeError, match="not empty") if older else nullcontext():
        write(path, tmp_path / "temporary", [2.0, 6.0], tft_beam.WriteTransformFn)


def test_the_executor_writes_by_ours_and_leaves_the_library_as_it_was(monkeypatch):
    used = []
    monkeypatch.setattr(
        executor.Executor, "Do", lambda *_: used.append(executor.tft_beam.WriteTransformFn)
    )
    before = tft_beam.WriteTransformFn
    Executor().Do({}, {}, {})
    assert used == [WriteTransformFn]
    assert tft_beam.WriteTransformFn is before
