"""The base class of all settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of the configuration: unknown keys are errors, values never change after loading.

    The docstring below a field is its description in `pointnet-parts config`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
