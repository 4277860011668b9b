"""What can be set of the network and of its training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from preprocessing.settings import AugmentationSettings, Settings


class NetworkSettings(Settings):
    """Widths of PointNet's layers; the defaults are the published Keras example's."""

    local_widths: tuple[int, ...] = Field(
        (64, 128, 128), description="Pointwise layers between the input and the feature T-Net."
    )
    global_widths: tuple[int, ...] = Field(
        (512, 2048),
        description="Pointwise layers behind the feature T-Net; the last one is max-pooled.",
    )
    transform_widths: tuple[int, ...] = Field(
        (64, 128, 1024), description="Pointwise layers of each T-Net; the last one is max-pooled."
    )
    transform_dense_widths: tuple[int, ...] = Field(
        (512, 256), description="Dense layers of each T-Net behind its maximum."
    )
    head_widths: tuple[int, ...] = Field(
        (128,), description="Pointwise layers of the segmentation head before the logits."
    )
    input_transform: bool = Field(True, description="Use the 3x3 T-Net on the input.")
    feature_transform: bool = Field(True, description="Use the T-Net on the local features.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout rate in the head.")
    bias_before_batch_norm: bool = Field(
        False,
        description="Keep the biases that batch norm takes away again; only the published "
        "example has them, and with them its 7,370,062 parameters.",
    )

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
    """The recipe: how long, how fast, on what."""

    epochs: int = Field(200, ge=1, description="Passes over the training split.")
    batch_size: int = Field(32, ge=1, description="Clouds a step.")
    points_per_draw: int | None = Field(
        None, ge=1, description="Points drawn afresh from Transform's sample; null: all of them."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak, reached after the warm-up.")
    final_learning_rate: float = Field(1e-5, ge=0, description="Where the cosine decay ends.")
    warmup_epochs: float = Field(5, ge=0, description="Epochs of linear warm-up.")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's; never on batch norm and biases.")
    clip_norm: float = Field(1.0, gt=0, description="Largest global norm of a step's gradients.")
    orthogonality: float = Field(
        1e-3, ge=0, description="Weight of the feature transform's orthogonality loss."
    )
    batch_norm_momentum: float = Field(
        0.9, gt=0, lt=1, description="Moving averages' momentum at the start."
    )
    final_batch_norm_momentum: float = Field(
        0.99, gt=0, lt=1, description="... and at the end; it rises linearly in between."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Compute type; auto: bfloat16 or else float16 on GPUs that have it, float32 on "
        "others and on a CPU. Weights, batch norm and loss stay float32.",
    )
    class_weights: Literal["none", "inverse_sqrt", "inverse_frequency"] = Field(
        "none",
        description="Let points of rare parts count more in the loss: by the square root of how "
        "rare the part is among train's points, or by that itself, ten times at most. Transform "
        "counts the points, in a pass more over train.",
    )
    warm_start: Literal["none", "last_blessed"] = Field(
        "none",
        description="Weights to start from: new ones, or those of the last blessed model, which "
        "must have the same widths and parts.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after so many epochs without a better val instance mIoU; null: never.",
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Validate and keep the weights' moving average over the steps, with this decay "
        "a step (such as 0.999), in place of the weights themselves; null: no average.",
    )
    checkpoint_steps: int | None = Field(
        500,
        ge=1,
        description="Steps of an epoch between two checkpoints of all that training needs to go "
        "on; there is one at the end of each epoch in any case, and null adds none.",
    )
    augmentation: AugmentationSettings = Field(
        AugmentationSettings(), description="What is done to each training cloud."
    )
    seed: int = Field(0, description="Weights, shuffling, draws and augmentation follow from it.")


class TuningSettings(Settings):
    """The search for a better recipe before training; off by default."""

    trials: int = Field(
        0,
        ge=0,
        description="Recipes to try, the config's own first; the best one on val is trained in "
        "full. 0: no search.",
    )
    epochs: int = Field(10, ge=1, description="Passes over the training split of each trial.")
    seed: int = Field(0, ge=0, description="Which recipes are tried follows from it.")

    @model_validator(mode="after")
    def _can_compare(self) -> TuningSettings:
        if self.trials == 1:
            raise ValueError(
                "trials is 1, and the first trial is the config's own recipe; take at least 2 to "
                "compare with it, or 0 for no search"
            )
        return self


class ServingSettings(Settings):
    """What the exported model answers."""

    most_points: int = Field(
        400_000,
        ge=1,
        description="Points that one request may hold (clouds times the longest one's points); "
        "more are refused in a sentence before they fill the server's memory.",
    )
    keep_versions: int | None = Field(
        5,
        ge=1,
        description="Pushed versions that stay, the newest ones; null: all.",
    )
