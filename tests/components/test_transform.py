"""A job that is started again writes its graph where the attempt before wrote one."""

from contextlib import nullcontext

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from components.transform import WriteTransformFn
from preprocessing.conversion.beam_options import IN_PROCESS

SPEC = {"x": tf.io.FixedLenFeature([], tf.float32)}
METADATA = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(SPEC))


def write(folder, numbers, transform):
    """Analyses numbers, and writes the graph that subtracts their mean."""

    def preprocessing_fn(inputs):
        return {"x": inputs["x"] - tft.mean(inputs["x"])}

    with (
        beam.Pipeline(options=PipelineOptions(list(IN_PROCESS))) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temporary")),
    ):
        data = pipeline | beam.Create([{"x": number} for number in numbers])
        analysed = (data, METADATA) | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = analysed | transform(str(folder / "graph"))


def test_the_last_attempts_graph_counts(tmp_path):
    (tmp_path / "graph" / "metadata").mkdir(parents=True)
    for numbers, expected in (([1.0, 3.0], 3.0), ([2.0, 6.0], 1.0)):
        write(tmp_path, numbers, WriteTransformFn)
        layer = tft.TFTransformOutput(str(tmp_path / "graph")).transform_features_layer()
        assert layer({"x": tf.constant([5.0])})["x"].numpy().tolist() == [expected]
    assert {path.name for path in (tmp_path / "graph").iterdir()} == {
        "metadata",
        "transform_fn",
        "transformed_metadata",
    }


def test_tensorflow_transforms_own_fails_there_on_the_older_stack(tmp_path):
    """As soon as no locked stack's does, ours is not needed."""
    write(tmp_path, [1.0, 3.0], tft_beam.WriteTransformFn)
    older = tft.__version__.startswith("1.16.")
    with pytest.raises(RuntimeError, match="not empty") if older else nullcontext():
        write(tmp_path, [2.0, 6.0], tft_beam.WriteTransformFn)
