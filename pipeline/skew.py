"""Requests held against the training clouds: the work of `pointnet-parts skew`."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import click

from pipeline.logs import logs_to_file
from preprocessing.checks.settings import ShiftLimits
from preprocessing.conversion.manifest import Manifest
from preprocessing.conversion.records import SUFFIX, from_example, read_records
from schema.errors import UserError, counted

# What a GZIP file begins with.
_GZIP_MAGIC = b"\x1f\x8b"
# What the readers of records advise, which is of no use to a log.
_CONVERT_AGAIN = ". Convert the source again."


def compare_log(log: str, data: str, limits: ShiftLimits) -> tuple[list[str], bool]:
    """Compares a log of requests with the training split of a converted data set.

    Args:
      log: a file of records, or a pattern of several.
      data: the folder that a conversion wrote.
      limits: of the differences.

    Returns:
      What was found, in lines for a person, and whether nothing is beyond its limit.

    Raises:
      UserError: there is no such file or data set, or a file is no log, or damaged.
    """
    files = sorted(glob.glob(os.path.expanduser(log)))
    if not files:
        raise UserError(
            "no_log",
            f"{log}: there is no such file; `segment --log-requests FILE{SUFFIX}` writes one.",
        )
    folder = Path(data).expanduser()
    train = folder / Manifest.load(folder).version / "train"
    if not any(train.glob(f"*{SUFFIX}")):
        raise UserError(
            "no_data",
            f"{data}: there are no training clouds ({train}/*{SUFFIX}); give OUT/data of a run, or "
            "convert the training data.",
        )
    for file in files:
        _check_log(file)
    click.echo("Loading TensorFlow and TFDV ...", err=True)
    with logs_to_file(Path(os.devnull)):
        from components.serving_skew import measure_skew

        pattern = os.path.expanduser(log)
        found, served, trained = measure_skew(pattern, str(train / f"*{SUFFIX}"), limits)
    lines = [
        f"{name}: {counted(clouds.count, 'cloud')} of {clouds.mean_points:,.0f} points on average, "
        f"{clouds.most_points:,} at most"
        for name, clouds in (("served", served), ("trained", trained))
    ]
    for skew in found:
        verdict = "beyond its limit" if skew.exceeds else "within its limit"
        lines.append(
            f"{skew.feature}: {skew.measure} {skew.value:.3f}, {verdict} of {skew.limit:g}"
        )
    return lines, not any(skew.exceeds for skew in found)


def _check_log(file: str) -> None:
    """Raises a UserError where a file is no whole log of requests."""
    no_log = f"{file}: it is no log that `segment --log-requests` wrote"
    try:
        with open(file, "rb") as opened:
            if opened.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
                raise UserError("no_log", "found no GZIP file")
            opened.seek(0)
            for number, record in enumerate(read_records(opened, "")):
                if not number:
                    from_example(record)
    except OSError as error:
        raise UserError(
            "no_log",
            f"{file}: it cannot be read ({(error.strerror or str(error)).lower()}); give a file "
            "that `segment --log-requests` wrote.",
        ) from None
    except UserError as error:
        what = error.message.removesuffix(_CONVERT_AGAIN)
        raise UserError(
            "no_log",
            f"{no_log}, or not all of one ({what}); give such a log, or fetch it again.",
        ) from None
