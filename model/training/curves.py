"""Learning curves: curves.csv and TensorBoard's events, one row an epoch.

The events are in the same folder, where TFX's users look for them, and once more where Vertex AI
wants them: a custom job with a TensorBoard has AIP_TENSORBOARD_LOG_DIR in its environment.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from schema.errors import UserError

TENSORBOARD_FOLDER = "AIP_TENSORBOARD_LOG_DIR"
CURVES_FILE = "curves.csv"


class Curves:
    """Writes each epoch's numbers into a folder; `rows` are those of epochs already finished."""

    def __init__(self, folder: str, rows: Sequence[Mapping[str, float]] = ()):
        self.path = os.path.join(folder, CURVES_FILE)
        tf.io.gfile.makedirs(folder)
        self.events = [tf.summary.create_file_writer(folder)]
        shown = os.environ.get(TENSORBOARD_FOLDER)
        # A restarted job finds the epochs there that it had finished.
        known = shown and tf.io.gfile.glob(os.path.join(shown, "*.tfevents.*"))
        self.rows: list[dict[str, float]] = []
        if known:
            for row in rows:
                self.add(row)
        if shown:
            self.events.append(tf.summary.create_file_writer(shown))
        for row in rows[len(self.rows) :]:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Writes an epoch's row, `epoch` first; UserError if the folder cannot be written to."""
        self.rows.append({"epoch": row["epoch"], **dict(sorted(row.items()))})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        try:
            with tf.io.gfile.GFile(self.path, "w") as file:
                file.write(text.getvalue())
        except (OSError, tf.errors.OpError) as error:
            message = f"cannot write the learning curves to {self.path}: {error}. Make room, and"
            raise UserError("cannot_train", f"{message} run again") from error
        for events in self.events:
            with events.as_default(step=int(row["epoch"])):
                for name in row.keys() - {"epoch"}:
                    tf.summary.scalar(name, row[name])
            # A checkpoint may follow, after which a new process does not write this epoch again.
            events.flush()

    def close(self) -> None:
        """Closes the files."""
        for events in self.events:
            events.close()
