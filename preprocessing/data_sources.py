"""Where data sets can be downloaded: the list beside this module, or a file of the user's own."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, field_validator

from preprocessing.findings import BadInput

SHIPPED = "data_sources.yaml"
SCHEMES = ("https", "http")


class DataSource(BaseModel):
    """One data set and its addresses.

    Attributes:
      what: what it holds, for a person.
      layout: the layout that its archive is in, see preprocessing/layouts.py.
      terms: what it may be used for, in a line.
      terms_url: where the terms are written.
      sha256: checksum of the archive, lower-case hexadecimal; None where none is known.
      urls: addresses of the archive, in the order in which they are tried.
      by_hand: pages to look at in a browser when no address answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    layout: str
    terms: str
    terms_url: str
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()

    @field_validator("sha256")
    @classmethod
    def _is_checksum(cls, value: str | None) -> str | None:
        return None if value is None else checksum(value)

    @field_validator("urls")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(web_address(url) for url in value)


def checksum(text: str) -> str:
    """A sha256 in lower case.

    Raises:
      BadInput: it is not 64 hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise BadInput(
            "not_a_checksum", f"{text!r} is no sha256: expected 64 hexadecimal digits (0-9, a-f)."
        )
    return text.lower()


def web_address(text: str) -> str:
    """The address itself, if it is one that can be downloaded from.

    Raises:
      BadInput: it is not http:// or https:// with a host.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in SCHEMES and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(
            "not_an_address",
            f"{text!r} is no address to download from: expected https:// or http:// and a host. "
            "What is on this machine already needs no download: give it to pointnet-parts convert.",
        )
    return text


def read_sources(file: str | None = None) -> dict[str, DataSource]:
    """Data sets by name.

    Args:
      file: a list of the user's own; None for the one that comes with the program.

    Raises:
      BadInput: the file cannot be read, or does not have the form of the shipped one.
    """
    try:
        if file is None:
            text = (resources.files("preprocessing") / SHIPPED).read_text("utf-8")
        else:
            text = Path(file).expanduser().read_text("utf-8")
        sources = TypeAdapter(dict[str, DataSource]).validate_python(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise BadInput("no_addresses", f"cannot be read ({reason}).", str(file)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadInput(
            "bad_addresses",
            f"is no YAML ({getattr(error, 'problem', error)}).",
            str(file),
            mark.line + 1 if mark else 0,
        ) from None
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(step) for step in wrong["loc"]) or "the file"
        raise BadInput(
            "bad_addresses",
            f"{place}: {wrong['msg'].removeprefix('Value error, ')}. Expected data sets by name, "
            f"each with {', '.join(DataSource.model_fields)}.",
            str(file),
        ) from None
    for name in sources:
        # Names of data sets become names of files.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", name):
            raise BadInput(
                "bad_addresses",
                f"{name!r} names a data set: expected letters, digits, - and _.",
                str(file),
            )
    return sources
