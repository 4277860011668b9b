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
        self.folder = folder
        tf.io.gfile.makedirs(folder)
        self.events = [tf.summary.create_file_writer(folder)]
        shown = os.environ.get(TENSORBOARD_FOLDER, "")
        # A job that was restarted finds the epochs there that it had finished.
        known = shown and tf.io.gfile.glob(os.path.join(shown, "*.tfevents.*"))
        self.rows: list[dict[str, float]] = []
        if shown and not known:
            self.events.append(tf.summary.create_file_writer(shown))
        for row in rows:
            self.add(row)
        if shown and known:
            self.events.append(tf.summary.create_file_writer(shown))

    def add(self, row: Mapping[str, float]) -> None:
        """Writes one epoch's row: `epoch` is the first column, the others follow by name.

        Raises UserError if the folder cannot be written to.
        """
        self.rows.append({"epoch": row["epoch"], **dict(sorted(row.items()))})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        path = os.path.join(self.folder, CURVES_FILE)
        try:
            with tf.io.gfile.GFile(path, "w") as file:
                file.write(text.getvalue())
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                "cannot_train",
                f"cannot write the learning curves to {path}: {' '.join(str(error).split())}. Make "
                "room, and run again",
            ) from error
        for events in self.events:
            with events.as_default(step=int(row["epoch"])):
                for name, value in row.items():
                    if name != "epoch":
                        tf.summary.scalar(name, value)
            # A checkpoint may follow, after which a new process does not write this epoch again.
            events.flush()

    def close(self) -> None:
        """Closes the files."""
        for events in self.events:
            events.close()
