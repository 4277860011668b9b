"""Settings of training and of the search for a better recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import model_validator
from typing_extensions import Self

from preprocessing.settings import AugmentationSettings
from schema.settings import Settings

Count = Annotated[int, Ge(1)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Decay = Annotated[float, Gt(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**31)]


class TrainingSettings(Settings):
    """The training recipe."""

    epochs: Count = 200
    """Passes over the training split."""

    batch_size: Count = 32
    """Clouds per step, over all devices."""

    points_per_draw: Count | None = None
    """Points drawn from Transform's sample, again for each epoch; null: all of them."""

    learning_rate: Positive = 1e-3
    """Peak learning rate, reached after the warm-up."""

    final_learning_rate: NotNegative = 1e-5
    """Learning rate at the end of the cosine decay; not above learning_rate."""

    warmup_epochs: NotNegative = 5
    """Epochs of linear warm-up."""

    weight_decay: NotNegative = 1e-4
    """Weight decay of AdamW; not applied to batch norm and biases."""

    clip_norm: Positive = 1.0
    """Largest global norm of a step's gradients."""

    batch_norm_momentum: Decay = 0.9
    """Momentum of batch norm's moving averages at the start."""

    final_batch_norm_momentum: Decay = 0.99
    """Momentum of batch norm's moving averages at the end; it rises linearly in between."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute type. auto: bfloat16 or else float16 on GPUs that support it, float32 on other GPUs
    and on a CPU. Weights, batch norm and loss are always float32."""

    class_weights: Literal["none", "inverse_sqrt", "inverse_frequency"] = "none"
    """Give points of rare parts a larger weight in the loss: the inverse of the part's frequency in
    train, or its square root, at most 10. Transform counts the points in an additional pass over
    train."""

    warm_start: Literal["none", "last_blessed"] = "none"
    """Initial weights: random, or those of the last blessed model, which must have the same widths
    and parts."""

    patience: Count | None = None
    """Stop after this many epochs without a better val instance mIoU; null: never."""

    ema_decay: Decay | None = None
    """Validate and keep the moving average of the weights, with this decay per step (such as
    0.999), instead of the weights themselves; null: no average."""

    checkpoint_seconds: NotNegative = 60
    """Seconds between two checkpoints, from which training can be resumed."""

    augmentation: AugmentationSettings = AugmentationSettings()
    """Random changes of each training cloud."""

    seed: Seed = 0
    """Seed of weights, shuffling, draws and augmentation."""

    @model_validator(mode="after")
    def _rate_falls(self) -> Self:
        # A rate that the Tuner drew at its lower bound may be off by rounding.
        if self.final_learning_rate > self.learning_rate * (1 + 1e-9):
            raise ValueError(
                f"final_learning_rate is {self.final_learning_rate:g}; it must not be above "
                f"learning_rate ({self.learning_rate:g})"
            )
        return self


class TuningSettings(Settings):
    """The search for a better recipe before training; off by default."""

    trials: Annotated[int, Ge(0)] = 0
    """Recipes to try, the first is the config's own; the best one on val is trained in full. 0: no
    search."""

    epochs: Count = 10
    """Passes over the training split of each trial."""

    seed: Seed = 0
    """Changes which recipes are tried."""

    @model_validator(mode="after")
    def _can_compare(self) -> Self:
        if self.trials == 1:
            raise ValueError(
                "trials is 1, and the first trial is the config's own recipe; take at least 2 to "
                "compare with it, or 0 for no search"
            )
        return self
