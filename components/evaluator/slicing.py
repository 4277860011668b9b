"""What TFMA's extraction of the test clouds lacks: small batches, and each cloud's bucket of sizes.

Left to itself Beam makes batches of up to 1,000 clouds, each padded to the longest: no memory holds
what a network makes of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma

from components.evaluator.size_buckets import CLOUD_SIZE, size_bucket
from schema.record import POINTS

MOST_CLOUDS = 16
KEY = tfma.constants.ARROW_RECORD_BATCH_KEY


def custom_extractors(
    eval_shared_model: Any, eval_config: Any, tensor_adapter_config: Any
) -> list[Any]:
    """TFMA's extractors, on batches of at most MOST_CLOUDS, with a feature CLOUD_SIZE to slice by.

    Called by TFX's Evaluator.
    """
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    place = next(
        place for place, found in enumerate(extractors) if found.stage_name == "ExtractSliceKeys"
    )
    limited = tfma.extractors.Extractor("LimitBatches", beam.FlatMap(limit_batch))
    named = tfma.extractors.Extractor("NameCloudSize", beam.Map(_with_cloud_size))
    return [limited, *extractors[:place], named, *extractors[place:]]


def limit_batch(extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A batch of clouds in pieces of at most MOST_CLOUDS, in their order."""
    batch = extracts[KEY]
    for start in range(0, batch.num_rows, MOST_CLOUDS):
        rows = pa.array(range(start, min(start + MOST_CLOUDS, batch.num_rows)))
        yield {**extracts, KEY: batch.take(rows)}


def _with_cloud_size(extracts: dict[str, Any]) -> dict[str, Any]:
    """The extracts of one cloud with its bucket, and without what no later step reads."""
    features = extracts[tfma.FEATURES_KEY]
    bucket = size_bucket(np.size(features[POINTS]) // 3)
    kept = {name: value for name, value in features.items() if np.size(value) == 1}
    extracts = {**extracts, tfma.FEATURES_KEY: {**kept, CLOUD_SIZE: np.array([bucket])}}
    extracts.pop(tfma.INPUT_KEY, None)
    return extracts
