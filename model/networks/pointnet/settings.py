"""Settings of PointNet."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from typing_extensions import Self

from model.networks.settings import FamilySettings

Width = Annotated[int, Gt(0)]
Widths = Annotated[tuple[Width, ...], MinLen(1)]


class PointNetSettings(FamilySettings):
    """Widths of PointNet's layers; the defaults are those of the published Keras example."""

    family: Literal["pointnet"] = "pointnet"
    """Family of networks."""

    local_widths: Widths = (64, 128, 128)
    """Pointwise layers between the input and the feature T-Net."""

    global_widths: Widths = (512, 2048)
    """Pointwise layers after the feature T-Net; the last one is max-pooled."""

    transform_widths: Widths = (64, 128, 1024)
    """Pointwise layers of each T-Net; the last one is max-pooled."""

    transform_dense_widths: tuple[Width, ...] = (512, 256)
    """Dense layers of each T-Net after its max pooling."""

    head_widths: Widths = (128,)
    """Pointwise layers of the segmentation head before the logits."""

    input_transform: bool = True
    """Use the 3x3 T-Net on the input."""

    feature_transform: bool = True
    """Use the T-Net on the local features."""

    orthogonality: Annotated[float, Ge(0)] = 1e-3
    """Weight of the feature transform's orthogonality loss."""

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Dropout rate in the head."""

    bias_before_batch_norm: bool = False
    """Keep biases before batch norm, which cancels them. Only the published example has them; with
    them it has 7,370,062 parameters."""

    FREE: ClassVar[frozenset[str]] = frozenset({"orthogonality", "dropout"})

    @property
    def min_clouds_per_device(self) -> int:
        """2 with a T-Net: its batch norm has one row a cloud, and no gradient with one row."""
        return 2 if self.input_transform or self.feature_transform else 1

    def scaled(self, factor: float) -> Self:
        """All widths multiplied by `factor` and rounded, at least 1."""
        widths = {
            name: tuple(max(1, round(factor * width)) for width in value)
            for name, value in self
            if name.endswith("_widths")
        }
        return self.model_copy(update=widths)
