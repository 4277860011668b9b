"""Many clients at once on a server whose versions are switched: what each answer was, and when.

The clients are those that users have (`serving/`). An answer is right if it is, cloud by cloud,
that of one of the versions, and of the new one where the old is known to be gone.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.segmenter import Answer, Segmenter

# Another order of sums, as in batches of other sizes, moves probabilities by some 1e-7.
_TOLERANCE = 1e-5
_MOST_TIMES = 200


@dataclass
class LoadResult:
    """What became of the requests.

    Attributes:
      seconds: of each that was answered.
      versions: how many answers each version gave, by its place in the list of known answers.
      wrong: answers that were no version's, or the old one's when it was gone.
      failures: what those were told that were not answered.
      wall_seconds: from the first request to the last answer.
    """

    seconds: list[float] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    wrong: int = 0
    failures: list[str] = field(default_factory=list)
    wall_seconds: float = 0.0

    def percentile(self, percent: float) -> float:
        """Of the seconds that answers took."""
        return float(np.percentile(self.seconds, percent))


def run_load(
    clients: Sequence[Segmenter],
    requests: int,
    clouds: Sequence[np.ndarray],
    known: Sequence[Sequence[Answer]],
    switch: Callable[[], None],
) -> LoadResult:
    """Asks from all clients at once until all requests are answered.

    Args:
      clients: each asks in a thread of its own.
      requests: how many at least; each has one to three of the clouds. A quarter of them comes
        after the switch, so that there are more where that takes long, but never _MOST_TIMES more.
      clouds: what is asked for.
      known: of each version, oldest first, the answers to all clouds.
      switch: called once half of the requests are answered, while the others go on; returns when
        only the newest version is left.

    Raises:
      ValueError: two versions answer a cloud alike, so that nobody could tell which one did.
    """
    for index, of_versions in enumerate(zip(*known, strict=True)):
        if any(_same(*pair) for pair in itertools.combinations(of_versions, 2)):
            raise ValueError(f"cloud {index}: two versions answer it alike; make them differ")
    result = LoadResult()
    numbers = itertools.count()
    lock, half = threading.Lock(), threading.Semaphore(0)
    switched = threading.Event()
    draws = np.random.default_rng(0).integers(0, len(clouds), (requests, 3))
    counts = np.random.default_rng(1).integers(1, 4, requests)
    last = [requests * _MOST_TIMES]

    def work(client: Segmenter) -> None:
        while True:
            with lock:
                number = next(numbers)
                if number >= last[0]:
                    return
            place = number % requests
            chosen = draws[place, : counts[place]].tolist()
            only_newest = switched.is_set()
            start = time.perf_counter()
            try:
                answers = client.segment([clouds[index] for index in chosen], None)
            except Exception as error:
                with lock:
                    result.failures.append(f"{type(error).__name__}: {error}")
            else:
                seconds = time.perf_counter() - start
                version = _version_of(answers, [[of[i] for i in chosen] for of in known])
                with lock:
                    result.seconds.append(seconds)
                    if version is None or (only_newest and version < len(known) - 1):
                        result.wrong += 1
                    else:
                        result.versions[version] = result.versions.get(version, 0) + 1
            if number == requests // 2:
                half.release()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    half.acquire()
    try:
        switch()
    finally:
        with lock:
            last[0] = min(last[0], max(requests, next(numbers) + requests // 4))
        switched.set()
    for thread in threads:
        thread.join()
    result.wall_seconds = time.perf_counter() - begun
    return result


def _version_of(answers: Sequence[Answer], known: Sequence[Sequence[Answer]]) -> int | None:
    """The version whose answers to the same clouds these are."""
    for version, expected in enumerate(known):
        if all(_same(*pair) for pair in zip(answers, expected, strict=True)):
            return version
    return None


def _same(found: Answer, expected: Answer) -> bool:
    (part, probability), (other_part, other_probability) = found, expected
    if part.shape != other_part.shape or probability.shape != other_probability.shape:
        return False
    if np.abs(probability - other_probability).max() > _TOLERANCE:
        return False
    # Where two parts are as probable, either is right.
    best = np.take_along_axis(other_probability, part[:, np.newaxis], axis=1)[:, 0]
    return bool((best >= other_probability.max(axis=1) - 2 * _TOLERANCE).all())
