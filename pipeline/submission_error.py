"""What is raised where a cluster does not run what it was given."""


class SubmissionError(Exception):
    """A cluster did not take a run, or the run failed; the message says which, and why."""
