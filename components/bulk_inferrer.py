"""TFX's BulkInferrer in requests of a bounded size.

TFX leaves the batch to Beam, which lets it grow as long as a batch is quick: thousands of clouds on
a GPU, each padded to the longest. Its own limit, `batch_parameters`, reaches no Beam: tfx_bsl's
wrapper of the model drops it.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from tensorflow_serving.apis import prediction_log_pb2
from tfx import v1 as tfx
from tfx.components.bulk_inferrer import executor
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils
from tfx.utils import io_utils

from preprocessing.conversion.records import from_example
from serving.batches import batches_by_points
from serving.parts_table import most_points_of, parts_file, read_about
from serving.serving_error import reason_in

MOST_CLOUDS = 16
# Clouds that are read before they are sorted into batches of similar sizes.
READ_AHEAD = 64
SIGNATURE = "serve_examples"
REFUSED = "refused"


class AnswerClouds(beam.DoFn):
    """Serialized Examples -> PredictionLogs, each with its cloud's own rows, without padding.

    The output REFUSED has JSON: `shape_id`, `category`, `points` and `reason` of each other cloud.
    """

    def __init__(self, model: str):
        self.model = model

    def setup(self) -> None:
        self.most_points = most_points_of(read_about(parts_file(self.model)))
        # The loaded object must live as long as its functions.
        self.loaded = tf.saved_model.load(self.model)
        self.answer = self.loaded.signatures[SIGNATURE]

    def start_bundle(self) -> None:
        self.waiting: list[tuple[bytes, Any]] = []

    def process(self, example: bytes) -> Iterator[Any]:
        self.waiting.append((example, from_example(example)))
        points = sum(len(cloud.points) for _, cloud in self.waiting)
        if len(self.waiting) >= READ_AHEAD or points >= self.most_points:
            yield from self.answer_waiting()

    def finish_bundle(self) -> Iterator[Any]:
        for result in self.answer_waiting():
            tagged = isinstance(result, beam.pvalue.TaggedOutput)
            window = GlobalWindow()
            value = result.value if tagged else result
            placed = WindowedValue(value, window.max_timestamp(), (window,))
            yield beam.pvalue.TaggedOutput(REFUSED, placed) if tagged else placed

    def answer_waiting(self) -> Iterator[Any]:
        waiting, self.waiting = self.waiting, []
        sizes = [len(cloud.points) for _, cloud in waiting]
        for batch in batches_by_points(sizes, self.most_points, MOST_CLOUDS):
            yield from self.answer_batch([waiting[index] for index in batch])

    def answer_batch(self, batch: list[tuple[bytes, Any]]) -> Iterator[Any]:
        """The answers; each cloud by itself if one of several is refused."""
        try:
            outputs = self.answer(examples=tf.constant([example for example, _ in batch]))
        except tf.errors.InvalidArgumentError as error:
            if len(batch) > 1:
                for one in batch:
                    yield from self.answer_batch([one])
                return
            ((_, cloud),) = batch
            about = {"shape_id": cloud.shape_id, "category": cloud.category}
            about |= {"points": len(cloud.points), "reason": reason_in(error.message)}
            yield beam.pvalue.TaggedOutput(REFUSED, json.dumps(about))
            return
        for row, (example, cloud) in enumerate(batch):
            log = prediction_log_pb2.PredictionLog()
            predicted = log.predict_log
            predicted.request.inputs["examples"].CopyFrom(tf.make_tensor_proto([example]))
            for name in ("part", "probability"):
                rows = outputs[name][row : row + 1, : len(cloud.points)]
                predicted.response.outputs[name].CopyFrom(tf.make_tensor_proto(rows))
            yield log


class Executor(executor.Executor):
    """TFX's own, which checks the blessing, with our inference."""

    def _run_model_inference(
        self,
        data_spec: Any,
        output_example_spec: Any,
        examples: list[Any],
        output_examples: Any,
        inference_result: Any,
        inference_endpoint: Any,
    ) -> None:
        """Writes the PredictionLogs, and REFUSED.jsonl, beside each other."""
        del output_example_spec, output_examples
        folders = [
            artifact_utils.get_split_uri([artifact], split)
            for artifact in examples
            for split in artifact_utils.decode_split_names(artifact.split_names)
            if split in data_spec.example_splits
        ]
        model = inference_endpoint.saved_model_spec.model_path
        folder = inference_result.uri
        with self._make_beam_pipeline() as pipeline:
            answers = (
                pipeline
                | beam.Create([io_utils.all_files_pattern(path) for path in folders])
                | beam.io.ReadAllFromTFRecord()
                | beam.ParDo(AnswerClouds(model)).with_outputs(REFUSED, main="answered")
            )
            _ = answers["answered"] | "WriteAnswers" >> beam.io.WriteToTFRecord(
                os.path.join(folder, "prediction_logs"),
                file_name_suffix=".gz",
                coder=beam.coders.ProtoCoder(prediction_log_pb2.PredictionLog),
            )
            _ = answers[REFUSED] | "WriteRefused" >> beam.io.WriteToText(
                os.path.join(folder, REFUSED), file_name_suffix=".jsonl"
            )


class BulkInferrer(tfx.components.BulkInferrer):
    """TFX's own inputs, outputs and parameters."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
