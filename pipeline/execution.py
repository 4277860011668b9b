"""Runs a pipeline with TFX's local engine: a line a component on the screen."""

from __future__ import annotations

import logging
import re
import time

from absl import logging as absl_logging
from rich.console import Console
from tfx import v1 as tfx

_COMPONENT = re.compile(r"Component (\S+) is (running|finished)\.")
_CACHED = re.compile(r"A cached execution \d+ is used\.")


class PipelineFailed(RuntimeError):
    """A component stopped the run.

    Attributes:
      component: its name.
    """

    def __init__(self, component: str, message: str):
        super().__init__(message)
        self.component = component


class _Steps(logging.Handler):
    """Shows which component is at work, from the local engine's own log lines."""

    def __init__(self, console: Console):
        super().__init__()
        self.console = console
        self.component = ""
        self.cached = False
        self.started = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        found = _COMPONENT.match(message)
        if _CACHED.match(message):
            self.cached = True
        elif found and found.group(2) == "running":
            self.component = found.group(1)
            self.cached = False
            self.started = time.monotonic()
            self.console.print(f"{self.component} ...", highlight=False)
        elif found:
            seconds = time.monotonic() - self.started
            done = "unchanged, from the cache" if self.cached else f"done in {seconds:.1f} s"
            self.console.print(f"{self.component} {done}", highlight=False)


def execute(pipeline: tfx.dsl.Pipeline, console: Console) -> bool:
    """Runs the pipeline with the local engine.

    Args:
      pipeline: what `create_pipeline` built.
      console: where a person reads.

    Returns:
      Whether the pipeline ran; not so where TFX's command line only compiles it.

    Raises:
      PipelineFailed: a component raised an error.
    """
    steps = _Steps(console)
    root = logging.getLogger()
    level, verbosity = root.level, absl_logging.get_verbosity()
    root.addHandler(steps)
    root.setLevel(logging.INFO)
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        tfx.orchestration.LocalDagRunner().run(pipeline)
    except Exception as error:
        logging.getLogger(__name__).exception("the run stopped in %s", steps.component)
        raise PipelineFailed(steps.component, " ".join(str(error).split())) from error
    finally:
        root.removeHandler(steps)
        root.setLevel(level)
        absl_logging.set_verbosity(verbosity)
    return bool(steps.component)
