from dataclasses import dataclass

import pytest

from preprocessing.datasets.base import Listing, Reader, chosen_categories
from preprocessing.datasets.layouts import open_reader
from preprocessing.settings import DataSettings
from schema.errors import Finding, UserError
from schema.record import Cloud


@dataclass
class DataSet:
    """Everything that a reader gives: clouds, or why a shape cannot be read, by name."""

    reader: Reader
    listing: Listing
    clouds: dict[str, Cloud | UserError]
    findings: list[Finding]

    def labels(self, name):
        return self.clouds[name].labels.tolist()


def load_data_set(source, category="all", **settings):
    reader = open_reader(str(source), DataSettings(category=category, **settings))
    listing = reader.list_shapes(chosen_categories(reader.categories, category))
    findings = list(listing.findings)
    clouds = {}
    for shape in listing.shapes:
        try:
            clouds[shape.name] = reader.read(shape, findings)
        except UserError as error:
            clouds[shape.name] = error
    return DataSet(reader, listing, clouds, findings)


@pytest.fixture(scope="session")
def load():
    return load_data_set


def refused(source, category="all"):
    """The error of a data set that is refused as a whole."""
    with pytest.raises(UserError) as error:
        load_data_set(source, category)
    return error.value


@pytest.fixture(scope="session")
def refusal():
    return refused


def write_file(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture(scope="session")
def write():
    return write_file
