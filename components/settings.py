"""What can be set of our components."""

from __future__ import annotations

from pydantic import Field

from preprocessing.settings import Settings


class ValidationSettings(Settings):
    """What CloudValidator refuses, what it warns of, and when it stops the run."""

    minimum_points: int = Field(
        4, ge=1, description="Fewest points of a cloud; four are the least that span a solid."
    )
    duplicate_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of a cloud's points that repeat another one's coordinates, above which "
        "a warning is given.",
    )
    imbalance_ratio: float = Field(
        20.0,
        gt=1,
        description="How many times more training points the largest part of a category may have "
        "than the smallest (and shapes the largest category) before a warning is given.",
    )
    quarantine_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of a split's clouds that may be refused; more than that stops the run.",
    )
