"""`pointnet-parts inspect` as a user meets it: terminal, page, exit status."""

import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from components.html_page import breakable
from pipeline.cli import main
from preprocessing.datasets.demo import make_demo_shapes
from schema.record import Cloud


@pytest.fixture
def inspect(tmp_path, monkeypatch):
    """Runs the command in an empty folder; answers with status, screen, and the page or None."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments, page="inspect.html"):
        result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert not list(folder.glob(".*.tmp"))
        written = folder / page
        html = written.read_text("utf-8").replace("<wbr>", "") if written.exists() else None
        return result.exit_code, result.output, html

    return run


def cells(html, name):
    """The cells of the row that has this name."""
    found = re.search(rf'<tr><th scope="row">(?:<span[^>]*></span>)?{name}</th>(.*?)</tr>', html)
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", found[1])]


def test_tables_and_page(ten_tools, inspect):
    status, screen, html = inspect(ten_tools.root, "--category", "Tool")
    assert status == 0
    assert "page: inspect.html" in screen and "Nothing was found wrong." in screen
    assert re.search(r"Tool\s.*7\s.*1\s.*2\s.*1\s.*0\s.*17 / 21 / 30", screen)
    assert cells(html, "Tool") == ["7", "1", "2", "1", "0", "17", "21", "30"]
    assert cells(html, "head") == ["70.7 %", "145", "7 of 7", "1 of 1", "2 of 2"]
    assert cells(html, "handle")[:2] == ["19.5 %", "40"]
    assert "Besides, 1 cloud without any label." in html


def test_the_page_needs_no_network_and_every_picture_has_its_text(ten_tools, inspect):
    _, _, html = inspect(ten_tools.root, "--category", "Tool", "--clouds", 2)
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) == 3  # the histogram and two clouds
    assert all('src="data:image/png;base64,' in i and re.search(r'alt="[^"]+', i) for i in images)
    assert not re.search(r"https?://|<link|<script|@import|url\(", html)


def test_long_names_break_after_underscores_and_slashes_only():
    assert breakable("a_b/<c>-d") == "a_<wbr>b/<wbr>&lt;c&gt;-d"


def test_hostile_names_are_written_out(tmp_path, write_records, inspect):
    name = '<script>alert("x")</script>[red]\x1b[31m'
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    record = Cloud(name, "Airplane", points, np.zeros(9, np.int64))
    bad = Cloud(name, f"{name}2", points, np.zeros(9, np.int64))
    write_records(tmp_path / "Split-<b>/a.gz", record, bad)
    status, screen, html = inspect(tmp_path)
    assert status == 0
    assert "<script" not in html and "<b>" not in html
    assert html.count("&lt;script&gt;") >= 3
    assert "\x1b" not in screen
    assert "[red]\\x1b[31m" in screen


def test_without_a_page(ten_tools, inspect):
    status, screen, html = inspect(ten_tools.root, "--no-page", "--limit", 3)
    assert (status, html) == (0, None)
    assert "Only 3 of 11 shapes were looked at" in screen


def test_a_file_of_the_users_is_not_replaced_but_our_page_is(ten_tools, inspect, tmp_path):
    mine = tmp_path / "here" / "inspect.html"
    mine.write_text("<p>mine</p>")
    status, screen, html = inspect(ten_tools.root)
    assert (status, html) == (2, "<p>mine</p>")
    assert "inspect.html is no page of pointnet-parts inspect, so it is not replaced" in screen
    mine.unlink()
    assert inspect(ten_tools.root)[0] == inspect(ten_tools.root)[0] == 0
    assert inspect(ten_tools.root, "--output", tmp_path / "no" / "page.html")[0] == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [("nowhere", "nowhere: no such file"), (".", ". is not a data set")],
)
def test_a_source_that_cannot_be_used(inspect, source, words):
    status, screen, html = inspect(source)
    assert (status, html) == (2, None)
    assert words in screen and "Traceback" not in screen


def test_a_source_without_a_readable_cloud_is_refused(shapes, inspect, tmp_path):
    status, screen, html = inspect(shapes.root, "--category", "Tool")
    assert status == 2 and html is None and "Tool" in screen
    record_file = tmp_path / "a.tfrecord.gz"
    record_file.write_bytes(b"nothing of ours")
    status, screen, _ = inspect(record_file)
    assert status == 2 and "damaged_record_file" in screen


def test_more_findings_than_the_page_lists(shapes, inspect):
    for i in range(210):
        shapes.tool(f"shape{i:03}", 1, 1, seed=i)
    status, screen, html = inspect(shapes.root, "--category", "Tool")
    assert status == 0  # the source can be looked at, though a run would stop
    assert cells(html, "TOO_FEW_POINTS")[0] == "210"
    assert "The first 200 of 211 findings" in html
    assert html.count("<li class=") == 200 + 1  # and why a run would stop
    assert "TOO_FEW_POINTS: ... and 207 more." in screen
    assert "The page lists the first 200 findings." in screen
    without_page = inspect(shapes.root, "--category", "Tool", "--no-page")[1]
    assert "TOO_FEW_POINTS: ... and 10 more." in without_page
    assert len(re.findall("^TOO_FEW_POINTS: ", without_page, re.MULTILINE)) == 200 + 1
    assert "The pipeline would stop: CloudValidator refused" in screen


def test_unreadable_shapes_have_their_column_and_their_findings_by_name(ten_tools, inspect):
    names = ["broken3", "broken1", "broken5", "broken2", "broken4"]
    for name in names:
        ten_tools.file(f"tools/points/{name}.pts", "0 0 0\n1 x 1\n")
    status, screen, html = inspect(ten_tools.root, "--category", "Tool")
    assert status == 0
    assert re.search(r"Tool\s.*7\s.*1\s.*2\s.*1\s.*0\s.*5\s.*17 / 21 / 30", screen)
    assert cells(html, "Tool") == ["7", "1", "2", "1", "0", "5", "17", "21", "30"]
    assert '<dt>shapes</dt><dd class="big">16</dd>' in html
    assert '<dt>unreadable</dt><dd class="big">5</dd>' in html
    assert "not_a_number: ... and 2 more, all on the page." in screen
    _, screen, _ = inspect(ten_tools.root, "--category", "Tool", "--no-page")
    assert re.findall(r"not_a_number: tools/points/(\w+)\.pts", screen) == sorted(names)
    assert "5 of 16 shapes cannot be read" in screen and "first: tools/points/broken1" in screen


def test_no_row_of_points_without_a_label_where_all_have_one(shapes, inspect):
    for i in range(3):
        shapes.tool(f"tool{i}", 10, 5, seed=i)
    _, screen, html = inspect(shapes.root, "--category", "Tool")
    assert "unannotated" not in screen and "unannotated" not in html


def test_one_shape(ten_tools, inspect):
    ten_tools.file("tools/points/box.pts", "0 0 0\n2 0 0\n0 4 0\n2 4 4\n")
    ten_tools.file("tools/points_label/head/box.seg", "1\n1\n0\n1\n")
    status, screen, html = inspect(ten_tools.root, "--shape", "box")
    assert status == 0
    for text in (screen, html):
        assert "1, 2, 1" in text  # the centroid
        assert "3.7417" in text  # of (2, 4, 4) from there: the root of 1 + 4 + 9
        assert "2, 4, 4" in text  # the box's size
    assert cells(html, "head") == ["75.0 %", "3"]
    assert len(re.findall("<img ", html)) == 1
    status, screen, _ = inspect(ten_tools.root, "--shape", "ball")
    assert status == 2 and "no shape 'ball'" in screen


def test_one_shape_that_cannot_be_read_or_drawn(ten_tools, tmp_path, write_records, inspect):
    ten_tools.file("tools/points/broken.pts", "0 0 0\n1 x 1\n")
    status, screen, html = inspect(ten_tools.root, "--shape", "broken")
    assert status == 0 and "tools/points/broken.pts" in html and "line 2" in screen
    points = np.full((5, 3), np.nan, np.float32)
    write_records(tmp_path / "Split-val/a.gz", Cloud("a", "Mug", points))
    status, screen, html = inspect(tmp_path, "--shape", "a")
    assert status == 0 and "NON_FINITE" in screen and "<img" not in html


def test_made_up_shapes_are_said_to_be(tmp_path, inspect):
    make_demo_shapes(tmp_path / "demo", 3, ["Mug"])
    _, screen, html = inspect(tmp_path / "demo")
    assert "Made up by a program, no real shapes: Mug." in screen
    assert "Made up by a program, no real shapes" in html and "Mug (made up)" in html


def test_neither_tensorflow_nor_tfx_is_imported(tmp_path, write_records):
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    write_records(tmp_path / "Split-train/a.gz", Cloud("a", "Mug", points))
    program = (
        "import sys\n"
        "from pipeline.cli import main\n"
        f"main(['inspect', {str(tmp_path)!r}, '--no-page'], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'tfx', 'apache_beam', 'matplotlib'}\n"
        "print('imported:', *{name.split('.')[0] for name in sys.modules} & heavy)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "imported:"
