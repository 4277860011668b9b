"""ExampleGen on converted data: the version that the manifest names, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf
from tfx import v1 as tfx

from components.example_gen import ConvertedExampleGen, in_published_version, split_pattern
from preprocessing.conversion.beam_options import IN_PROCESS
from preprocessing.conversion.manifest import MANIFEST, Manifest
from preprocessing.conversion.records import Writer, to_example
from schema.errors import UserError
from schema.record import Cloud


def write_version(folder, version, *shapes):
    file = folder / version / "train" / "part-00000-of-00001.tfrecord.gz"
    file.parent.mkdir(parents=True)
    with file.open("wb") as opened:
        writer = Writer(opened)
        for shape in shapes:
            writer.write(to_example(Cloud(shape, "Mug", np.ones((4, 3)), np.zeros(4, np.int64))))
        writer.close()


def write_manifest(folder, fingerprint):
    manifest = Manifest("", "", fingerprint, {}, (), (), (), ())
    (folder / MANIFEST).write_text(manifest.to_text())
    return manifest.version


@pytest.fixture
def data(tmp_path):
    """A data set of span 3, beside the leftover of a conversion that was killed."""
    folder = tmp_path / "data" / "span-3"
    folder.mkdir(parents=True)
    version = write_manifest(folder, "a" * 64)
    write_version(folder, version, "one", "two")
    write_version(folder, "b" * 16, "leftover")
    return tmp_path / "data"


def test_only_the_published_version_is_read(data, tmp_path):
    example_gen = ConvertedExampleGen(
        input_base=str(data),
        input_config=tfx.proto.Input(
            splits=[
                tfx.proto.Input.Split(name="train", pattern=split_pattern("train", "span-{SPAN}"))
            ]
        ),
        output_config=tfx.proto.Output(
            split_config=tfx.proto.SplitConfig(
                splits=[tfx.proto.SplitConfig.Split(name="train", hash_buckets=1)]
            )
        ),
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="ingest",
            pipeline_root=str(tmp_path / "root"),
            components=[example_gen],
            beam_pipeline_args=list(IN_PROCESS),
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(tmp_path / "metadata.sqlite")
            ),
        )
    )
    files = [str(path) for path in (tmp_path / "root").rglob("Split-train/*.gz")]
    records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    examples = map(tf.train.Example.FromString, records)
    ids = {e.features.feature["shape_id"].bytes_list.value[0] for e in examples}
    assert ids == {b"one", b"two"}


def test_without_a_manifest_of_ours_nothing_is_read(data):
    pattern = split_pattern("test", "span-3")
    assert in_published_version(str(data), pattern) == f"span-3/{'a' * 16}/test/*.tfrecord.gz"
    (data / "span-3" / MANIFEST).write_text('{"audio": []}')
    with pytest.raises(UserError) as raised:
        in_published_version(str(data), pattern)
    assert raised.value.code == "bad_manifest"
    assert raised.value.file == str(data / "span-3" / MANIFEST)
