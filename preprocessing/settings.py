"""What can be set of the data, of Transform and of the augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """A section of the config: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitFractions(Settings):
    """Shares of the labelled shapes; they add up to 1."""

    train: float = Field(0.7, gt=0, lt=1, description="Share that the model learns from.")
    val: float = Field(0.1, gt=0, lt=1, description="Share that chooses the checkpoint.")
    test: float = Field(0.2, gt=0, lt=1, description="Share that decides the blessing.")

    @model_validator(mode="after")
    def _adds_up(self) -> SplitFractions:
        total = self.train + self.val + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + val + test add up to {total:g}; they must add up to 1")
        return self


class DataSettings(Settings):
    """Which shapes are read, and how they are split."""

    layout: str = Field("auto", description="Layout of the raw files; auto looks at them.")
    category: str = Field(
        "Airplane", description="Name of one category of the data set, or all for every category."
    )
    labels: Literal["verified", "raw"] = Field(
        "verified",
        description="verified prefers the expert-verified labels where the archive has them; raw "
        "takes the crowd's.",
    )
    unannotated: Literal["auto", "ignore", "part"] = Field(
        "auto",
        description="What a point of no named part is: ignore, it counts nowhere; part, it belongs "
        "to a part named none; auto, as the parts table says: the missing part in the eight "
        "ShapeNet categories whose metadata lacks one, ignored elsewhere.",
    )
    split: SplitFractions = Field(SplitFractions(), description="Shares of the splits.")
    seed: int = Field(0, description="Changes which shape falls into which split.")
    shard_megabytes: float = Field(
        16.0, gt=0, description="Raw text that goes into one TFRecord file, in MB."
    )
    max_bad_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of shapes that may be unreadable and left out; more stops conversion.",
    )


class SpanSettings(Settings):
    """Data that grows by deliveries, each with a number."""

    window: int = Field(
        3,
        ge=1,
        description="How many spans a run takes that is given one: that span, and the newest "
        "before it.",
    )


class TransformSettings(Settings):
    """The fixed-size sample that Transform stores of each cloud."""

    points_per_cloud: int = Field(
        2048, ge=1, le=100_000, description="Points that Transform keeps of each cloud (P)."
    )
    seed: int = Field(0, description="Changes which points are drawn.")


class AugmentationSettings(Settings):
    """What is done to a training cloud, afresh each epoch; all in units of the cloud's radius."""

    scale_low: float = Field(0.8, gt=0, description="Smallest factor, drawn per axis.")
    scale_high: float = Field(1.2, gt=0, description="Largest factor, drawn per axis.")
    shift: float = Field(0.1, ge=0, description="Largest shift along each axis.")
    jitter_sigma: float = Field(
        0.001, ge=0, description="Standard deviation of each point's noise."
    )
    jitter_clip: float = Field(0.005, ge=0, description="Bound of each point's noise.")

    @model_validator(mode="after")
    def _ordered(self) -> AugmentationSettings:
        if self.scale_low > self.scale_high:
            raise ValueError(
                f"scale_low ({self.scale_low:g}) is above scale_high ({self.scale_high:g})"
            )
        return self
