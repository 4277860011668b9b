"""The base class of all settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from typing_extensions import Self


class Settings(BaseModel):
    """A section of the configuration; a docstring below a field is its description for users."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The settings with other values by dotted key, such as "training.augmentation.shift".

        Raises ValueError if a key is unknown or a value is refused.
        """
        changed = self.model_dump(mode="json")
        for name, value in values.items():
            *sections, key = name.split(".")
            section: Any = changed
            for part in sections:
                section = section.get(part) if isinstance(section, dict) else None
            if not isinstance(section, dict) or key not in section:
                raise ValueError(f"unknown key {name}")
            section[key] = value
        return type(self).model_validate(changed)
