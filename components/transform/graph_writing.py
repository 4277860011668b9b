"""Writes what Transform found out, also where an earlier attempt of the same job wrote it.

A runner that loses a machine starts a job, or a part of it, again. TensorFlow Transform renames the
folders of its graph into place, which fails on a file system where they are already: every further
attempt would fail, however many there are. That is 1.16; the newest stack's removes them first.
"""

from __future__ import annotations

import os

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

PUBLISHED = (
    tft.TFTransformOutput.TRANSFORMED_METADATA_DIR,
    tft.TFTransformOutput.TRANSFORM_FN_DIR,
)


def remove_published(saved_model_dir: str, path: str) -> str:
    """Removes what an earlier attempt put into place under `path`.

    Args:
        saved_model_dir: Where this attempt's graph lies; handed through.
        path: The folder that the graph is going to be written into.

    Returns:
        `saved_model_dir`, so that writing begins only afterwards.
    """
    for name in PUBLISHED:
        folder = os.path.join(path, name)
        if tf.io.gfile.exists(folder):
            tf.io.gfile.rmtree(folder)
    return saved_model_dir


class WriteTransformFn(tft_beam.WriteTransformFn):
    """TensorFlow Transform's own, into a folder that it may have written before."""

    def expand(self, transform_fn):  # type: ignore[no-untyped-def]
        saved_model_dir, metadata = transform_fn
        ready = saved_model_dir | "RemovePublished" >> beam.Map(remove_published, self._path)
        return super().expand((ready, metadata))
