"""What the served signatures refuse, each in a sentence: the answer to a request nobody can answer.

TensorFlow Serving passes the sentence on as INVALID_ARGUMENT; the server goes on.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf


def request_is_sound(
    points: tf.Tensor,
    num_points: tf.Tensor | None,
    category: tf.Tensor | None,
    num_categories: int,
    most_points: int,
) -> AbstractContextManager[None]:
    """What is computed within this context is computed only of a sound request.

    Args:
      points: float32 [B, N, 3].
      num_points: int64 [B], how many points of each cloud count; None: all.
      category: int64 [B], None with a single category.
      num_categories: how many categories the model knows.
      most_points: the largest B x N.
    """
    shape = tf.shape(points, tf.int64)
    clouds, longest = shape[0], shape[1]
    checks = [
        _check(tf.equal(shape[2], 3), ["points: send x y z of each, [B, N, 3]; found", shape]),
        _check(
            (clouds > 0) & (longest > 0),
            [
                "points: there is none; send [B, N, 3] with B and N at least 1; found",
                shape,
            ],
        ),
        _check(
            clouds * longest <= most_points,
            [
                "points: too many in one request; send fewer clouds at once, or export the model "
                f"with a larger serving.most_points than {most_points}; found",
                clouds * longest,
            ],
        ),
    ]
    looked_at = points
    if num_points is not None:
        valid = tf.sequence_mask(num_points, longest)
        looked_at = tf.where(valid[:, :, tf.newaxis], points, tf.zeros_like(points))
        checks += [
            _check(
                tf.equal(tf.shape(num_points, tf.int64)[0], clouds),
                ["num_points: send one number a cloud; found", tf.shape(num_points), "for", clouds],
            ),
            _check(
                tf.reduce_all((num_points >= 1) & (num_points <= longest)),
                ["num_points: send 1 to N for each cloud; found", num_points, "with N =", longest],
            ),
        ]
    checks.append(
        _check(
            tf.reduce_all(tf.math.is_finite(looked_at)),
            ["points: NaN or infinity among the coordinates; remove these points"],
        )
    )
    if category is not None:
        checks += [
            _check(
                tf.equal(tf.shape(category, tf.int64)[0], clouds),
                ["category: send one number a cloud; found", tf.shape(category), "for", clouds],
            ),
            _check(
                tf.reduce_all((category >= 0) & (category < num_categories)),
                [
                    f"category: the model knows 0 to {num_categories - 1}, in the order of "
                    "assets/parts.json; found",
                    category,
                ],
            ),
        ]
    return tf.control_dependencies(checks)


def _check(condition: tf.Tensor, data: list[Any]) -> tf.Operation:
    """An assertion as one plain operation; tf.debugging's own comes with a branch around it."""
    return tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(d) for d in data])
