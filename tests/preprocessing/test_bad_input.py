"""Bad input, converted: the cases behind docs/bad_input.md.

The page is generated: REGENERATE=1 pytest tests/preprocessing/test_bad_input.py writes it again.
"""

import functools
import io
import itertools
import json
import os
import re
import zipfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from preprocessing.conversion.convert import convert
from preprocessing.conversion.manifest import MANIFEST
from preprocessing.conversion.records import from_example, read_records
from preprocessing.settings import DataSettings
from schema.errors import UserError
from schema.record import UNLABELLED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad_input.md"
LEFT_OUT, NOTED, IGNORED, ACCEPTED = "left out", "noted", "ignored", "accepted"
STOPS = "conversion stops"

TABLE = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]], np.float32)
LABELS = (0, 1, -1)
POINTS = "0.1 0.2 0.3\n0.4 0.5 0.6\n0.7 0.8 0.9\n"
BODY, WING = "1\n0\n0\n", "0\n1\n0\n"
SOUND = [f"sound{number:02d}" for number in range(12)]


@dataclass(frozen=True)
class Case:
    """One bad input, and all that happens to it.

    Attributes:
      what: the input, as the page describes it.
      files: what is added to the case's base, by place: content, or a function that makes the file;
        {} is the case's name.
      finding: "code", "code:line" of the first of the files, or "code:line file" ("-": no file).
      happens: one of the above.
      labels, points: of the converted shape; labels None: it is unlabelled.
      category, facts: where the conversion stops: the setting, what the message must contain.
    """

    what: str
    files: dict
    finding: str = ""
    happens: str = LEFT_OUT
    labels: tuple | None = LABELS
    points: np.ndarray = field(default_factory=lambda: TABLE)
    category: str = "all"
    facts: tuple = ()

    @property
    def name(self):
        return re.sub(r"\W+", "_", self.what)

    @property
    def code(self):
        return re.match(r"\w*", self.finding)[0]

    @property
    def expected(self):
        """Code, file and line."""
        line, _, file = self.finding.removeprefix(self.code).partition(" ")
        file = (file or next(iter(self.files), "")).replace("{}", self.name)
        return self.code, file.removeprefix("-"), int(line[1:] or 0)


accepted, noted = partial(Case, happens=ACCEPTED), partial(Case, happens=NOTED)
ignored, stops = partial(Case, happens=IGNORED, labels=()), partial(Case, happens=STOPS)

SEGS = "planes/points_label"
PART = SEGS + "/{}/{{}}.seg"


def plane(points=POINTS, body=BODY, wing=WING):
    return {"planes/points/{}.pts": points, PART.format("body"): body, PART.format("wing"): wing}


def body(text):
    return {PART.format("body"): text} | plane(body=text)


def second(line):
    """A plane with another second line in its points."""
    return plane(f"0.1 0.2 0.3\n{line}\n0.7 0.8 0.9\n")


def every(files):
    return {place.format(name): files[place] for name in SOUND for place in files}


CUT = TABLE * np.float32([[1, 1, 1], [1, 1, 1], [1, 1, 0]])
POINT_FILES = [
    Case("empty", plane(""), "empty_file"),
    Case("blank lines only", plane("\n \n\n"), "empty_file"),
    Case("cut within a line", plane(POINTS[:20]), "wrong_columns:2"),
    Case("more than x y z", second("0.4 0.5 0.6 0 0 1"), "wrong_columns:2"),
    Case("an empty line", second(""), "wrong_columns:2"),
    Case("commas between numbers", second("0.4,0.5,0.6"), "wrong_columns:2"),
    Case("a word", second("0.4 wing 0.6"), "not_a_number:2"),
    Case("decimal commas", second("0,4 0,5 0,6"), "not_a_number:2"),
    Case("`0x10`", second("0.4 0x10 0.6"), "not_a_number:2"),
    Case("`1_000`", second("0.4 1_000 0.6"), "not_a_number:2"),
    Case("NaN", second("0.4 nan 0.6"), "not_finite:2"),
    Case("Inf", second("0.4 0.5 -inf"), "not_finite:2"),
    Case("beyond 32-bit floats", second("0.4 1e39 0.6"), "not_finite:2"),
    Case("NUL bytes", second("\0" * 11), "not_text:2"),
    Case("UTF-16", plane(POINTS.encode("utf-16")), "wrong_encoding:1"),
    Case("a Latin-1 byte", plane(b"1 2 3\n4 5 6\xa0\n"), "wrong_encoding:2"),
    Case("digits of another script", second("0.4 ٠.٥ 0.6"), "wrong_encoding:2"),
    Case("a folder", plane(Path.mkdir), "not_a_file"),
    Case("a named pipe", plane(os.mkfifo), "not_a_file"),
    Case("a link to itself", plane(lambda p: p.symlink_to(p)), "unreadable"),
    # The first page of memory does not exist; reading it fails as on a broken disk.
    Case("an input/output error", plane(lambda p: p.symlink_to("/proc/self/mem")), "unreadable"),
    Case("a link to nothing", plane(lambda p: p.symlink_to("nowhere")), "no_file"),
    Case("cut after a line", plane(POINTS[:24]), f"count_mismatch:3 {PART.format('body')}"),
    accepted("cut within the last number", plane(POINTS[:-2]), points=CUT),
    accepted("Windows line ends", plane(POINTS.replace("\n", "\r\n"), "1\r\n0\r\n0\r\n")),
    accepted("Mac line ends", plane(POINTS.replace("\n", "\r"))),
    accepted("a byte order mark", plane("\ufeff" + POINTS, "\ufeff" + BODY)),
    accepted("`4e-1 +5.0E-01 .6`", second("4e-1 +5.0E-01 .6")),
    accepted("tabs", plane(POINTS.replace(" ", " \t ") + " \n")),
    accepted("no newline at the end", plane(POINTS[:-1], BODY[:-1])),
    accepted("empty lines at the end", plane(POINTS + "\n\n", BODY + "\n")),
]

BOTH = plane() | {place.replace("planes", "rockets"): text for place, text in plane().items()}
EXPERT = {"planes/expert_verified/points_label/{}.seg": "1\n2\n7\n"}
FIN, ORPHAN = {PART.format("fin"): BODY}, {PART.format("body"): BODY}
TWO = body("1\n1\n0\n")
LABEL_FILES = [
    Case("more labels than points", body(BODY + "0\n"), "count_mismatch:4"),
    Case("fewer labels than points", body("0\n1\n"), "count_mismatch:3"),
    Case("empty", body(""), "empty_file"),
    Case("a word", body("1\nno\n0\n"), "not_a_label:2"),
    Case("a fraction", body("1\n0\n0.5\n"), "not_a_label:3"),
    Case("an empty line", body("1\n\n0\n"), "not_a_label:2"),
    Case("neither 0 nor 1", body("1\n0\n2\n"), "not_a_mask:3"),
    Case("an expert's label beyond the parts", EXPERT | plane(), "unknown_label:3"),
    noted("a point in two parts", TWO, f"overlapping_parts:2 {SEGS}", labels=(0, -1, -1)),
    noted("a part that is not listed", plane() | FIN, f"unknown_part {SEGS}/fin"),
    ignored("labels without points", ORPHAN, f"labels_without_points {SEGS}"),
    ignored("a listed category without shapes", {}, "no_shapes boats"),
    accepted("an id in two categories: stored as `<category>/<id>`", BOTH),
]

AIRPLANES, LIST = "02691156", "synsetoffset2category.txt"


def v0(labels="1\n2\n0\n", folder=AIRPLANES):
    return {f"{folder}/points_label/{{}}.seg": labels, f"{folder}/points/{{}}.pts": POINTS}


def normal(*labels, columns="0 0 1 "):
    lines = zip(POINTS.splitlines(), labels, strict=True)
    return {f"{AIRPLANES}/{{}}.txt": "".join(f"{xyz} {columns}{label}\n" for xyz, label in lines)}


SPLIT_LIST = "train_test_split/shuffled_{}_file_list.json"
IN_TWO = {SPLIT_LIST.format(split): f'["x/{AIRPLANES}/{{}}"]' for split in ("train", "test")}
V0 = [
    Case("`.seg`: beyond the parts", v0("1\n2\n5\n"), "unknown_label:3"),
    Case("`.seg`: negative", v0("1\n2\n-1\n"), "unknown_label:3"),
    Case("`.seg`: one too many", v0("1\n2\n0\n1\n"), "count_mismatch:4"),
    noted("a shape in two official lists", v0() | IN_TWO, "in_two_splits train_test_split"),
    ignored("your own category, listed without parts", v0(folder="88"), f"unnamed_parts:3 {LIST}"),
    ignored("a folder that is not listed", v0(folder="77"), "unknown_folder 77"),
    accepted("your own category, listed with its parts", v0(folder="99")),
    accepted("a folder in place of the label file: unlabelled", v0(Path.mkdir), labels=None),
]
OWN_PARTS = [Case("`.seg`: beyond your own parts", v0("1\n2\n3\n"), "unknown_label:3")]
NORMAL = [
    Case("`.txt`: another category's label", normal(0, 1, 24), "unknown_label:3"),
    Case("`.txt`: a fraction as label", normal(0, 1, 1.5), "not_a_label:3"),
    Case("`.txt`: x y z only", normal("", "", "", columns=""), "wrong_columns:1"),
]
OUTSIDE = {"/planes/points/{}1.pts": POINTS, "../planes/points/{}2.pts": POINTS}
ARCHIVE = [
    Case("a damaged file in a .zip", plane("DAMAGED"), "damaged_archive"),
    accepted("absolute paths or `..` in a .zip: ignored", plane() | OUTSIDE),
]


def cloud(text, ending="pts", folder="Chair"):
    return {f"{folder}/{{}}.{ending}": text}


def chair(*labels, header="x,y,z,label"):
    lines = zip(POINTS.replace(" ", ",").splitlines(), labels, strict=True)
    return cloud(f"{header}\n" + "".join(f"{xyz},{label}\n" for xyz, label in lines), "csv")


def yaml(text="", parts=("back", "seat", "leg")):
    return {"clouds.yaml": f"categories:\n  Chair: {list(parts)}\n{text}"}


PROPERTIES = "".join(f"property float {name}\n" for name in (*"xyz", "scalar_Classification"))
PLY = f"ply\nformat ascii 1.0\nelement vertex 3\n{PROPERTIES}end_header\n"
CHAIR = "0.1 0.2 0.3 0\n0.4 0.5 0.6 1\n0.7 0.8 0.9 -1\n"
# A chair of 1 m as surveyed: float32 alone would leave it three heights.
CORNERS = (500_000, 4_649_776, 100), (500_001, 4_649_777, 101)
SURVEYED = np.random.default_rng(0).uniform(*CORNERS, (500, 3))
SURVEY = "".join(f"{x!r} {y!r} {z!r} 0\n" for x, y, z in SURVEYED.tolist())
PARTS_200, MANY = [f"part{number}" for number in range(200)], CHAIR.replace(" 1\n", " 199\n")
CHAIRS = [
    Case("a word in the first line", cloud("0.1 O.2 0.3 0\n"), "not_a_number:1"),
    Case("row numbers, no header", cloud("0 1.5 2 3\n1 1.5 2.5 3.5\n"), "ambiguous_columns"),
    Case("the header `0,1,2,3`", chair(*LABELS, header="0,1,2,3"), "ambiguous_columns:1"),
    Case("a header without z", chair(*LABELS, header="x,y,h,label"), "wrong_columns:1"),
    Case("five columns, no header", cloud("1 2 3 4 5\n"), "wrong_columns:1"),
    Case("two columns with labels", cloud("x y z part label\n0 1 2 0 0\n"), "two_labels"),
    Case("labels inside and beside", cloud(CHAIR) | cloud("0\n1\n0\n", "seg"), "two_labels"),
    Case("a label too many", cloud("0\n1\n", "seg") | cloud("1 2 3\n"), "count_mismatch:2"),
    Case("a label beyond the parts", chair(0, 1, 7), "unknown_label:4"),
    Case("NaN that `unlabelled` does not list", chair(0, "nan", 1), "unknown_label:3"),
    Case("a word that is not a part", chair("back", "sea", "seat"), "unknown_label:3"),
    Case("labels from 1 to the last part", chair(1, 2, 3), "label_past_last:4"),
    Case("a fraction as label", chair(0, 0.5, 1), "not_a_label:3"),
    Case("one word among numbers", chair(0, 1, "back"), "not_a_label:4"),
    Case("`.npy`: not an array", cloud("x", "npy"), "not_npy"),
    Case("`.npy`: [n, 7]", cloud(lambda p: np.save(p, np.ones((3, 7))), "npy"), "wrong_shape"),
    Case("`.npz`: no `points`", cloud(lambda p: np.savez(p, xyz=TABLE), "npz"), "no_points"),
    Case("`.ply`: cut short", cloud(PLY + "0 0 0 0\n", "ply"), "count_mismatch"),
    noted("labels of another name", chair(*LABELS, header="x,y,z,id"), "no_labels", labels=None),
    ignored("other endings", cloud("", "jpg"), "unknown_ending"),
    ignored("a file outside the folders", {"{}.pts": CHAIR}, "no_category_folder"),
    ignored("a folder that is not a category", {"Sofa/x.pts": CHAIR}, "unknown_folder Sofa"),
    ignored("labels without a cloud", cloud("0\n", "seg"), "labels_without_points"),
    accepted("`scalar_Classification`", cloud(PLY + CHAIR, "ply")),
    noted("`-1` for all points", chair(-1, -1, -1), "no_labels", labels=None),
    accepted("a folder's name in decomposed Unicode", cloud(CHAIR, folder="Stu\u0308hle")),
    accepted("200 parts", cloud(MANY, folder="Many"), labels=(0, 199, -1)),
    accepted("surveyed coordinates", cloud(SURVEY), labels=(0,) * 500, points=SURVEYED),
]
LISTED = [
    accepted("NaN with `unlabelled: [.nan]`", chair(0, 1, "nan")),
    accepted('255 with `unlabelled: "255"`', chair(0, 1, 255)),
]
RARE = {"Chair/rare.csv": "x,y,z,label\n0,0,0,3\n"} | every(chair(1, 2, 1)) | yaml()
MIXED = cloud(CHAIR) | cloud(CHAIR, folder="train/Chair") | yaml()
OWN = [
    stops("labels from 1 in every file", every(chair(1, 2, 3)) | yaml(), "labels_from_one:4"),
    stops("labels from 1, the last part rare", RARE, "labels_from_one:2"),
    stops("clouds.yaml: a key twice", yaml("  Chair: [leg]\n"), "bad_clouds_yaml:3"),
    stops("clouds.yaml: an unknown key", yaml("lables: x\n"), "bad_clouds_yaml"),
    stops("257 parts", yaml(parts=map("part{}".format, range(257))), "bad_category"),
    stops("two files of one name", cloud("0 0 0") | cloud("", "csv") | yaml(), "duplicate_id"),
    stops("a folder in a category's folder", cloud(Path.mkdir, "x") | yaml(), "too_deep"),
    stops("files beside a folder `train`", MIXED, "mixed_splits"),
]

CATEGORIES = {"Plane": "planes", "Rocket": "rockets", "Boat": "boats"}
PARTS = {"lables": ["body", "wing", "tail"]}
JSON = json.dumps({name: {"directory": d} | PARTS for name, d in CATEGORIES.items()})


def metadata(text=JSON):
    return {"metadata.json": text}


BOLTS = {LIST: "Bolt 88\n"} | every(v0(folder="88"))
BAD_LIST = {SPLIT_LIST.format("val"): "3", LIST: f"Airplane {AIRPLANES}\n"} | every(v0())
LATIN1 = {os.fsdecode(b"planes/points/caf\xe9.pts"): ""} | metadata()
EMPTY = {f"planes/points/{name}.pts": "" for name in SOUND[:3]}
# One has another fault: the reason occurs 12 times for 13 shapes.
ALL_COMMAS = every(plane(POINTS.replace(" ", ","))) | plane("")
ALL_UTF16 = every(plane(POINTS.encode("utf-16"))) | plane("")
FIRST = ("planes/points/sound00.pts", "line 1", "12")
SOURCE = [
    stops("metadata.json: no `lables`", metadata(JSON.replace("lables", "parts")), "bad_metadata"),
    stops("metadata.json: `../`", metadata(JSON.replace("planes", "../x")), "bad_metadata"),
    stops("metadata.json: a category twice", metadata(JSON[:-1] + "," + JSON[1:]), "bad_metadata"),
    stops("metadata.json: cut short", metadata(JSON[:20]), "bad_metadata:1"),
    stops("metadata.json: empty", metadata(""), "bad_metadata:1"),
    stops("metadata.json: UTF-16", metadata(JSON.encode("utf-16")), "bad_metadata:1"),
    stops("metadata.json: a folder", metadata(Path.mkdir), "not_a_file"),
    stops("an official list that is not a list", BAD_LIST, "bad_split_list"),
    stops("a file name that is not UTF-8", LATIN1, "bad_name planes/points"),
    stops("more bad shapes than allowed", metadata() | every(plane()) | EMPTY, "too_many_bad -"),
    stops("commas in every file", metadata() | ALL_COMMAS, "too_many_bad -", facts=FIRST),
    stops("every file in UTF-16", metadata() | ALL_UTF16, "too_many_bad -", facts=FIRST),
    stops("fewer than three labelled shapes", metadata() | plane(), "too_few_shapes -"),
    stops("a category without parts", BOLTS, f"unnamed_parts:1 {LIST}", category="Bolt"),
    stops("an unknown category", metadata(), "unknown_category -", category="Ship"),
    stops("nothing there", {}, "no_source -"),
    stops("a named pipe", {"": os.mkfifo}, "no_source"),
    stops("a link to itself", {"": lambda p: p.symlink_to(p)}, "no_source"),
    stops("a file that is not a .zip", {"": POINTS}, "not_an_archive"),
    stops("an empty folder", {"": Path.mkdir}, "no_layout"),
]
# What the cases are added to, beside twelve sound shapes; each is one conversion.
BASES = {
    "points": metadata() | every(plane()),
    "labels": metadata() | every(plane()),
    "data.zip": metadata() | every(plane()),
    "v0": {LIST: f"Airplane {AIRPLANES}\nNut 99 shell thread\nBolt 88\n"} | every(v0()),
    "own_parts": {LIST: f"Airplane {AIRPLANES} left right\n"} | every(v0()),
    "normal": {LIST: f"Airplane {AIRPLANES}\n"} | every(normal(0, 1, 2)),
    "chairs": yaml(f"  Stühle: [back, seat, leg]\n  Many: {PARTS_200}\n") | every(cloud(CHAIR)),
    "listed": yaml('unlabelled: [-1, .nan, "255"]\n') | every(cloud(CHAIR)),
}
GROUPS = {
    "Points (`.pts`)": {"points": POINT_FILES},
    "Labels and parts (`.seg`, metadata.json)": {"labels": LABEL_FILES},
    "ShapeNet's part benchmark": {"v0": V0, "own_parts": OWN_PARTS, "normal": NORMAL},
    "Your own clouds": {"chairs": CHAIRS, "listed": LISTED, "": OWN},
    "The data set": {"data.zip": ARCHIVE, "": SOURCE},
}
CASES = [
    (base, case) for group in GROUPS.values() for base, cases in group.items() for case in cases
]


def cases(*outcomes):
    """Decorator: the test runs for each case with one of these outcomes."""
    chosen = [(base, case) for base, case in CASES if case.happens in outcomes]
    return pytest.mark.parametrize(("base", "case"), chosen, ids=lambda v: getattr(v, "name", v))


def write(source, files, name=""):
    """Adds files to a folder, or to a .zip where that is the ending; {} is the case's name."""
    for place, content in files.items():
        path = source / place.replace("{}", name) if place else source
        if isinstance(content, str):
            content = content.replace("{}", name).encode()
        if source.suffix == ".zip":
            with zipfile.ZipFile(source, "a") as archive:
                archive.writestr(place.replace("{}", name), content)
            source.write_bytes(source.read_bytes().replace(b"DAMAGED", b"damaged"))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        content(path) if callable(content) else path.write_bytes(content)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Function: base -> findings and records, a list of (split, cloud), with all its cases."""

    @functools.cache
    def convert_base(base):
        folder = tmp_path_factory.mktemp("bad_input")
        write(folder / base, BASES[base])
        for _, case in filter(lambda pair: pair[0] == base, CASES):
            write(folder / base, case.files, case.name)
        settings = DataSettings(category="ALL", max_bad_share=1)
        manifest = convert(str(folder / base), str(folder / "out"), settings)
        clouds = []
        for shard in manifest.shards:
            content = (folder / "out" / shard.file).read_bytes()
            records = read_records(io.BytesIO(content), shard.file)
            clouds += [(shard.split, from_example(record)) for record in records]
        return manifest.findings, clouds

    return convert_base


def facts(finding):
    return finding.code, finding.file, finding.line


@cases(LEFT_OUT, NOTED, IGNORED, ACCEPTED)
def test_a_conversion_goes_on(base, case, converted):
    findings, clouds = converted(base)
    mine = [f for f in findings if f.shape == case.name or facts(f) == case.expected]
    assert [facts(f) for f in mine] == [case.expected] * bool(case.finding)
    assert [f.left_out for f in mine] == [case.happens == LEFT_OUT] * len(mine)
    mine = [(s, cloud) for s, cloud in clouds if cloud.shape_id.split("/")[-1] == case.name]
    assert bool(mine) == (case.happens in (NOTED, ACCEPTED))
    for split, cloud in mine:
        np.testing.assert_allclose(cloud.coordinates, case.points, rtol=0, atol=5e-8)
        assert len(np.unique(cloud.points, axis=0)) == len(case.points)
        assert (None if cloud.labels is None else tuple(cloud.labels)) == case.labels
        assert (split == UNLABELLED) == (case.labels is None)


@pytest.mark.parametrize("base", BASES)
def test_sound_shapes_are_all_converted(base, converted):
    records = {cloud.shape_id.split("/")[-1]: cloud for _, cloud in converted(base)[1]}
    for name in SOUND:
        np.testing.assert_array_equal(records[name].points, TABLE)
        assert tuple(records[name].labels) == ((0, 1, 2) if base == "normal" else LABELS)


@cases(STOPS)
def test_a_conversion_stops(base, case, tmp_path):
    source, output = tmp_path / "source", tmp_path / "out"
    write(source, case.files, case.name)
    with pytest.raises(UserError) as error:
        convert(str(source), str(output), DataSettings(category=case.category))
    assert facts(error.value) == case.expected
    assert [fact for fact in case.facts if fact not in str(error.value)] == []
    assert not (output / MANIFEST).exists()


INTRODUCTION = """\
<!-- Generated: REGENERATE=1 pytest tests/preprocessing/test_bad_input.py -->

# Bad input

A shape that cannot be read completely is *left out*, and the others are converted. If the share of
shapes left out is above `data.max_bad_share` (10 %), the conversion *stops*. What is *noted* is
converted, what is *ignored* is not. Nothing is guessed: what can be read in two ways is refused.

Each finding has a code, a file, a line if the file has lines, and a message. `convert` prints the
first finding of each code; `manifest.json` lists all of them.
"""


def test_the_page_is_current():
    page = INTRODUCTION
    for title, group in GROUPS.items():
        page += f"\n## {title}\n\ninput | what happens | code\n---|---|---\n"
        rows = itertools.groupby(itertools.chain(*group.values()), lambda c: (c.happens, c.code))
        for (happens, code), row in rows:
            inputs = "; ".join(case.what for case in row)
            page += f"{inputs} | {happens} | {f'`{code}`' if code else '-'}\n"
    if os.environ.get("REGENERATE"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
    assert len({(base, case.name) for base, case in CASES}) == len(CASES)
