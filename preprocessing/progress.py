"""Progress of long work: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BAR_SECONDS = 0.3
_LINE_SECONDS = 10.0


@contextmanager
def progress(what: str, total: int, done: Callable[[], int], unit: str) -> Iterator[None]:
    """Shows the progress of the work in the `with` block, such as "Converting: 3 of 9 shapes".

    `done` returns how many units of `total` are done; it is called from another thread.
    """
    stop = threading.Event()
    show = _bar if sys.stderr.isatty() else _lines
    thread = threading.Thread(target=show, args=(what, total, done, unit, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _bar(what: str, total: int, done: Callable[[], int], unit: str, stop: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (what, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        while not stop.wait(_BAR_SECONDS):
            bar.update(task, completed=done())
        bar.update(task, completed=done())


def _lines(
    what: str, total: int, done: Callable[[], int], unit: str, stop: threading.Event
) -> None:
    while not stop.wait(_LINE_SECONDS):
        print(f"{what}: {done():,} of {total:,} {unit}", file=sys.stderr, flush=True)
