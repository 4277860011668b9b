"""Answers requests by a SavedModel as a model server does; a program of TensorFlow and NumPy alone.

    python answer_requests.py MODEL REQUESTS.npz ANSWERS.npz

REQUESTS.npz holds arrays named "<request>/<signature>/<input>" (a serialized Example as its bytes,
uint8); ANSWERS.npz gets
"<request>/<output>", "<request>/seconds" (of the second time it was asked; the first one warms up)
and "peak_mib", this process's largest resident set.
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
    asked: dict[tuple[str, str], dict[str, Any]] = {}
    with np.load(requests, allow_pickle=False) as file:
        for key in file.files:
            request, signature, name = key.split("/")
            value = file[key] if name != "examples" else [file[key].tobytes()]
            asked.setdefault((request, signature), {})[name] = value
    found: dict[str, Any] = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], model)
        for (request, name), inputs in asked.items():
            signature = graph.signature_def[name]
            outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
            feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
            for _ in range(2):
                start = time.perf_counter()
                answer = session.run(outputs, feeds)
                seconds = time.perf_counter() - start
            found.update({f"{request}/{key}": value for key, value in answer.items()})
            found[f"{request}/seconds"] = seconds
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(answers, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
