"""urllib3's retry, which tells of the first attempt that failed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from urllib3.exceptions import MaxRetryError
from urllib3.util import Retry


class AnnouncedRetry(Retry):
    """A `Retry` that says when a second attempt follows, and makes none for an unknown host.

    Args:
      failed: called after a request's first failed attempt, with the error, or the response's
        status.
      options: those of `Retry`.
    """

    def __init__(self, *, failed: Callable[[Exception | int], None], **options: Any) -> None:
        super().__init__(**options)
        self._failed = failed

    def new(self, **options: Any) -> AnnouncedRetry:
        """See the base class, which makes a new one for each attempt."""
        return super().new(failed=self._failed, **options)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Retry:
        """See the base class."""
        # The only trace that urllib3 before 2 keeps of what went wrong.
        if error is not None and isinstance(error.__context__, socket.gaierror):
            raise MaxRetryError(_pool, url or "", error) from error
        following = super().increment(method, url, response, error, _pool, _stacktrace)
        if not self.history:
            self._failed(error if error is not None else response.status)
        return following
