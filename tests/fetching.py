"""Builds that fetch what they need: where that is out of reach, nothing of ours is at fault."""

import re
from collections.abc import Callable
from typing import TypeVar

import pytest

Built = TypeVar("Built")
# Of Maven, and of deploy.flink.cluster.
_NOT_FETCHED = re.compile(
    r"Could not (?:resolve|transfer|find artifact)|could not be (?:resolved|fetched)|"
    r"Non-resolvable"
)


def fetched_and_built(build: Callable[[], Built]) -> Built:
    """What a build returns; skips where what it needs cannot be fetched, tried twice.

    Args:
      build: raises an error that holds what was printed where it fails.
    """
    for last in (False, True):
        try:
            return build()
        except Exception as error:
            lines = [line for line in str(error).splitlines() if _NOT_FETCHED.search(line)]
            if not lines:
                raise
            if last:
                pytest.skip(f"what is built here cannot be fetched: {lines[-1].strip()[-300:]}")
    raise AssertionError("two attempts end above")
