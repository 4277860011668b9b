"""Speed, memory and quality, each against a named baseline of the same run: `make bench`."""
