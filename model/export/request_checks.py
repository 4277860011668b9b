"""Validates serving requests; an invalid one fails with INVALID_ARGUMENT and the reason.

A reason names the input, what is allowed and what was found. The server is not affected.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

_NONE = np.int64(-1)


def validated_request(
    points: tf.Tensor,
    num_points: tf.Tensor | None,
    category: tf.Tensor | None,
    num_categories: int,
    most_points: int,
) -> AbstractContextManager[None]:
    """Context whose operations run only if the request is valid.

    `points` is float32 [B, N, 3] with B x N at most `most_points`; `num_points`, int64 [B], the
    number of points of each cloud, None: N; `category`, int64 [B], below `num_categories`, or None.
    """
    shape = tf.shape(points, tf.int64)
    clouds, longest, coordinates, more = _sizes(points, 3)
    checks = [
        _check(
            tf.equal(coordinates, 3) & tf.equal(more, _NONE),
            "points: send x y z of each, [B, N, 3]; found",
            shape,
        ),
        _check(
            (clouds != 0) & (longest != 0),
            "points: there is none; send [B, N, 3] with B and N at least 1; found",
            shape,
        ),
        _fits(clouds * longest, most_points),
    ]
    counted = points
    if num_points is not None:
        checks.append(_one_a_cloud("num_points", num_points, clouds))
        # The operations below fail with other messages if the shapes do not fit.
        with tf.control_dependencies(checks):
            inside = tf.sequence_mask(num_points, longest)
            counted = tf.where(inside[:, :, tf.newaxis], points, tf.zeros_like(points))
            wrong = tf.boolean_mask(num_points, (num_points < 1) | (num_points > longest))
        words = "num_points: send 1 to N for each cloud; found"
        checks.append(_check(tf.equal(tf.size(wrong), 0), words, wrong, "with N =", longest))
    checks.append(
        _check(
            tf.reduce_all(tf.math.is_finite(counted)),
            "points: NaN or infinity among the coordinates; remove these points",
        )
    )
    if category is not None:
        sized = _one_a_cloud("category", category, clouds)
        with tf.control_dependencies([sized]):
            wrong = tf.boolean_mask(category, (category < 0) | (category >= num_categories))
        known = f"category: the model knows 0 to {num_categories - 1}, in the order of"
        words = f"{known} assets/parts.json; found"
        checks += [sized, _check(tf.equal(tf.size(wrong), 0), words, wrong)]
    return tf.control_dependencies(checks)


def validated_lengths(
    lengths: tf.Tensor, most_points: int | None = None
) -> AbstractContextManager[None]:
    """The same for Examples before they are padded, from the number of floats of each, int64 [B].

    A few long clouds among many short ones are a small request but a large batch.
    """
    partial = tf.boolean_mask(lengths, lengths % 3 != 0)
    words = "points: send x y z of each, a multiple of 3 numbers; found"
    checks = [_check(tf.equal(tf.size(partial), 0), words, partial)]
    if most_points is not None:
        longest = tf.reduce_max(tf.concat([lengths, [0]], axis=0)) // 3
        checks.append(_fits(tf.size(lengths, tf.int64) * longest, most_points))
    return tf.control_dependencies(checks)


def validated_names(
    names: tf.Tensor, index: tf.Tensor, known: list[str]
) -> AbstractContextManager[None]:
    """The same for the category names of Examples, string [B]; `index` is -1 of unknown ones."""
    wrong = tf.strings.substr(tf.boolean_mask(names, index < 0), 0, 80)
    words = f"category: the model knows {', '.join(known)}; found"
    return tf.control_dependencies([_check(tf.equal(tf.size(wrong), 0), words, wrong)])


def _fits(size: tf.Tensor, most_points: int) -> tf.Operation:
    return _check(
        size <= most_points,
        "points: too many in one request; send fewer clouds at once, or export the model "
        f"with a larger serving.most_points than {most_points}; found",
        size,
    )


def _one_a_cloud(name: str, numbers: tf.Tensor, clouds: tf.Tensor) -> tf.Operation:
    count, more = _sizes(numbers, 1)
    words = f"{name}: send one number a cloud; found"
    return _check(
        tf.equal(count, clouds) & tf.equal(more, _NONE), words, tf.shape(numbers), "for", clouds
    )


def _sizes(tensor: tf.Tensor, rank: int) -> list[tf.Tensor]:
    """The first rank + 1 sizes of the tensor that was sent; _NONE for a dimension it lacks.

    A server does not compare requests with the graph's shapes: tensors of any rank get here.
    """
    sizes = tf.concat([tf.shape(tensor, tf.int64), tf.fill([rank + 1], _NONE)], axis=0)
    return [sizes[place] for place in range(rank + 1)]


def _check(condition: tf.Tensor, *data: Any) -> tf.Operation:
    """An assertion as one plain operation; tf.debugging's own comes with a branch around it."""
    return tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(d) for d in data])
