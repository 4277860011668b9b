"""The one error that training raises for a person to read."""


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""
