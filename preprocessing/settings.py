"""Settings of the data, of Transform and of the augmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import model_validator

from schema.settings import Settings

Share = Annotated[float, Gt(0), Lt(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]


class SplitFractions(Settings):
    """Shares of the labelled shapes; they add up to 1."""

    train: Share = 0.7
    """Share that the model is trained on."""

    val: Share = 0.1
    """Share that chooses the checkpoint."""

    test: Share = 0.2
    """Share that decides the blessing."""

    @model_validator(mode="after")
    def _adds_up(self) -> SplitFractions:
        total = self.train + self.val + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + val + test add up to {total:g}; they must add up to 1")
        return self


class DataSettings(Settings):
    """Which shapes are read, and how they are split."""

    category: str | None = None
    """Name of one category of the data set, or all for every category. Not set: Airplane, or the
    only category of a data set that has no Airplane."""

    labels: Literal["verified", "raw"] = "verified"
    """verified prefers the expert-verified labels where the archive has them; raw takes the
    crowd's."""

    unannotated: Literal["auto", "ignore", "part"] = "auto"
    """What a point of no named part is: ignore, it counts nowhere; part, it belongs to a part named
    none; auto, as the table of categories says: the missing part in the eight ShapeNet categories
    whose metadata lacks one, ignored elsewhere."""

    split: SplitFractions = SplitFractions()
    """Shares of the splits."""

    seed: int = 0
    """Changes which shape is in which split."""

    shard_megabytes: Positive = 16.0
    """Size of the source files that one TFRecord file is made from, in MB."""

    max_bad_share: Annotated[float, Ge(0), Le(1)] = 0.1
    """Share of shapes that may be unreadable and left out; more stops the conversion."""


class TransformSettings(Settings):
    """The sample of fixed size that Transform stores of each cloud."""

    points_per_cloud: Annotated[int, Ge(1), Le(100_000)] = 2048
    """Points that Transform keeps of each cloud (P)."""

    seed: int = 0
    """Changes which points are drawn."""


class AugmentationSettings(Settings):
    """Random changes of a training cloud, new in each epoch; in units of the cloud's radius."""

    scale_low: Positive = 0.8
    """Smallest factor, drawn for each axis."""

    scale_high: Positive = 1.2
    """Largest factor, drawn for each axis."""

    shift: NotNegative = 0.1
    """Largest shift along each axis."""

    jitter_sigma: NotNegative = 0.001
    """Standard deviation of each point's noise."""

    jitter_clip: NotNegative = 0.005
    """Bound of each point's noise."""

    @model_validator(mode="after")
    def _ordered(self) -> AugmentationSettings:
        if self.scale_low > self.scale_high:
            raise ValueError(
                f"scale_low ({self.scale_low:g}) is above scale_high ({self.scale_high:g})"
            )
        return self
