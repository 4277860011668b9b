"""The base class of the families' settings; it loads without Keras."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from schema.settings import Settings

if TYPE_CHECKING:
    from model.networks.interface import SegmentationNetwork


class FamilySettings(Settings):
    """Settings of one family of networks, which is the package `model.networks.<family>`."""

    family: str

    FREE: ClassVar[frozenset[str]] = frozenset()
    """Fields that change neither the weights' shapes nor what they mean."""

    def build(
        self, num_classes: int, num_categories: int = 1, dtype: str = "float32"
    ) -> SegmentationNetwork:
        """Makes a network with random weights.

        `num_classes` counts the parts of all categories; `dtype` is a Keras dtype policy.
        Raises ValueError if a number is less than 1.
        """
        for name, value in (("num_classes", num_classes), ("num_categories", num_categories)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        module = importlib.import_module(f"model.networks.{self.family}.network")
        network: SegmentationNetwork = module.Network(
            self, num_classes, num_categories, dtype=dtype
        )
        return network

    @property
    def min_clouds_per_device(self) -> int:
        """Fewest clouds of a batch on one device with which every weight gets a gradient."""
        return 1

    def scaled(self, factor: float) -> Self:
        """The settings with all widths multiplied by `factor`."""
        raise NotImplementedError

    def weights_of(self) -> dict[str, Any]:
        """The fields that weights depend on: equal ones fit each other's networks."""
        return self.model_dump(mode="json", exclude=set(self.FREE))
