"""Settings of the network and of its training."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import model_validator

from preprocessing.settings import AugmentationSettings
from schema.settings import Settings

Count = Annotated[int, Ge(1)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Decay = Annotated[float, Gt(0), Lt(1)]


class NetworkSettings(Settings):
    """Widths of PointNet's layers; the defaults are those of the published Keras example."""

    local_widths: tuple[int, ...] = (64, 128, 128)
    """Pointwise layers between the input and the feature T-Net."""

    global_widths: tuple[int, ...] = (512, 2048)
    """Pointwise layers after the feature T-Net; the last one is max-pooled."""

    transform_widths: tuple[int, ...] = (64, 128, 1024)
    """Pointwise layers of each T-Net; the last one is max-pooled."""

    transform_dense_widths: tuple[int, ...] = (512, 256)
    """Dense layers of each T-Net after its max pooling."""

    head_widths: tuple[int, ...] = (128,)
    """Pointwise layers of the segmentation head before the logits."""

    input_transform: bool = True
    """Use the 3x3 T-Net on the input."""

    feature_transform: bool = True
    """Use the T-Net on the local features."""

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Dropout rate in the head."""

    bias_before_batch_norm: bool = False
    """Keep biases before batch norm, which cancels them. Only the published example has them; with
    them it has 7,370,062 parameters."""

    @model_validator(mode="after")
    def _has_layers(self) -> NetworkSettings:
        for name in (
            "local_widths", "global_widths", "transform_widths", "head_widths"
        ):  # fmt: skip
            widths = getattr(self, name)
            if not widths or min(widths) < 1:
                raise ValueError(f"{name} is {list(widths)}; it needs at least one positive width")
        return self


class TrainingSettings(Settings):
    """The training recipe."""

    epochs: Count = 200
    """Passes over the training split."""

    batch_size: Count = 32
    """Clouds per step."""

    points_per_draw: Count | None = None
    """Points drawn from Transform's sample, again for each epoch; null: all of them."""

    learning_rate: Positive = 1e-3
    """Peak learning rate, reached after the warm-up."""

    final_learning_rate: NotNegative = 1e-5
    """Learning rate at the end of the cosine decay."""

    warmup_epochs: NotNegative = 5
    """Epochs of linear warm-up."""

    weight_decay: NotNegative = 1e-4
    """Weight decay of AdamW; not applied to batch norm and biases."""

    clip_norm: Positive = 1.0
    """Largest global norm of a step's gradients."""

    orthogonality: NotNegative = 1e-3
    """Weight of the feature transform's orthogonality loss."""

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

    checkpoint_steps: Count | None = 500
    """Steps between two checkpoints within an epoch, from which training can be resumed. There is
    always one at the end of each epoch; null: no others."""

    augmentation: AugmentationSettings = AugmentationSettings()
    """Random changes of each training cloud."""

    seed: int = 0
    """Seed of weights, shuffling, draws and augmentation."""


class TuningSettings(Settings):
    """The search for a better recipe before training; off by default."""

    trials: Annotated[int, Ge(0)] = 0
    """Recipes to try, the first is the config's own; the best one on val is trained in full. 0: no
    search."""

    epochs: Count = 10
    """Passes over the training split of each trial."""

    seed: Annotated[int, Ge(0)] = 0
    """Changes which recipes are tried."""

    @model_validator(mode="after")
    def _can_compare(self) -> TuningSettings:
        if self.trials == 1:
            raise ValueError(
                "trials is 1, and the first trial is the config's own recipe; take at least 2 to "
                "compare with it, or 0 for no search"
            )
        return self


class ServingSettings(Settings):
    """Limits of the exported model and of the versions that are kept."""

    most_points: Count = 400_000
    """Most points of one request (clouds times the points of the longest one). A larger request is
    refused with a clear error before it fills the server's memory."""

    keep_versions: Count | None = 5
    """Number of pushed versions to keep, the newest ones; null: all."""
