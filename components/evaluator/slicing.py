"""Names each test cloud's bucket of sizes, so that TFMA can slice by it."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from components.evaluator.size_buckets import CLOUD_SIZE, size_bucket
from schema.record import POINTS


def custom_extractors(
    eval_shared_model: Any, eval_config: Any, tensor_adapter_config: Any
) -> list[Any]:
    """TFMA's extractors, with a feature CLOUD_SIZE to slice by; called by TFX's Evaluator."""
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    place = next(
        place for place, found in enumerate(extractors) if found.stage_name == "ExtractSliceKeys"
    )
    named = tfma.extractors.Extractor("NameCloudSize", beam.Map(_with_cloud_size))
    return [*extractors[:place], named, *extractors[place:]]


def _with_cloud_size(extracts: dict[str, Any]) -> dict[str, Any]:
    """The extracts of one cloud with its bucket, and without what no later step reads."""
    features = extracts[tfma.FEATURES_KEY]
    bucket = size_bucket(np.size(features[POINTS]) // 3)
    kept = {name: value for name, value in features.items() if np.size(value) == 1}
    extracts = {**extracts, tfma.FEATURES_KEY: {**kept, CLOUD_SIZE: np.array([bucket])}}
    extracts.pop(tfma.INPUT_KEY, None)
    return extracts
