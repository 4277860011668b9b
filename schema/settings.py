"""The base class of all settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of the configuration; a docstring below a field is its description for users."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
