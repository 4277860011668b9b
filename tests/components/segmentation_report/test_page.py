import re

import pytest

from components.segmentation_metrics import measurements
from components.segmentation_report.page import DrawnCloud, ReportValues, build_page
from model.metrics import confusion, tally_cloud
from schema.categories import Category

TOOL = Category("Tool", "01", ("head", "handle", "hook"))


def metrics(truth, prediction):
    return measurements({"Tool": tally_cloud(confusion(truth, prediction, 3))}, (TOOL,))


def page(**changes):
    # head: 4 points, 3 found; handle: 1 point, found, and claimed once more; hook: nowhere.
    values = {
        "blessed": True,
        "reasons": (),
        "metrics": metrics([0, 0, 0, 0, 1], [0, 0, 0, 1, 1]),
        "baseline": {},
        "categories": (TOOL,),
    }
    return build_page(ReportValues(**{**values, **changes}))


def row(html, part):
    found = re.search(rf"</span>{part}</th>(.*?)</tr>", html)
    return re.findall(r"<td>(.*?)</td>", found.group(1))


def test_the_verdict_and_each_missed_bound_stand_on_the_page():
    assert "<h1>Blessed</h1>" in page()
    html = page(blessed=False, reasons=("part IoU of hook is 0.1000", "a < b & c"))
    assert "<h1>Not blessed</h1>" in html
    assert "<li>part IoU of hook is 0.1000</li>" in html
    assert "<li>a &lt; b &amp; c</li>" in html


def test_numbers_by_hand():
    html = page(baseline=metrics([0, 0, 0, 0, 1], [0, 0, 1, 1, 1]))
    assert row(html, "head") == ["4", "0.7500", "0.7500", "0.5000", "+0.2500"]
    assert row(html, "handle") == ["1", "1.0000", "0.5000", "0.3333", "+0.1667"]
    assert '<dd class="big">0.8000</dd>' in html  # point accuracy, 4 of 5
    assert '<dd class="big">0.7500</dd>' in html  # (3/4 + 1/2 + 1) / 3
    assert '<dd class="big">0.6250</dd>' in html  # (3/4 + 1/2) / 2
    assert '25.0 % of head called handle">1</td>' in html


def test_what_was_not_measured_is_a_dash():
    assert row(page(), "hook") == ["0", "-", "-", "-", "-"]
    assert row(page(), "head")[3:] == ["-", "-"]


@pytest.mark.parametrize("text", ['<script>alert("x")</script>'])
def test_names_and_config_are_escaped(text):
    cloud = DrawnCloud("best", text, TOOL, 0.75, 1, 5, b"\x89PNG", b"\x89PNG", b"\x89PNG")
    html = page(clouds=(cloud,), shape_ious=(0.75,), config=text)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 3


def test_the_page_needs_no_network_and_every_picture_has_its_text():
    cloud = DrawnCloud("best", "a", TOOL, 0.75, 1, 5, b"\x89PNG", b"\x89PNG", b"\x89PNG")
    curves = {"epoch": [1, 2], "loss": [1.0, 0.5], "val_instance_miou": [0.2, 0.4]}
    html = page(clouds=(cloud,), shape_ious=(0.75,), curves=curves)
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) == 5
    assert all('src="data:image/png;base64,' in i and re.search(r'alt="[^"]+', i) for i in images)
    assert not re.search(r"https?://|<link|@import|url\(", html)
