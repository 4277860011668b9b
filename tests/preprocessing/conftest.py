import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

METADATA = {"Airplane": {"directory": "planes", "lables": ["body", "wing", "tail"]}}


class PartAnnotationFolder:
    """Writes a PartAnnotation folder, shape by shape."""

    def __init__(self, root, metadata=METADATA):
        self.root = root
        self.write("metadata.json", json.dumps(metadata))

    def points(self, shape, text, directory="planes"):
        self.write(f"{directory}/points/{shape}.pts", text)

    def part(self, shape, part, text, directory="planes"):
        self.write(f"{directory}/points_label/{part}/{shape}.seg", text)

    def verified(self, shape, text, directory="planes"):
        self.write(f"{directory}/expert_verified/points_label/{shape}.seg", text)

    def shape(self, shape, points=6, directory="planes"):
        """A good shape: half body, half wing."""
        rng = np.random.default_rng(len(shape) + points)
        rows = rng.uniform(-1, 1, (points, 3)).tolist()
        text = "".join(f"{x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in rows)
        self.points(shape, text, directory)
        half = points // 2
        self.part(shape, "body", "1\n" * half + "0\n" * (points - half), directory)
        self.part(shape, "wing", "0\n" * half + "1\n" * (points - half), directory)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


@pytest.fixture
def planes(tmp_path):
    """An empty PartAnnotation folder with the category Airplane (body, wing, tail)."""
    return PartAnnotationFolder(tmp_path / "source")


@pytest.fixture(scope="session")
def part_annotation_folder():
    return PartAnnotationFolder


@pytest.fixture
def real_data():
    folder = os.environ.get("POINTNET_REAL_DATA")
    if not folder:
        pytest.skip("POINTNET_REAL_DATA is not set: no real point clouds to test on")
    return Path(folder)


def _ply(order, points, labels):
    """The label first, a colour and a normal between the coordinates, types of all sizes."""
    kinds = {"label": "i2", "nx": "f8", "x": "f4", "red": "u1", "y": "f4", "z": "f8"}
    values = dict(zip("xyz", points.T, strict=True)) | {"label": labels, "nx": np.nan, "red": 200}
    if labels is None:
        del kinds["label"]
    mark = ">" if "big" in order else "<"
    table = np.zeros(len(points), [(name, mark + kind) for name, kind in kinds.items()])
    for name in kinds:
        table[name] = values[name]
    words = {"f4": "float", "f8": "double", "u1": "uchar", "i2": "short"}
    head = ["ply", f"format {order} 1.0", "comment made up", f"element vertex {len(points)}"]
    head += [f"property {words[kind]} {name}" for name, kind in kinds.items()]
    body = table.tobytes()
    if order == "ascii":
        body = "".join(" ".join(map(repr, row)) + "\n" for row in table.tolist()).encode()
    return "\n".join([*head, "end_header\n"]).encode() + body


def _table(separator, header, points, labels, quote=""):
    lines = [separator.join(header)] if header else []
    for i, row in enumerate(points.tolist()):
        words = [repr(number) for number in row]
        words += [] if labels is None else [f"{quote}{labels[i]}{quote}"]
        lines.append(separator.join(words))
    return ("\n".join(lines) + "\n").encode()


def _saved(save, *arrays, **named):
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def _columns(points, labels):
    return points if labels is None else np.column_stack([points, labels])


def _arrays(points, labels):
    return {"points": points} | ({} if labels is None else {"labels": labels})


def _header(labels):
    return ["x", "y", "z"] + ([] if labels is None else ["label"])


def _normals_between(points, labels):
    """A CSV with columns that are not asked for, one of them text, and the label before them."""
    head = [] if labels is None else ["Label"]
    lines = [",".join([*head, "nx", "name", "Z", "Y", "X"])]
    for i, (x, y, z) in enumerate(points.tolist()):
        first = [] if labels is None else [str(labels[i])]
        lines.append(",".join([*first, "nan", '"a, b"', repr(z), repr(y), repr(x)]))
    return "\r\n".join(lines).encode()


# Form -> bytes of a cloud: points float32 [n, 3], labels int64 [n] or None.
CLOUD_FORMS = {
    "ascii.ply": lambda p, s: _ply("ascii", p, s),
    "little.ply": lambda p, s: _ply("binary_little_endian", p, s),
    "big.ply": lambda p, s: _ply("binary_big_endian", p, s),
    "float64.npy": lambda p, s: _saved(np.save, _columns(p.astype(float), s)),
    "fortran.npy": lambda p, s: _saved(np.save, np.asfortranarray(_columns(p.astype(float), s))),
    "big_endian.npy": lambda p, s: _saved(np.save, _columns(p.astype(">f8"), s).astype(">f8")),
    "plain.npz": lambda p, s: _saved(np.savez, **_arrays(p, s)),
    "packed.npz": lambda p, s: _saved(np.savez_compressed, **_arrays(p, s)),
    "blanks.pts": lambda p, s: _table(" ", None, p, s),
    "tabs.txt": lambda p, s: _table("\t", None, p, s),
    "cloudcompare.xyz": lambda p, s: b"//" + _table(" ", _header(s), p, s),
    "header.csv": lambda p, s: b"\xef\xbb\xbf" + _table(",", _header(s), p, s),
    "no_header.csv": lambda p, s: _table(", ", None, p, s),
    "semicolons.csv": lambda p, s: _table(";", _header(s), p, s),
    "quoted.csv": lambda p, s: _table(",", _header(s), p, s, '"'),
    "normals.csv": _normals_between,
}
