"""Which clouds go together in a request, and what one that cannot be answered costs the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import UserError
from serving.batches import batches_by_points, segment_in_batches


class Counting:
    """Answers each point with its x; refuses clouds that begin with `refused`."""

    def __init__(self, refused=(), lasting=False):
        self.refused, self.lasting = refused, lasting
        self.requests = []

    def segment(self, clouds, category):
        self.requests.append([len(points) for points in clouds])
        for points in clouds:
            if points[0, 0] in self.refused:
                raise UserError(
                    "unavailable" if self.lasting else "no_answer", f"refused {points[0, 0]:g}"
                )
        return [(points[:, 0].astype(np.int64), points) for points in clouds]


def cloud(size, number):
    return np.full((size, 3), number, np.float32)


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 1000), st.integers(1, 9))
def test_every_cloud_is_in_one_batch_that_is_not_too_large(sizes, most, most_clouds):
    batches = batches_by_points(sizes, most, most_clouds)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        longest = max(sizes[index] for index in batch)
        assert len(batch) == 1 or len(batch) * longest <= most
        assert len(batch) <= most_clouds
    in_order = [sizes[index] for batch in batches for index in batch]
    assert in_order == sorted(sizes)


def test_clouds_of_like_sizes_go_together():
    assert batches_by_points([100, 5, 100, 5, 5, 900], 200, 8) == [[1, 3, 4], [0, 2], [5]]


def test_each_cloud_gets_its_own_answer():
    clouds = [cloud(size, number) for number, size in enumerate((30, 2, 9, 30, 1))]
    answers = dict(segment_in_batches(Counting(), clouds, None, 60))
    assert sorted(answers) == [0, 1, 2, 3, 4]
    for index, (part, _) in answers.items():
        assert part.tolist() == [index] * len(clouds[index])


def test_a_refused_cloud_fails_alone():
    clouds = [cloud(5, number) for number in range(4)]
    asked = Counting(refused=(2,))
    answers = dict(segment_in_batches(asked, clouds, None, 1000))
    assert asked.requests == [[5, 5, 5, 5], [5], [5], [5], [5]]
    assert str(answers.pop(2)) == "refused 2"
    assert {index: answer[0][0] for index, answer in answers.items()} == {0: 0, 1: 1, 3: 3}


def test_what_lasts_ends_all():
    asked = Counting(refused=(1,), lasting=True)
    with pytest.raises(UserError):
        list(segment_in_batches(asked, [cloud(5, 1), cloud(6, 2)], None, 1))
    assert asked.requests == [[5]]
