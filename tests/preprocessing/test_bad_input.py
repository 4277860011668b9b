"""Every bad input that we know of, through whole conversions: the cases behind docs/bad_input.md.

The page is generated: REGENERATE=1 pytest tests/preprocessing/test_bad_input.py writes it anew.
"""

import io
import itertools
import json
import os
import re
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from preprocessing.examples import from_example
from preprocessing.file_tree import open_tree
from preprocessing.findings import BadInput
from preprocessing.manifest import Manifest
from preprocessing.tfrecord import read_records

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad_input.md"

LEFT_OUT = "the shape is left out"
NOTED = "accepted, with a note"
ACCEPTED = "accepted"
STOPS = "conversion stops"
DETECTED = "reading stops"

POINTS = "0.1 0.2 0.3\n0.4 0.5 0.6\n0.7 0.8 0.9\n"
TABLE = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]], np.float32)
BODY, WING = "1\n0\n0\n", "0\n1\n0\n"
LABELS = (0, 1, -1)
SOUND = [f"sound{i:02d}" for i in range(12)]
PLANE = "02691156"


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
      name: the test's name; where the case is a shape, also the shape's.
      what: the input, for people.
      outcome: one of the above.
      make: makes it, given the source (of its group) and the name.
      code: of the message.
      labels: of an accepted shape.
      points: of an accepted shape.
      settings: of the conversion, where it has one of its own.
    """

    name: str
    what: str
    outcome: str
    make: Callable
    code: str = ""
    labels: tuple = LABELS
    points: np.ndarray = field(default_factory=lambda: TABLE)
    settings: dict = field(default_factory=dict)


def cloud(points=POINTS, body=BODY, wing=WING, verified=None):
    """Makes a shape of three points: the first is body, the second wing, the third nothing."""

    def make(folder, name):
        folder.points(name, points)
        for part, text in (("body", body), ("wing", wing)):
            if text is not None:
                folder.part(name, part, text)
        if verified is not None:
            folder.verified(name, verified)

    return make


def without_points(put):
    """Makes the shape's labels, and puts something else in the place of its points."""

    def make(folder, name):
        cloud()(folder, name)
        path = folder.root / "planes" / "points" / f"{name}.pts"
        path.unlink()
        put(path)

    return make


def unreadable(folder, name):
    cloud()(folder, name)
    (folder.root / "planes" / "points" / f"{name}.pts").chmod(0)


def second_line(text):
    """The points with another second line."""
    line = text if isinstance(text, bytes) else text.encode()
    return b"0.1 0.2 0.3\n" + line + b"\n0.7 0.8 0.9\n"


def in_two_categories(folder, name):
    cloud()(folder, name)
    folder.points(name, POINTS, "rockets")
    folder.part(name, "body", BODY, "rockets")


CUT = TABLE.copy()
CUT[2, 2] = 0.0

POINT_FILES = [
    Case("cut_in_a_line", "cut short within a line", LEFT_OUT, cloud(POINTS[:20]), "wrong_columns"),
    Case(
        "cut_after_a_line",
        "cut short after a line: more labels than points",
        LEFT_OUT,
        cloud(POINTS[:24]),
        "count_mismatch",
    ),
    Case(
        "cut_in_the_last_number",
        "cut short within the last number (`0.9` became `0.`): nothing in the file tells",
        ACCEPTED,
        cloud(POINTS[:-2]),
        points=CUT,
    ),
    Case("no_bytes", "empty", LEFT_OUT, cloud(""), "empty_file"),
    Case("blank_lines", "nothing but blank lines", LEFT_OUT, cloud("\n \n\n"), "empty_file"),
    Case(
        "word", "a word for a number", LEFT_OUT, cloud(second_line("0.4 wing 0.6")), "not_a_number"
    ),
    Case("nan", "NaN", LEFT_OUT, cloud(second_line("0.4 nan 0.6")), "not_finite"),
    Case("inf", "Inf", LEFT_OUT, cloud(second_line("0.4 0.5 -inf")), "not_finite"),
    Case(
        "beyond_float32",
        "a number beyond 32-bit floats",
        LEFT_OUT,
        cloud(second_line("0.4 1e39 0.6")),
        "not_finite",
    ),
    Case(
        "two_numbers", "a number missing", LEFT_OUT, cloud(second_line("0.4 0.5")), "wrong_columns"
    ),
    Case(
        "six_numbers",
        "more columns than x y z",
        LEFT_OUT,
        cloud(second_line("0.4 0.5 0.6 0 0 1")),
        "wrong_columns",
    ),
    Case("gap", "an empty line within", LEFT_OUT, cloud(second_line("")), "wrong_columns"),
    Case(
        "comma_separated",
        "commas between the numbers",
        LEFT_OUT,
        cloud(second_line("0.4,0.5,0.6")),
        "wrong_columns",
    ),
    Case(
        "decimal_comma",
        "decimal commas",
        LEFT_OUT,
        cloud(second_line("0,4 0,5 0,6")),
        "not_a_number",
    ),
    Case("hexadecimal", "`0x10`", LEFT_OUT, cloud(second_line("0.4 0x10 0.6")), "not_a_number"),
    Case("grouped", "`1_000`", LEFT_OUT, cloud(second_line("0.4 1_000 0.6")), "not_a_number"),
    Case("nul", "zero bytes", LEFT_OUT, cloud(second_line(b"\0" * 11)), "wrong_columns"),
    Case("utf16", "UTF-16", LEFT_OUT, cloud(POINTS.encode("utf-16")), "wrong_encoding"),
    Case(
        "latin1",
        "a Latin-1 byte (here a no-break space)",
        LEFT_OUT,
        cloud(second_line(b"0.4\xa00.5 0.6")),
        "wrong_encoding",
    ),
    Case(
        "other_digits",
        "digits of another script",
        LEFT_OUT,
        cloud(second_line("0.4 ٠.٥ 0.6")),
        "wrong_encoding",
    ),
    Case(
        "windows",
        "Windows line ends",
        ACCEPTED,
        cloud(POINTS.replace("\n", "\r\n"), BODY.replace("\n", "\r\n"), WING.replace("\n", "\r\n")),
    ),
    Case("old_mac", "line ends of the old Mac", ACCEPTED, cloud(POINTS.replace("\n", "\r"))),
    Case(
        "byte_order_mark",
        "a UTF-8 byte order mark",
        ACCEPTED,
        cloud(b"\xef\xbb\xbf" + POINTS.encode(), b"\xef\xbb\xbf" + BODY.encode()),
    ),
    Case(
        "scientific",
        "scientific notation",
        ACCEPTED,
        cloud(second_line("4e-1 +5.0E-01 .6"), "1.000000e+00\n0\n0e0\n"),
    ),
    Case("tabs", "tabs, several blanks", ACCEPTED, cloud(POINTS.replace(" ", " \t ") + " \n")),
    Case("no_last_end", "no newline at the end", ACCEPTED, cloud(POINTS[:-1], BODY[:-1])),
    Case("ends_in_blanks", "empty lines at the end", ACCEPTED, cloud(POINTS + "\n\n", BODY + "\n")),
    Case(
        "folder",
        "a folder in its place",
        LEFT_OUT,
        without_points(lambda path: path.mkdir()),
        "not_a_file",
    ),
    Case(
        "pipe",
        "a named pipe in its place",
        LEFT_OUT,
        without_points(os.mkfifo),
        "not_a_file",
    ),
    Case(
        "link_loop",
        "a symbolic link to itself",
        LEFT_OUT,
        without_points(lambda path: path.symlink_to(path.name)),
        "unreadable",
    ),
    Case(
        "link_to_nowhere",
        "a symbolic link to nowhere",
        LEFT_OUT,
        without_points(lambda path: path.symlink_to("nowhere")),
        "no_file",
    ),
    Case("unreadable", "not readable for this user", LEFT_OUT, unreadable, "unreadable"),
    Case(
        "failing_disk",
        "reading fails",
        LEFT_OUT,
        # The first page of memory, which is never there, is read with the error of a broken disk.
        without_points(lambda path: path.symlink_to("/proc/self/mem")),
        "unreadable",
    ),
]

LABEL_FILES = [
    Case(
        "more_labels",
        "more labels than points",
        LEFT_OUT,
        cloud(body=BODY + "0\n"),
        "count_mismatch",
    ),
    Case(
        "fewer_labels", "fewer labels than points", LEFT_OUT, cloud(wing="0\n1\n"), "count_mismatch"
    ),
    Case("no_labels_in_it", "empty", LEFT_OUT, cloud(wing=""), "empty_file"),
    Case("label_word", "a word", LEFT_OUT, cloud(body="1\nno\n0\n"), "not_a_label"),
    Case("label_2", "neither 0 nor 1", LEFT_OUT, cloud(body="1\n0\n2\n"), "not_a_mask"),
    Case("label_half", "a fraction", LEFT_OUT, cloud(body="1\n0\n0.5\n"), "not_a_label"),
    Case("label_nan", "NaN", LEFT_OUT, cloud(body="1\n0\nnan\n"), "not_a_label"),
    Case("label_gap", "an empty line within", LEFT_OUT, cloud(body="1\n\n0\n"), "not_a_label"),
    Case(
        "label_utf16",
        "UTF-16",
        LEFT_OUT,
        cloud(body=BODY.encode("utf-16")),
        "wrong_encoding",
    ),
    Case(
        "verified_beyond",
        "an expert's label beyond the parts",
        LEFT_OUT,
        cloud(verified="1\n2\n7\n"),
        "unknown_label",
    ),
    Case(
        "overlap",
        "a point that two part files claim: it is left unannotated",
        NOTED,
        cloud(body="1\n1\n0\n"),
        "overlapping_parts",
        labels=(0, -1, -1),
    ),
    Case(
        "labels_alone",
        "labels of a shape that has no points",
        NOTED,
        lambda folder, name: folder.part(name, "body", BODY),
        "labels_without_points",
        labels=(),
    ),
    Case(
        "other_part",
        "a part's folder that metadata.json does not name",
        NOTED,
        lambda folder, name: (cloud()(folder, name), folder.part(name, "propeller", BODY)),
        "unknown_part",
    ),
    Case(
        "same_id",
        "an id in two categories: named `<category>/<id>`, in the same split",
        NOTED,
        in_two_categories,
        "duplicate_id",
    ),
    Case(
        "empty_category",
        "a category of metadata.json without shapes",
        NOTED,
        lambda folder, name: None,
        "no_shapes",
        labels=(),
    ),
]


class Benchmark:
    """Writes a benchmark folder, with or without normals."""

    def __init__(self, root, normal):
        self.root, self._normal = root, normal
        root.mkdir()
        (root / "synsetoffset2category.txt").write_text(f"Airplane\t{PLANE}\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def shape(self, name, points=POINTS, labels="1\n2\n0\n"):
        if self._normal:
            rows = zip(points.splitlines(), labels.splitlines(), strict=True)
            text = "".join(f"{row} 0 0 1 {label}\n" for row, label in rows)
            self.write(f"{PLANE}/{name}.txt", text)
        else:
            self.write(f"{PLANE}/points/{name}.pts", points)
            self.write(f"{PLANE}/points_label/{name}.seg", labels)


def in_two_lists(folder, name):
    folder.shape(name)
    for split in ("train", "test"):
        names = json.dumps([f"shape_data/{PLANE}/{name}"])
        folder.write(f"train_test_split/shuffled_{split}_file_list.json", names)


BENCHMARK = [
    Case(
        "v0_label_beyond",
        "`.seg`: a label beyond the category's parts",
        LEFT_OUT,
        lambda folder, name: folder.shape(name, labels="1\n2\n5\n"),
        "unknown_label",
    ),
    Case(
        "v0_more_labels",
        "`.seg`: more labels than points",
        LEFT_OUT,
        lambda folder, name: folder.shape(name, labels="1\n2\n0\n1\n"),
        "count_mismatch",
    ),
    Case(
        "v0_minus",
        "`.seg`: a negative label",
        LEFT_OUT,
        lambda folder, name: folder.shape(name, labels="1\n2\n-1\n"),
        "unknown_label",
    ),
    Case(
        "v0_windows",
        "`.seg`: Windows line ends",
        ACCEPTED,
        lambda folder, name: folder.shape(name, labels="1\r\n2\r\n0\r\n"),
    ),
    Case(
        "v0_two_lists",
        "an id in two official lists: kept in the more held-out split",
        NOTED,
        in_two_lists,
        "in_two_splits",
    ),
]

BENCHMARK_NORMAL = [
    Case(
        "normal_label_beyond",
        "`.txt`: a label of another category",
        LEFT_OUT,
        lambda folder, name: folder.shape(name, labels="0\n1\n24\n"),
        "unknown_label",
    ),
    Case(
        "normal_label_half",
        "`.txt`: a fraction for a label",
        LEFT_OUT,
        lambda folder, name: folder.shape(name, labels="0\n1\n1.5\n"),
        "not_a_label",
    ),
    Case(
        "normal_three_columns",
        "`.txt`: lines of x y z only",
        LEFT_OUT,
        lambda folder, name: folder.write(f"{PLANE}/{name}.txt", POINTS),
        "wrong_columns",
    ),
]

# 10 GiB of zeros: this many MiB, and their CRC-32.
BOMB_MIB, BOMB_CRC = 10 * 1024, 0xF41D912F


def zeros():
    """10 GiB of zeros, deflated; the same MiB again and again, so it is made in an instant."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return packed * BOMB_MIB + packer.flush()


class Zip:
    """Writes a PartAnnotation archive."""

    def __init__(self, path):
        self.archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        parts = {"directory": "planes", "lables": ["body", "wing", "tail"]}
        self.archive.writestr("metadata.json", json.dumps({"Airplane": parts}))

    def points(self, name, text, compression=None):
        self.archive.writestr(f"planes/points/{name}.pts", text, compression)

    def part(self, name, part, text):
        self.archive.writestr(f"planes/points_label/{part}/{name}.seg", text)

    def labels(self, name):
        self.part(name, "body", BODY)
        self.part(name, "wing", WING)

    def packed(self, name, content, size, crc):
        """A file whose headers say these things of bytes that are deflated already."""
        info = zipfile.ZipInfo(f"planes/points/{name}.pts")
        with self.archive.open(info, "w", force_zip64=True) as file:
            file.write(content)
        info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, size, crc
        end = self.archive.fp.tell()
        self.archive.fp.seek(info.header_offset)
        self.archive.fp.write(info.FileHeader(zip64=True))
        self.archive.fp.seek(end)


def zipped(points):
    """Makes a shape of an archive."""

    def make(archive, name):
        points(archive, name)
        archive.labels(name)

    return make


def encrypted(archive, name):
    archive.points(name, POINTS)
    archive.archive.getinfo(f"planes/points/{name}.pts").flag_bits |= 1


def twice(archive, name):
    archive.points(name, POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        archive.points(name, POINTS)


def outside(archive, name):
    archive.points(name, POINTS)
    for path in (f"/planes/points/{name}_root.pts", f"../planes/points/{name}_up.pts"):
        archive.archive.writestr(path, POINTS)


ARCHIVE = [
    Case(
        "bomb",
        "a zip bomb: 10 MB that unpack to 10 GB (nothing of it is unpacked)",
        LEFT_OUT,
        zipped(lambda zip_, name: zip_.packed(name, zeros(), BOMB_MIB * 2**20, BOMB_CRC)),
        "too_large",
    ),
    Case(
        "lying_bomb",
        "a zip bomb that the archive says is small (no more than that is unpacked)",
        LEFT_OUT,
        zipped(lambda zip_, name: zip_.packed(name, zeros(), 36, 0)),
        "damaged_archive",
    ),
    Case(
        "other_paths",
        "files with an absolute path, or one through `..`: they are not listed",
        ACCEPTED,
        zipped(outside),
    ),
    Case("twice", "a file that stands twice in it", LEFT_OUT, zipped(twice), "duplicate_file"),
    Case(
        "damaged_file",
        "a damaged file in it",
        LEFT_OUT,
        zipped(lambda zip_, name: zip_.packed(name, b"\x03\x00", 0, 1)),
        "damaged_archive",
    ),
    Case("encrypted", "an encrypted file in it", LEFT_OUT, zipped(encrypted), "encrypted"),
    Case(
        "bzip2",
        "a file packed in an uncommon way",
        LEFT_OUT,
        zipped(lambda zip_, name: zip_.points(name, POINTS, zipfile.ZIP_BZIP2)),
        "other_compression",
    ),
]


def metadata(text):
    """Makes a source with ten sound shapes, and this metadata.json."""

    def make(folder, name):
        for shape in SOUND:
            folder.shape(shape)
        (folder.root / "metadata.json").write_bytes(
            text if isinstance(text, bytes) else text.encode()
        )

    return make


def whole(put):
    """Makes something else in the place of the source."""

    def make(folder, name):
        (folder.root / "metadata.json").unlink()
        folder.root.rmdir()
        put(folder.root)

    return make


def metadata_folder(folder, name):
    (folder.root / "metadata.json").unlink()
    (folder.root / "metadata.json").mkdir()


def cut_archive(path):
    archive = Zip(path)
    archive.archive.close()
    path.write_bytes(path.read_bytes()[:-30])


def latin1_name(folder, name):
    folder.shape("sound")
    Path(os.fsdecode(os.fsencode(folder.root / "planes" / "points") + b"/caf\xe9.pts")).touch()


def many_bad(folder, name):
    metadata(json.dumps({"Airplane": {"directory": "planes", "lables": ["body", "wing"]}}))(
        folder, name
    )
    for shape in SOUND[:3]:
        folder.points(shape, "")


def list_is_no_list(folder, name):
    (folder.root / "metadata.json").unlink()
    benchmark = folder.root
    (benchmark / "synsetoffset2category.txt").write_text(f"Airplane\t{PLANE}\n")
    (benchmark / PLANE / "points").mkdir(parents=True)
    (benchmark / "train_test_split").mkdir()
    (benchmark / "train_test_split" / "shuffled_val_file_list.json").write_text('{"a": 1}')


SOURCE = [
    Case(
        "without_lables",
        "metadata.json without `lables`",
        STOPS,
        metadata('{"Airplane": {"directory": "planes"}}'),
        "bad_metadata",
    ),
    Case(
        "metadata_leads_out",
        "metadata.json with a folder outside of the source",
        STOPS,
        metadata('{"Airplane": {"directory": "../planes", "lables": ["body"]}}'),
        "bad_metadata",
    ),
    Case(
        "metadata_cut", "metadata.json cut short", STOPS, metadata('{"Airplane": '), "bad_metadata"
    ),
    Case("metadata_empty", "metadata.json empty", STOPS, metadata(""), "bad_metadata"),
    Case(
        "metadata_utf16",
        "metadata.json in UTF-16",
        STOPS,
        metadata("{}".encode("utf-16")),
        "bad_metadata",
    ),
    Case(
        "metadata_key_twice",
        "metadata.json with a category twice",
        STOPS,
        metadata('{"Airplane": {}, "Airplane": {}}'),
        "bad_metadata",
    ),
    Case("metadata_folder", "metadata.json is a folder", STOPS, metadata_folder, "not_a_file"),
    Case(
        "list_is_no_list", "an official list that is none", STOPS, list_is_no_list, "bad_split_list"
    ),
    Case("latin1_name", "a file name that is not UTF-8", STOPS, latin1_name, "bad_name"),
    Case(
        "many_bad", "more unreadable shapes than `max_bad_share`", STOPS, many_bad, "too_many_bad"
    ),
    Case(
        "too_few",
        "too few labelled shapes",
        STOPS,
        lambda folder, name: folder.shape("only"),
        "too_few_shapes",
    ),
    Case(
        "no_such_category",
        "a category that the source lacks",
        STOPS,
        metadata(
            '{"Airplane": {"directory": "planes", "lables": ["body", "wing"]},'
            ' "Chair": {"directory": "chairs", "lables": ["leg"]}}'
        ),
        "unknown_category",
        settings={"category": "Boat"},
    ),
    Case("nothing_there", "nothing at this place", STOPS, whole(lambda path: None), "no_source"),
    Case("source_pipe", "a named pipe", STOPS, whole(os.mkfifo), "no_source"),
    Case(
        "source_loop",
        "a symbolic link to itself",
        STOPS,
        whole(lambda path: path.symlink_to(path.name)),
        "no_source",
    ),
    Case(
        "source_text",
        "a file that is no .zip",
        STOPS,
        whole(lambda path: path.write_text("points")),
        "not_an_archive",
    ),
    Case("archive_cut", "a .zip cut short", STOPS, whole(cut_archive), "not_an_archive"),
    Case("empty_folder", "an empty folder", STOPS, whole(os.mkdir), "no_layout"),
]

RECORD_FILES = [
    Case(
        "flipped_byte",
        "a flipped byte, wherever it is",
        DETECTED,
        lambda content: content[:-8] + bytes([content[-8] ^ 1]) + content[-7:],
        "damaged_record_file",
    ),
    Case(
        "record_file_cut",
        "cut short",
        DETECTED,
        lambda content: content[:-9],
        "damaged_record_file",
    ),
    Case(
        "record_file_longer",
        "something behind its end",
        DETECTED,
        lambda content: content + b"x",
        "damaged_record_file",
    ),
]

GROUPS = {
    "Points (`.pts`)": POINT_FILES,
    "Labels (`.seg`), parts, ids": LABEL_FILES,
    "The benchmark's files": [*BENCHMARK, *BENCHMARK_NORMAL],
    "Archives (`.zip`)": ARCHIVE,
    "The source as a whole": SOURCE,
    "Converted record files (`.tfrecord.gz`)": RECORD_FILES,
}
CASES = list(itertools.chain(*GROUPS.values()))
SHAPE_CASES = [case for case in CASES if case.outcome in (LEFT_OUT, NOTED, ACCEPTED)]

INTRODUCTION = """\
<!-- Written by tests/preprocessing/test_bad_input.py from its cases; change them, then run
     REGENERATE=1 pytest tests/preprocessing/test_bad_input.py -->

# Bad input

What a conversion does with each bad input that we know of, and what it says. A shape that cannot be
read is left out: the message stands on the screen and in `manifest.json`, and the other shapes are
converted. More of them than `max_bad_share` allows stop the conversion. Nothing is guessed: a shape
is read to the last number, or not at all.

Each row is a test, a whole conversion: `make test TESTS="tests/preprocessing/test_bad_input.py -k
word"` runs the one named `word`. `SOURCE` is the folder or archive that was given.
"""


# Gives up root's right to read every file, which does not come back, then becomes the command.
UNPRIVILEGED = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""
CONVERT = """
import json, sys
from preprocessing.convert import convert
from preprocessing.findings import BadInput
from preprocessing.settings import DataSettings
errors = []
for source, output, settings in json.load(sys.stdin):
    try:
        convert(source, output, DataSettings.model_validate(settings))
        errors.append(None)
    except BadInput as error:
        errors.append([error.code, str(error)])
print(json.dumps(errors))
"""


@dataclass
class Result:
    """What came of a source: error code and message, or the data set."""

    source: str
    out: Path
    error: list | None

    def records(self):
        for path in self.out.rglob("*.tfrecord.gz"):
            with open(path, "rb") as file:
                yield from map(from_example, read_records(file, str(path)))


@pytest.fixture(scope="module")
def results(part_annotation_folder, tmp_path_factory):
    """The result for each case, by its name: one process converts all the sources."""
    root = tmp_path_factory.mktemp("bad_input")
    parts = {"Airplane": "planes", "Rocket": "rockets", "Boat": "boats"}
    known = ["body", "wing", "tail"]
    folder = part_annotation_folder(
        root / "folder", {n: {"directory": d, "lables": known} for n, d in parts.items()}
    )
    v0, normal = Benchmark(root / "v0", False), Benchmark(root / "normal", True)
    zip_ = Zip(root / "data.zip")
    for name in SOUND:
        cloud()(folder, name)
        v0.shape(name)
        normal.shape(name, labels="0\n1\n2\n")
        cloud()(zip_, name)
    made = [
        (folder, root / "folder", [*POINT_FILES, *LABEL_FILES]),
        (v0, root / "v0", BENCHMARK),
        (normal, root / "normal", BENCHMARK_NORMAL),
        (zip_, root / "data.zip", ARCHIVE),
    ]
    lenient = {"category": "all", "max_bad_share": 0.9}
    orders = [(path, lenient, cases) for _, path, cases in made]
    for source, _, cases in made:
        for case in cases:
            case.make(source, case.name)
    zip_.archive.close()
    for case in SOURCE:
        own = part_annotation_folder(root / case.name / "source")
        case.make(own, case.name)
        orders.append((own.root, case.settings, [case]))

    lines = [[str(p), f"{root}/out{i}", s] for i, (p, s, _) in enumerate(orders)]
    python = [sys.executable, "-W", "ignore"]
    done = subprocess.run(
        [*python, "-c", UNPRIVILEGED, *python, "-c", CONVERT],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    errors = json.loads(done.stdout.splitlines()[-1])
    found = {}
    for (source, out, _), (_, _, cases), error in zip(lines, orders, errors, strict=True):
        result = Result(source, Path(out), error)
        found |= {case.name: result for case in cases}
    return found


def findings(case, result):
    """Those of the case: of its shape, or with its code where it concerns more than a shape."""
    every = Manifest.load(result.out).findings
    mine = [finding for finding in every if finding.shape == case.name]
    return mine or [f for f in every if f.code == case.code and not f.shape]


def damaged(case, content):
    with pytest.raises(BadInput) as error:
        list(read_records(io.BytesIO(case.make(content)), "train/part-00000-of-00001.tfrecord.gz"))
    return error.value


def record_file(results):
    """The smallest record file that was converted."""
    files = results["word"].out.rglob("*.tfrecord.gz")
    return min(files, key=lambda path: path.stat().st_size).read_bytes()


@pytest.mark.parametrize("case", SHAPE_CASES, ids=lambda case: case.name)
def test_a_bad_shape_is_left_out_and_no_other(case, results):
    result = results[case.name]
    assert result.error is None
    mine = findings(case, result)
    records = {record.shape_id: record for record in result.records()}
    if case.name == "unreadable" and case.name in records:
        pytest.skip("this user reads every file, and cannot give that up")
    assert [f.code for f in mine] == ([case.code] if case.outcome != ACCEPTED else [])
    assert [f.left_out for f in mine] == [case.outcome == LEFT_OUT] * len(mine)
    ids = (
        {f"Airplane/{case.name}", f"Rocket/{case.name}"} if case.name == "same_id" else {case.name}
    )
    if case.outcome == LEFT_OUT or not case.labels:
        assert not ids & records.keys()
        return
    for shape_id in ids:
        record = records[shape_id]
        np.testing.assert_array_equal(record.points, case.points)
        expected = (0, -1, -1) if shape_id.startswith("Rocket") else case.labels
        assert record.labels.tolist() == list(expected)


@pytest.mark.parametrize("name", ["word", "v0_minus", "normal_label_half", "bomb"])
def test_the_sound_shapes_are_all_there(name, results):
    records = {record.shape_id: record for record in results[name].records()}
    for shape in SOUND:
        np.testing.assert_array_equal(records[shape].points, TABLE)
        expected = [0, 1, 2] if name == "normal_label_half" else [0, 1, -1]
        assert records[shape].labels.tolist() == expected
    bad = {case.name for case in SHAPE_CASES}
    others = {re.sub(r"^(Airplane|Rocket)/", "", shape_id) for shape_id in records.keys() - SOUND}
    assert others <= bad


@pytest.mark.parametrize("case", SOURCE, ids=lambda case: case.name)
def test_a_bad_source_stops_it_and_leaves_nothing(case, results):
    result = results[case.name]
    assert result.error is not None
    assert result.error[0] == case.code
    beside = {path.name for path in result.out.parent.iterdir()}
    assert not {name for name in beside if name.split(".")[0] == result.out.name}


@pytest.mark.parametrize("case", RECORD_FILES, ids=lambda case: case.name)
def test_a_damaged_record_file_is_not_read(case, results):
    assert damaged(case, record_file(results)).code == case.code


def test_each_flipped_bit_of_a_record_file_is_found_or_harmless(results):
    content = record_file(results)
    sound = list(read_records(io.BytesIO(content), "a"))
    assert sound
    harmless = set()
    for position in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            try:
                found = list(read_records(io.BytesIO(flipped), "a"))
            except BadInput as error:
                assert error.code == "damaged_record_file"
            else:
                assert found == sound
                harmless.add(position)
    # gzip's header says nothing of the content in bytes 3 to 9 (flags, time, system), and the last
    # byte before its checksum may have bits to spare.
    assert harmless <= {*range(3, 10), len(content) - 9}


@pytest.mark.parametrize(("name", "peak"), [("bomb", 2**18), ("lying_bomb", 2**20)])
def test_a_bomb_is_not_unpacked(name, peak, results):
    archive = Path(results[name].source)
    tree = open_tree(str(archive))
    assert 2 * 10**7 < archive.stat().st_size < 3 * 10**7
    tracemalloc.start()
    with pytest.raises(BadInput):
        tree.read(f"planes/points/{name}.pts")
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < peak


def test_the_bomb_is_a_sound_archive(results):
    """It begins to unpack like any other file: it is refused for its size alone."""
    with zipfile.ZipFile(results["bomb"].source) as archive:
        info = archive.getinfo("planes/points/bomb.pts")
        assert info.file_size == 10 * 2**30
        assert info.compress_size < 11 * 10**6
        with archive.open(info) as file:
            assert file.read(2**22) == bytes(2**22)


def message(case, results):
    if case.outcome == DETECTED:
        return str(damaged(case, record_file(results)))
    result = results[case.name]
    if case.outcome == STOPS:
        return result.error[1].replace(result.source, "SOURCE")
    return " ".join(str(finding) for finding in findings(case, result))


def test_the_page_says_what_the_cases_do(results):
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    if "unreadable" in {record.shape_id for record in results["unreadable"].records()}:
        pytest.skip("this user reads every file, and cannot give that up")
    page = INTRODUCTION
    for title, cases in GROUPS.items():
        page += f"\n## {title}\n\n| input | what happens | message | test |\n|---|---|---|---|\n"
        for case in cases:
            said = message(case, results).replace("|", r"\|")
            said = f"`{said}`" if said else ""
            page += f"| {case.what} | {case.outcome} | {said} | `{case.name}` |\n"
    if os.environ.get("REGENERATE"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
