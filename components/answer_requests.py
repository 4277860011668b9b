"""Answers requests by a SavedModel as a model server does; a program of TensorFlow and NumPy only.

    python answer_requests.py MODEL REQUESTS.npz ANSWERS.npz

REQUESTS.npz has arrays named "<request>/<signature>/<input>" (an Example as its bytes, uint8);
ANSWERS.npz gets "<request>/<output>", "<request>/seconds" (after warm-up) and "peak_mib".
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf


def main(model: str, requests: str, answers: str) -> None:
    """Loads, answers, writes."""
    inputs_of: dict[tuple[str, str], dict[str, Any]] = {}
    with np.load(requests, allow_pickle=False) as file:
        for key in file.files:
            request, signature, name = key.split("/")
            value = file[key] if name != "examples" else [file[key].tobytes()]
            inputs_of.setdefault((request, signature), {})[name] = value
    results: dict[str, Any] = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], model)
        for (request, name), inputs in inputs_of.items():
            signature = graph.signature_def[name]
            outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
            feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
            for _ in range(2):
                start = time.perf_counter()
                answer = session.run(outputs, feeds)
                seconds = time.perf_counter() - start
            results.update({f"{request}/{key}": value for key, value in answer.items()})
            results[f"{request}/seconds"] = seconds
    results["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(answers, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
