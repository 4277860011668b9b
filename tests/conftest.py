"""For all tests: what pytest was told is not for the code under test."""

import sys

# TFX gives absl the process's own command line, and absl would take pytest's -v for its verbosity.
sys.argv = sys.argv[:1]
