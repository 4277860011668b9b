"""`pointnet-parts inspect` as a user meets it: terminal, page, exit status."""

import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from schema.record import Cloud


@pytest.fixture
def inspect(tmp_path, monkeypatch):
    """Runs the command in an empty folder; returns status, output, and the page or None."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments):
        result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert not list(folder.glob(".*.tmp"))
        written = folder / "inspect.html"
        html = written.read_text("utf-8").replace("<wbr>", "") if written.exists() else None
        return result.exit_code, result.output, html

    return run


def cells(html, name):
    """The cells of the row that has this name."""
    found = re.search(rf'<tr><th scope="row">(?:<span[^>]*></span>)?{name}</th>(.*?)</tr>', html)
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", found[1])]


def test_tables_and_page(ten_tools, inspect):
    ten_tools.file("tools/points/broken.pts", "0 0 0\n1 x 1\n")
    status, screen, html = inspect(ten_tools.root, "--category", "Tool")
    assert status == 0 and "page: inspect.html" in screen
    assert re.search(r"Tool\s.*7\s.*1\s.*2\s.*1\s.*0\s.*1\s.*17 / 21 / 30", screen)
    assert cells(html, "Tool") == ["7", "1", "2", "1", "0", "1", "17 / 21 / 30"]
    assert cells(html, "head") == ["70.7%", "145", "7 of 7", "1 of 1", "2 of 2"]
    assert cells(html, "unannotated")[:2] == ["9.8%", "20"]
    for text in (screen, html):
        assert "not_a_number" in text and "tools/points/broken.pts, line 2" in text


def test_the_page_needs_no_network_and_every_picture_has_its_text(ten_tools, inspect):
    _, _, html = inspect(ten_tools.root, "--category", "Tool", "--clouds", 2)
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) == 3  # the histogram and two clouds
    assert all('src="data:image/png;base64,' in i and re.search(r'alt="[^"]+', i) for i in images)
    assert not re.search(r"https?://|<link|<script|@import|url\(", html)


def test_hostile_names_are_escaped(tmp_path, write_records, inspect):
    name = '<script>alert("x")</script>[red]\x1b[31m'
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    record = Cloud(name, "Airplane", points, np.zeros(9, np.int64))
    bad = Cloud(name, f"{name}2", points, np.zeros(9, np.int64))
    write_records(tmp_path / "Split-<b>/a.gz", record, bad)
    status, screen, html = inspect(tmp_path)
    assert status == 0
    assert "<script" not in html and "<b>" not in html
    assert html.count("&lt;script&gt;") >= 2
    assert "\x1b" not in screen and "[red]\\x1b[31m" in screen


def test_only_our_own_page_is_replaced(ten_tools, inspect, tmp_path):
    mine = tmp_path / "here" / "inspect.html"
    mine.write_text("<p>mine</p>")
    status, screen, html = inspect(ten_tools.root)
    assert (status, html) == (2, "<p>mine</p>") and "inspect.html" in screen
    mine.unlink()
    assert inspect(ten_tools.root, "--no-page", "--limit", 3)[2] is None
    assert inspect(ten_tools.root)[0] == inspect(ten_tools.root)[0] == 0
    for output in (tmp_path / "no" / "page.html", tmp_path):
        status, screen, _ = inspect(ten_tools.root, "--output", output)
        assert status == 2 and str(output) in screen and "Traceback" not in screen


def test_a_source_that_cannot_be_used(shapes, inspect, tmp_path):
    for source in ("nowhere", ".", shapes.root):
        status, screen, html = inspect(source, "--category", "Tool")
        assert (status, html) == (2, None) and "Traceback" not in screen
    damaged = tmp_path / "a.tfrecord.gz"
    damaged.write_bytes(b"not a record file")
    status, screen, _ = inspect(damaged)
    assert status == 2 and "damaged_record_file" in screen


def test_more_findings_than_are_listed(shapes, inspect):
    for i in range(210):
        shapes.tool(f"shape{i:03}", 1, 1, seed=i)
    status, screen, html = inspect(shapes.root, "--category", "Tool")
    assert status == 0  # a run would stop, but the source can be inspected
    assert html.count("TOO_FEW_POINTS") == 1 + 1  # and why a run would stop
    assert html.count('<li class="finding">shape shape') == 200
    assert "and 207 more" in screen and "refused" in screen
    without_page = inspect(shapes.root, "--category", "Tool", "--no-page")[1]
    assert "and 10 more" in without_page


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
