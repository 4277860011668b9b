import hashlib

import pytest

from preprocessing.conversion.manifest import Manifest
from preprocessing.conversion.records import from_example, read_records


class OwnClouds:
    """Writes a folder of own clouds, cloud by cloud."""

    def __init__(self, root, categories):
        self.root = root
        root.mkdir(parents=True)
        lines = [f"  {name}: [{', '.join(parts)}]\n" for name, parts in categories.items()]
        (root / "clouds.yaml").write_text("categories:\n" + "".join(lines))

    def cloud(self, name, labels, category="Chair"):
        """A CSV of points with these labels."""
        rows = [f"0.5,{i},{i * i},{label}\n" for i, label in enumerate(labels)]
        path = self.root / category / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x,y,z,label\n" + "".join(rows))


def contents(folder):
    """Hash of every file, by name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def listed(folder):
    """Hash of the files that a data set's manifest lists, by name; and of the manifest."""
    manifest = Manifest.load(folder)
    name = "manifest.json"
    hashed = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return {name: hashed, **{shard.file: shard.sha256 for shard in manifest.shards}}


def clouds_of(folder, split):
    found = []
    for shard in Manifest.load(folder).shards:
        if shard.split == split:
            with open(folder / shard.file, "rb") as file:
                found += [from_example(record) for record in read_records(file, shard.file)]
    return found


@pytest.fixture(scope="session")
def twelve(part_annotation_folder, tmp_path_factory):
    """A PartAnnotation folder of twelve shapes."""
    folder = part_annotation_folder(tmp_path_factory.mktemp("twelve") / "source")
    for i in range(12):
        folder.shape(f"shape{i:02d}", 6 + i)
    return str(folder.root)


@pytest.fixture
def own_clouds(tmp_path):
    return lambda **categories: OwnClouds(tmp_path / "own", categories)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "data"
