"""Beam's options for a conversion and for the other Beam work of this project."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from schema.errors import UserError

# The last keeps newer Beam releases from switching to Prism, which they download; our batch jobs
# have no triggers.
IN_PROCESS = (
    "--runner=DirectRunner",
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    "--allow_unsafe_triggers",
)


def pipeline_options(beam_args: Sequence[str]) -> Any:
    """PipelineOptions for one pipeline, which by default runs in this process.

    Options that are used twice silently run the second pipeline on the direct runner.

    Raises:
      UserError: `bad_beam_option`: Beam cannot start with these arguments.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    printed = io.StringIO()
    arguments = [*IN_PROCESS, *beam_args]
    try:
        # For a value that it cannot read, argparse prints all options and exits.
        with contextlib.redirect_stderr(printed):
            beam.Pipeline(options=PipelineOptions(arguments)).options.get_all_options()
    except (SystemExit, ValueError, ImportError, AttributeError) as error:
        reason = (printed.getvalue() or str(error)).strip().rpartition("\n")[2].rstrip(".")
        message = f"Beam cannot start with {' '.join(beam_args)!r}: {reason}."
        raise UserError("bad_beam_option", message) from None
    return PipelineOptions(arguments)
