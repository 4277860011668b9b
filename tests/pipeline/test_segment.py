"""`pointnet-parts segment`: any file of points in, every point's part out, a sentence where not."""

import csv
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from model.export.signatures import export
from pipeline.cli import main
from pipeline.segmented_folder import COLUMNS
from preprocessing.clouds.files import read_cloud
from serving import grpc_client, rest_client
from serving.exported_model import ExportedModel
from tests.headless_browser import Browser, needs_browser
from tests.model.export.made_network import MUG, ROCKET, cloud, make_network
from tests.serving.loopback_server import LoopbackServer

CHECKOUT = Path(__file__).parents[2]
MESH = "OFF\n4 1 0\n0 0 0\n2 0 0\n2 2 0\n0 2 0\n4 0 1 2 3\n"


def exported(categories, folder):
    network = make_network(sum(len(c.parts) for c in categories), len(categories))
    export(network, categories, str(folder))
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return exported((ROCKET,), tmp_path_factory.mktemp("one") / "4")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return exported((MUG, ROCKET), tmp_path_factory.mktemp("two") / "1")


@pytest.fixture(scope="module")
def server(one):
    with LoopbackServer(one.parent) as server:
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def segment(*arguments, given=None):
    """The exit status, and all that was said."""
    done = CliRunner().invoke(main, ["segment", *map(str, arguments)], input=given)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def parts_of(model, points, category=None):
    return ExportedModel(model).segment([points], category)[0][0]


def seg(path):
    return np.loadtxt(path, np.int64, ndmin=1)


def write_all_kinds(points):
    """The same points as every kind of cloud file, labels in some of them."""
    labels = np.arange(len(points)) % 3
    np.savetxt("a.pts", points)
    np.savetxt("b.xyz", points, delimiter="\t")
    np.savetxt("c.txt", np.c_[points, labels])
    header = "x,y,z,part,label,word"
    np.savetxt("d.csv", np.c_[points, labels, labels, labels], delimiter=",", header=header,
               comments="")  # fmt: skip
    np.save("e.npy", points)
    np.savez("f.npz", points=points, labels=labels[:-1])
    text = "ply\nformat ascii 1.0\nelement vertex {}\n{}end_header\n"
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    with open("g.ply", "w") as file:
        file.write(text.format(len(points), properties))
        np.savetxt(file, points)
    return "abcdefg"


def test_every_kind_of_file_has_the_models_parts(one):
    points = cloud(70)
    names = write_all_kinds(points)
    status, said = segment(*sorted(os.listdir()), "--model", one, "--format", "seg")
    assert (status, "7 clouds, 490 points: segmented (seg; clouds.tsv" in said) == (0, True), said
    expected = parts_of(one, points)
    assert len(set(expected)) > 1
    for name in names:
        np.testing.assert_array_equal(seg(f"segmented/{name}.seg"), expected)


def test_ply_and_csv_are_written_where_nothing_is_said(one, folder):
    points = cloud(300)
    np.save("a.npy", points)
    status, _ = segment("a.npy", "--model", one.parent)
    assert status == 0
    assert sorted(os.listdir("segmented")) == ["a.csv", "a.ply", "clouds.tsv"]
    expected = parts_of(one, points)
    for name in ("a.ply", "a.csv"):
        read = read_cloud(name, (folder / "segmented" / name).read_bytes())
        np.testing.assert_array_equal(read.points, points)
        np.testing.assert_array_equal(read.labels, expected)


def test_all_formats_and_the_table(one, folder):
    np.save("a.npy", cloud(50))
    formats = ("--format", "seg,csv", "--format", "npz,ply,png,html")
    status, said = segment("a.npy", "--model", one, *formats, "--output", "deep/named")
    assert status == 0 and "page: deep/named/segmented.html" in said
    files = {f"a.{ending}" for ending in ("seg", "csv", "npz", "ply", "png")}
    assert set(os.listdir("deep/named")) == files | {"segmented.html", "clouds.tsv"}
    with open("deep/named/clouds.tsv", newline="") as table:
        (row,) = csv.DictReader(table, delimiter="\t")
    assert tuple(row) == COLUMNS
    assert (row["cloud"], row["source"], row["category"]) == ("a", "a.npy", "Rocket")
    assert (row["points"], row["unanswered"]) == ("50", "0")
    assert set(row["files"].split()) == files
    with np.load("deep/named/a.npz") as stored:
        mean = stored["probability"].max(axis=1).mean()
    assert float(row["mean_probability"]) == pytest.approx(mean, abs=1e-4)


def test_a_folder_is_all_clouds_in_it(one, folder):
    (folder / "scans" / "deeper").mkdir(parents=True)
    for name in ("b.npy", "a.npy", ".hidden.npy", "deeper/c.npy"):
        np.save(f"scans/{name}", cloud(20))
    (folder / "scans" / "notes.md").write_text("no cloud")
    # Given twice, it is a cloud once.
    status, said = segment("scans", "scans/a.npy", "--model", one, "--format", "seg")
    assert status == 0 and "2 clouds" in said
    assert sorted(os.listdir("segmented")) == ["a.seg", "b.seg", "clouds.tsv"]
    (folder / "none").mkdir()
    status, said = segment("none", "--model", one)
    assert status == 2 and "none: holds no cloud" in said


def test_answers_in_the_folder_of_the_questions_are_no_questions(one):
    np.save("a.npy", cloud(20))
    for _ in range(2):
        status, said = segment(".", "--model", one, "--output", ".")
        assert status == 0 and "1 cloud," in said
    assert sorted(os.listdir()) == ["a.csv", "a.npy", "a.ply", "clouds.tsv"]


def test_clouds_of_one_name_are_told_apart(one, folder):
    for name in ("x", "y"):
        (folder / name).mkdir()
        np.save(f"{name}/a.npy", cloud(20))
    status, _ = segment("x", "y", "--model", one, "--format", "seg")
    assert status == 0
    assert sorted(os.listdir("segmented")) == ["clouds.tsv", "x%2Fa.npy.seg", "y%2Fa.npy.seg"]


def test_standard_input_is_lines_of_points(one, folder):
    points = cloud(40)
    text = "".join(f"{x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in points.tolist())
    status, _ = segment("-", "--model", one, "--format", "seg", given=text)
    assert status == 0
    np.testing.assert_array_equal(seg("segmented/stdin.seg"), parts_of(one, points))
    status, said = segment("-", "--model", one, given="1 2 3\n4 five 6\n")
    assert status == 2 and "standard input, line 2: found 'five'" in said


def test_points_are_drawn_from_a_mesh(one, folder):
    (folder / "square.off").write_text(MESH)
    for output in ("first", "second"):
        options = ("--format", "npz", "--mesh-points", 33, "--output", output)
        assert segment("square.off", "--model", one, *options)[0] == 0
    with np.load("first/square.npz") as stored, np.load("second/square.npz") as again:
        assert stored["points"].shape == (33, 3)
        np.testing.assert_array_equal(stored["points"], again["points"])
        np.testing.assert_array_equal(stored["part"], parts_of(one, stored["points"]))


def test_a_bad_cloud_is_one_sentence_and_the_others_go_on(one, folder):
    np.save("good.npy", cloud(30))
    (folder / "word.xyz").write_text("0 0 0\n1 2 x\n")
    (folder / "empty.pts").write_text("")
    (folder / "infinite.csv").write_text("x,y,z\n1,2,3\n1,inf,3\n")
    (folder / "mesh.off").write_text(MESH.replace("2 2 0", "2 2"))
    (folder / "odd.doc").write_text("1 2 3")
    bad = ("word.xyz", "empty.pts", "infinite.csv", "mesh.off", "odd.doc", "gone.ply")
    status, said = segment(*bad, "good.npy", "--model", one, "--format", "seg,html")
    assert status == 1
    lines = [line for line in said.splitlines() if line.startswith("pointnet-parts: ")]
    assert len(lines) == len(bad)
    for line, name in zip(lines, bad, strict=True):
        assert line.startswith(f"pointnet-parts: {name}")
    assert "word.xyz, line 2: found 'x', expected a number" in said
    assert "infinite.csv, line 3: found" in said
    assert "mesh.off: " in said or "mesh.off, line 5: " in said
    assert "gone.ply: cannot be read (No such file or directory)" in said
    assert sorted(os.listdir("segmented")) == ["clouds.tsv", "good.seg", "segmented.html"]
    assert "word.xyz, line 2" in (folder / "segmented" / "segmented.html").read_text()


def test_nothing_done_is_two_and_leaves_no_folder(one):
    status, said = segment("gone.ply", "--model", one)
    assert status == 2 and "Traceback" not in said
    assert os.listdir() == []


def test_small_batches_change_nothing(one, folder):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 200, 40)
    for number, size in enumerate(sizes.tolist()):
        np.save(f"{number}.npy", cloud(size, seed=number))
    for points in (1, 500, 10**6):
        options = ("--format", "seg", "--batch-points", points, "--output", f"by{points}")
        assert segment(".", "--model", one, *options)[0] == 0
    for number, size in enumerate(sizes.tolist()):
        found = {(folder / f"by{points}" / f"{number}.seg").read_bytes() for points in (1, 500)}
        assert len(found) == 1
        assert len(seg(f"by1000000/{number}.seg")) == size


def test_what_something_else_wrote_stays(one, folder):
    (folder / "segmented").mkdir()
    (folder / "segmented" / "a.seg").write_text("mine")
    for name in ("a.npy", "b.npy"):
        np.save(name, cloud(20))
    status, said = segment("a.npy", "b.npy", "--model", one, "--format", "seg")
    assert status == 1
    assert "a.npy: segmented/a.seg is there already and this command did not write it" in said
    assert (folder / "segmented" / "a.seg").read_text() == "mine"
    # What this command wrote gives way, and it says so.
    before = (folder / "segmented" / "b.seg").read_bytes()
    status, said = segment("b.npy", "--model", one, "--format", "seg,npz")
    assert status == 0 and "replaced: 1 file that this command had made" in said
    assert (folder / "segmented" / "b.seg").read_bytes() == before
    status, said = segment("b.npy", "--model", one, "--format", "npz")
    assert status == 0 and "replaced: 1 file" in said
    with open("segmented/clouds.tsv", newline="") as table:
        (row,) = csv.DictReader(table, delimiter="\t")
    assert sorted(row["files"].split()) == ["b.npz", "b.seg"]


def test_a_page_or_a_table_of_something_else_stays(one, folder):
    np.save("a.npy", cloud(20))
    (folder / "segmented").mkdir()
    (folder / "segmented" / "segmented.html").write_text("<p>mine")
    status, said = segment("a.npy", "--model", one, "--format", "html")
    assert status == 2 and "segmented.html: is there already" in said
    (folder / "segmented" / "clouds.tsv").write_text("mine\n")
    status, said = segment("a.npy", "--model", one)
    assert status == 2 and "something else wrote it" in said
    (folder / "file").write_text("")
    status, said = segment("a.npy", "--model", one, "--output", "file")
    assert status == 2 and "file: is a file" in said


def test_a_cloud_is_never_written_over_itself(one, folder):
    np.savetxt("a.csv", cloud(20), delimiter=",", header="x,y,z", comments="")
    before = (folder / "a.csv").read_bytes()
    status, said = segment("a.csv", "--model", one, "--output", ".")
    assert status == 2 and "a.csv: a.csv would be written over it" in said
    assert (folder / "a.csv").read_bytes() == before


def test_a_full_disk_is_a_sentence(one, monkeypatch):
    for name in ("a.npy", "b.npy"):
        np.save(name, cloud(20))

    def full(path, content):
        if path.name == "b.seg":
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("pipeline.segmented_folder.write_atomically", full)
    status, said = segment("a.npy", "b.npy", "--model", one, "--format", "seg")
    assert status == 1 and "cannot be written (No space left on device)" in said
    assert "1 cloud left undone" in said


@pytest.mark.parametrize("category", [MUG, ROCKET])
def test_a_model_of_several_categories_is_told_which(category, two, folder):
    points = cloud(60)
    np.save("a.npy", points)
    options = ("--format", "seg,npz", "--category", category.name)
    assert segment("a.npy", "--model", two, *options)[0] == 0
    index = (MUG, ROCKET).index(category)
    np.testing.assert_array_equal(seg("segmented/a.seg"), parts_of(two, points, index))
    with np.load("segmented/a.npz") as stored:
        assert stored["part_names"].tolist() == list(category.parts)
        assert stored["probability"].shape == (60, 5)


def test_a_category_that_is_missing_or_unknown_is_said(one, two):
    np.save("a.npy", cloud(20))
    status, said = segment("a.npy", "--model", two)
    assert status == 2 and "knows Mug, Rocket; say with --category" in said
    status, said = segment("a.npy", "--model", one, "--category", "Sofa")
    assert status == 2 and "knows Rocket, and not 'Sofa'" in said


def test_a_numbered_version_of_a_model_is_chosen(one, two, folder):
    os.mkdir("both")
    os.symlink(one, "both/4")
    os.symlink(two, "both/9")
    np.save("a.npy", cloud(30))
    status, said = segment("a.npy", "--model", "both", "--version", 4, "--format", "seg")
    assert status == 0, said
    np.testing.assert_array_equal(seg("segmented/a.seg"), parts_of(one, cloud(30)))
    status, said = segment("a.npy", "--model", "both", "--version", 77)
    assert status == 2 and "both has no version 77; found 4, 9. Give one of them" in said
    status, said = segment("a.npy", "--model", one, "--version", 4)
    assert status == 2 and "has no version 4; found none" in said


def test_a_model_of_somebody_else_is_said(one):
    shutil.copytree(one, "foreign/1")
    os.remove("foreign/1/assets/parts.json")
    np.save("a.npy", cloud(30))
    status, said = segment("a.npy", "--model", "foreign")
    assert status == 2 and "foreign/1: this model was not exported by this pipeline" in said


@pytest.mark.parametrize("rest", [(), ("--rest",)], ids=["grpc", "rest"])
def test_an_unknown_label_is_said_once_for_all_clouds(rest, server):
    for name in ("a.npy", "b.npy"):
        np.save(name, cloud(30))
    address = server.rest_address if rest else server.grpc_address
    options = ("--label", "stable", "--batch-clouds", 1)
    status, said = segment("a.npy", "b.npy", "--server", address, *rest, *options)
    assert status == 2
    (line,) = said.splitlines()
    assert line.startswith(f"pointnet-parts: {address} has no version with the label stable;")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("segment a.npy --server ADDRESS --parts none.json", "none.json: it should name"),
        ("segment a.npy --server ADDRESS --certificate none.pem", "none.pem: it cannot be used"),
        ("segment a.npy --model nowhere", "nowhere: no SavedModel"),
        ("evaluate nowhere nowhere", "nowhere: no SavedModel"),
        ("evaluate MODEL nowhere", "nowhere: no such file"),
        ("compare MODEL nowhere nowhere", "nowhere: no SavedModel"),
    ],
)
def test_what_needs_no_tensorflow_is_said_before_its_import(arguments, words, one):
    program = (
        "import sys\nfrom pipeline.cli import main\n"
        "try:\n    main()\nfinally:\n    print('tensorflow' in sys.modules)\n"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = arguments.replace("ADDRESS", address).replace("MODEL", str(one)).split()
        done = subprocess.run(
            [sys.executable, "-c", program, *given], capture_output=True, text=True, cwd=CHECKOUT
        )
    assert (done.returncode, done.stdout.split()[-1]) == (2, "False"), done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("rest", [(), ("--rest",)], ids=["grpc", "rest"])
def test_a_server_gives_the_exported_models_answers(rest, one, server, folder):
    for number in (30, 70):
        np.save(f"{number}.npy", cloud(number))
    address = server.rest_address if rest else server.grpc_address
    parts = ("--parts", one / "assets" / "parts.json")
    options = ("--format", "seg,csv,npz", *parts, "--version", server.version)
    status, said = segment("30.npy", "70.npy", "--server", address, *rest, *options)
    assert status == 0, said
    options = ("--format", "seg,csv,npz", "--output", "alone")
    assert segment("30.npy", "70.npy", "--model", one, *options)[0] == 0
    for name in os.listdir("alone"):
        here, there = (folder / place / name for place in ("alone", "segmented"))
        assert here.read_bytes() == there.read_bytes()


def test_a_server_whose_parts_nobody_names_numbers_them(server):
    np.save("a.npy", cloud(30))
    status, _ = segment("a.npy", "--server", server.grpc_address, "--format", "npz")
    assert status == 0
    with np.load("segmented/a.npz") as stored:
        assert stored["part_names"].tolist() == ["part 0", "part 1", "part 2"]
    status, said = segment("a.npy", "--server", server.grpc_address, "--category", "Mug")
    assert status == 2 and "--parts" in said


def test_the_parts_of_another_model_are_refused(server, two):
    np.save("a.npy", cloud(30))
    parts = ("--parts", two / "assets" / "parts.json", "--category", "Mug")
    status, said = segment("a.npy", "--server", server.grpc_address, *parts)
    assert status == 2
    # The server of one category does not know the tensor; or else the numbers of parts differ.
    assert "input size does not match signature" in said or "knows 3 parts, expected 5" in said
    about = {"categories": [MUG.to_json()]}
    with open("parts.json", "w") as file:
        json.dump(about, file)
    status, said = segment("a.npy", "--server", server.grpc_address, "--parts", "parts.json")
    assert status == 2 and "knows 3 parts, expected 2" in said


@pytest.mark.parametrize(
    ("kind", "rest"), [(grpc_client.GrpcClient, ()), (rest_client.RestClient, ("--rest",))]
)
def test_no_server_is_one_sentence(kind, rest, monkeypatch):
    np.save("a.npy", cloud(30))
    np.save("b.npy", cloud(30))
    without_pauses = functools.partial(kind, first_pause=0.01)
    monkeypatch.setattr(f"{kind.__module__}.{kind.__name__}", without_pauses)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, said = segment("a.npy", "b.npy", "--server", address, *rest)
    assert status == 2
    first, last = said.splitlines()
    assert first.startswith(f"pointnet-parts: {address} is unavailable")
    assert first.endswith("more times ...")
    assert last.startswith(f"pointnet-parts: {address} is unavailable") and "start the" in last
    assert not os.path.exists("segmented")


def test_ctrl_c_is_130_and_leaves_whole_files(one, monkeypatch):
    np.save("a.npy", cloud(20))

    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.segment.page_cloud", pressed)
    status, said = segment("a.npy", "gone.ply", "--model", one, "--format", "seg,html")
    assert status == 130 and "interrupted" in said and "gone.ply" in said
    assert len(seg("segmented/a.seg")) == 20
    assert not [name for name in os.listdir("segmented") if name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--model FOLDER or --server"),
        (("--model", "x", "--server", "y:1"), "--model FOLDER or --server"),
        (("--model", "x", "--format", "ply,doc"), "'doc' is none of seg, csv"),
        (("--model", "nowhere"), "nowhere: no SavedModel"),
        (("--server", "x:1", "--parts", "none.json"), "none.json: it should name"),
        (("--server", "x:1", "--certificate", "none.pem"), "none.pem: it cannot be used"),
        (("--server", "x:1", "--version", 3, "--label", "stable"), "--version or --label"),
        (("--server", "x"), "found the server 'x', expected HOST:PORT"),
        (("--server", "x:1y", "--rest"), "found the server 'x:1y', expected HOST:PORT"),
        (("--model", "x", "--label", "stable"), "are for --server"),
        (("--model", "x", "--certificate", "c.pem"), "are for --server"),
        (("--model", "x", "--rest"), "are for --server"),
        (("--model", "x", "--name", "pointnet_parts"), "are for --server"),
        (("--model", "x", "--parts", "parts.json"), "are for --server"),
        (("--model", "x", "--timeout", 60), "are for --server"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(arguments, said):
    status, found = segment("a.npy", *arguments)
    assert status == 2 and said in found


@needs_browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_turns_without_faults(width, one, folder):
    for number in (30, 9000):
        np.save(f"<b>{number}.npy", cloud(number))
    assert segment(".", "--model", one, "--format", "html")[0] == 0
    with Browser(folder / "profile") as browser:
        browser.open(folder / "segmented" / "segmented.html", width)
        assert browser.run("document.querySelectorAll('.turnable canvas').length") == 2
        assert browser.run("document.querySelectorAll('h2 b').length") == 0
        text = browser.run("document.body.innerText")
        assert "<b>9000" in text and "4,096 of them drawn" in text
        # Nothing is wider than the window.
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert not browser.faults


def test_surveyed_coordinates_come_back_as_they_were(one, folder):
    """UTM coordinates of a small object: float32 has three different values of y left for it."""
    points = cloud(60).astype(np.float64) / 4 + (500_000.25, 4_649_776.5, 100)
    rows = [",".join(map(repr, row)) for row in points.tolist()]
    (folder / "far.csv").write_text("x,y,z\n" + "\n".join(rows) + "\n")
    np.save("near.npy", points - points.mean(axis=0))
    status, said = segment("far.csv", "near.npy", "--model", one, "--format", "csv,npz,seg,ply")
    assert status == 0, said
    with open("segmented/far.csv", newline="") as table:
        written = [[float(row[axis]) for axis in "xyz"] for row in csv.DictReader(table)]
    np.testing.assert_array_equal(written, points)
    np.testing.assert_array_equal(np.load("segmented/far.npz")["points"], points)
    ply = read_cloud("far.ply", (folder / "segmented" / "far.ply").read_bytes())
    np.testing.assert_array_equal(ply.points, points)
    np.testing.assert_array_equal(seg("segmented/far.seg"), seg("segmented/near.seg"))
