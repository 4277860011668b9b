"""Settings of the checks of clouds, and of drift and skew."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from schema.settings import Settings

Share = Annotated[float, Ge(0), Le(1)]
Limit = Annotated[float, Gt(0), Le(1)]


class ShiftLimits(Settings):
    """How much two sets of clouds may differ, feature by feature."""

    points: Limit = 0.1
    """Largest Jensen-Shannon divergence of the raw coordinates: 0 is equal, 1 is disjoint."""

    labels: Limit = 0.2
    """Largest change of a label's share of all points."""

    category: Limit = 0.1
    """Largest change of a category's share of all clouds."""

    action: Literal["warn", "stop"] = "warn"
    """What happens above a limit: a warning, or the run stops before training."""


class ValidationSettings(Settings):
    """Which clouds CloudValidator rejects, what it warns about, and what stops the run."""

    minimum_points: Annotated[int, Ge(1)] = 4
    """Fewest points of a cloud; four are the least that span a solid."""

    duplicate_share: Share = 0.5
    """Share of a cloud's points that repeat the coordinates of another point, above which a warning
    is given."""

    imbalance_ratio: Annotated[float, Gt(1)] = 20.0
    """Ratio of training points between the largest and the smallest part of a category (and of
    shapes between categories), above which a warning is given."""

    quarantine_share: Share = 0.1
    """Share of a split's clouds that may be rejected; more stops the run."""

    drift: ShiftLimits = ShiftLimits()
    """The training clouds compared with those of the last run."""

    skew: ShiftLimits = ShiftLimits()
    """Validation and test clouds compared with the training clouds."""
