"""Learning curves: curves.csv, TensorBoard's events and a picture, an epoch a row.

The events are in the same folder, where TFX's users look for them, and once more where Vertex AI
wants them: a custom job with a TensorBoard has AIP_TENSORBOARD_LOG_DIR in its environment.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from model.curves_picture import draw_curves
from schema.errors import UserError

TENSORBOARD_FOLDER = "AIP_TENSORBOARD_LOG_DIR"
CURVES_FILE = "curves.csv"
PICTURE_FILE = "curves.png"


class Curves:
    """Writes each epoch's numbers.

    Args:
      folder: where to; made if it is not there.
      rows: of epochs that an earlier process finished.
    """

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
        """Writes one epoch's row; `epoch` is the first column, the others follow by name.

        Raises:
          UserError: the folder cannot be written to.
        """
        self.rows.append({"epoch": row["epoch"], **dict(sorted(row.items()))})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        self._write(CURVES_FILE, text.getvalue().encode())
        for events in self.events:
            with events.as_default(step=int(row["epoch"])):
                for name, value in row.items():
                    if name != "epoch":
                        tf.summary.scalar(name, value)
            events.flush()  # A checkpoint follows: a new process will not write this epoch again.

    def finish(self) -> None:
        """Draws the picture and closes the files."""
        columns = {name: [row[name] for row in self.rows] for name in self.rows[0]}
        self._write(PICTURE_FILE, draw_curves(columns))
        for events in self.events:
            events.close()

    def _write(self, name: str, content: bytes) -> None:
        path = os.path.join(self.folder, name)
        try:
            with tf.io.gfile.GFile(f"{path}.unfinished", "wb") as file:
                file.write(content)
            tf.io.gfile.rename(f"{path}.unfinished", path, overwrite=True)
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                "cannot_train",
                f"cannot write the learning curves to {path}: {' '.join(str(error).split())}. Make "
                "room, and run again",
            ) from error
