"""ImportExampleGen for converted data: it reads the version that the manifest names.

A conversion writes `<data>/<version>/<split>/part-*.tfrecord.gz` and `<data>/manifest.json` last.
A conversion that was killed may leave the folder of another version, which no run may read.
"""

import os
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import v1 as tfx
from tfx.components.example_gen.import_example_gen import executor as import_example_gen
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import standard_component_specs

from preprocessing.conversion.manifest import MANIFEST, Manifest
from preprocessing.conversion.records import SUFFIX

_ANY_VERSION = "*"


def split_pattern(split: str, folder: str = "") -> str:
    """TFX's pattern of a split's record files, of any version.

    Args:
      split: the split's name.
      folder: folder of the data set below ExampleGen's input_base, such as "span-{SPAN}".
    """
    return os.path.join(folder, _ANY_VERSION, split, f"*{SUFFIX}")


def in_published_version(input_base: str, pattern: str) -> str:
    """A pattern of `split_pattern` with the version that the data set's manifest names.

    Raises:
      UserError: there is no manifest, or it cannot be read.
    """
    folder = pattern.partition(_ANY_VERSION)[0]
    file = os.path.join(input_base, folder, MANIFEST)
    with fileio.open(file) as opened:
        manifest = Manifest.from_text(opened.read(), file)
    return pattern.replace(_ANY_VERSION, manifest.version, 1)


class Executor(import_example_gen.Executor):
    """Reads one version of the data set."""

    def GetInputSourceToExamplePTransform(self) -> Any:
        """The transform that reads a split; see TFX's BaseExampleGenExecutor."""
        read_pattern: Any = super().GetInputSourceToExamplePTransform()

        @beam.ptransform_fn
        @beam.typehints.with_input_types(beam.Pipeline)
        @beam.typehints.with_output_types(tf.train.Example)
        def ReadDataSet(
            pipeline: beam.Pipeline, exec_properties: dict[str, Any], pattern: str
        ) -> beam.PCollection:
            base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
            return pipeline | read_pattern(exec_properties, in_published_version(base, pattern))

        return ReadDataSet


class ConvertedExampleGen(tfx.components.ImportExampleGen):
    """ImportExampleGen whose splits are patterns of `split_pattern`."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
