"""What the served signatures refuse, each in a sentence: the answer to a request nobody can answer.

TensorFlow Serving passes the sentence on as INVALID_ARGUMENT; the server goes on.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

_NONE = np.int64(-1)


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
    clouds, longest, coordinates, more = _sizes(points, 3)
    checks = [
        _check(
            tf.equal(coordinates, 3) & tf.equal(more, _NONE),
            ["points: send x y z of each, [B, N, 3]; found", shape],
        ),
        _check(
            (clouds != 0) & (longest != 0),
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
        count, more = _sizes(num_points, 1)
        checks.append(
            _check(
                tf.equal(count, clouds) & tf.equal(more, _NONE),
                ["num_points: send one number a cloud; found", tf.shape(num_points), "for", clouds],
            )
        )
        # What follows would fail of itself, in words of its own, where the shapes do not fit.
        with tf.control_dependencies(checks):
            counted = tf.sequence_mask(num_points, longest)
            looked_at = tf.where(counted[:, :, tf.newaxis], points, tf.zeros_like(points))
            possible = tf.reduce_all((num_points >= 1) & (num_points <= longest))
        checks.append(
            _check(
                possible,
                ["num_points: send 1 to N for each cloud; found", num_points, "with N =", longest],
            )
        )
    checks.append(
        _check(
            tf.reduce_all(tf.math.is_finite(looked_at)),
            ["points: NaN or infinity among the coordinates; remove these points"],
        )
    )
    if category is not None:
        count, more = _sizes(category, 1)
        sized = _check(
            tf.equal(count, clouds) & tf.equal(more, _NONE),
            ["category: send one number a cloud; found", tf.shape(category), "for", clouds],
        )
        with tf.control_dependencies([sized]):
            known = tf.reduce_all((category >= 0) & (category < num_categories))
        checks += [
            sized,
            _check(
                known,
                [
                    f"category: the model knows 0 to {num_categories - 1}, in the order of "
                    "assets/parts.json; found",
                    category,
                ],
            ),
        ]
    return tf.control_dependencies(checks)


def _sizes(tensor: tf.Tensor, rank: int) -> list[tf.Tensor]:
    """The first rank + 1 sizes of what was really sent; _NONE stands for a dimension it lacks.

    A server does not hold requests against the graph's shapes, and so another rank comes this far.
    """
    sizes = tf.concat([tf.shape(tensor, tf.int64), tf.fill([rank + 1], _NONE)], axis=0)
    return [sizes[place] for place in range(rank + 1)]


def _check(condition: tf.Tensor, data: list[Any]) -> tf.Operation:
    """An assertion as one plain operation; tf.debugging's own comes with a branch around it."""
    return tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(d) for d in data])
