"""Where TFX, Beam and TensorFlow talk to: a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from absl import logging as absl_logging


@contextmanager
def logs_to_file(log: Path) -> Iterator[None]:
    """Sends what TFX, Beam and TensorFlow have to say to the end of a file, off the screen."""
    root, tensorflow = logging.getLogger(), logging.getLogger("tensorflow")
    handlers, level = root.handlers[:], root.level
    tensorflow_handlers, propagate = tensorflow.handlers[:], tensorflow.propagate
    verbosity = absl_logging.get_verbosity()
    to_file = logging.FileHandler(log, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.handlers = [to_file]
    tensorflow.handlers, tensorflow.propagate = [], True
    root.setLevel(logging.INFO)
    absl_logging.set_verbosity(absl_logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = handlers
        tensorflow.handlers, tensorflow.propagate = tensorflow_handlers, propagate
        root.setLevel(level)
        absl_logging.set_verbosity(verbosity)
        to_file.close()
