"""Many clouds in few requests: no larger in points or in clouds than a server takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from schema.errors import UserError
from serving.segmenter import Answer, Segmenter

# TensorFlow Serving refuses a request of more clouds than the max_batch_size of its batching.
MOST_CLOUDS = 8


def batches_by_points(sizes: Sequence[int], most_points: int, most_clouds: int) -> list[list[int]]:
    """Deals clouds out to batches of similar sizes, so that little is padded.

    Args:
      sizes: each cloud's points.
      most_points: the largest padded batch, clouds times the longest one's points; a cloud that is
        larger by itself is alone in its batch.
      most_clouds: the most clouds of a batch.

    Returns:
      The clouds of each batch, as indices into sizes; smaller clouds first.
    """
    batches: list[list[int]] = []
    # Rising sizes: the cloud looked at is always the longest of its batch.
    for index in sorted(range(len(sizes)), key=lambda index: sizes[index]):
        clouds = len(batches[-1]) + 1 if batches else 0
        if batches and clouds <= most_clouds and clouds * sizes[index] <= most_points:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def segment_in_batches(
    segmenter: Segmenter,
    clouds: Sequence[np.ndarray],
    category: int | None,
    most_points: int,
    most_clouds: int = MOST_CLOUDS,
) -> Iterator[tuple[int, Answer | UserError]]:
    """Asks for all clouds, each by itself where one of its batch cannot be answered.

    Args:
      segmenter: whom to ask.
      clouds: float32 [n, 3] each.
      category: see `Segmenter.segment`.
      most_points: see `batches_by_points`.
      most_clouds: see `batches_by_points`.

    Yields:
      A cloud's index and its answer, or why it has none; in the order of answering.

    Raises:
      UserError: none of the others would be answered either.
    """
    sizes = [len(cloud) for cloud in clouds]
    waiting = batches_by_points(sizes, most_points, most_clouds)[::-1]
    while waiting:
        batch = waiting.pop()
        try:
            answers = segmenter.segment([clouds[index] for index in batch], category)
        except UserError as error:
            if error.code == "unavailable":
                raise
            if len(batch) > 1:
                waiting += [[index] for index in reversed(batch)]
            else:
                yield batch[0], error
        else:
            yield from zip(batch, answers, strict=True)
