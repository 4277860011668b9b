import re

import numpy as np
import pytest

from components.evaluator.verdict import CheckedBound, Verdict
from components.segmentation_metrics import measurements
from components.segmentation_report.executor import SegmentedCloud, draw
from components.segmentation_report.page import ReportValues, SliceRow, build_page
from model.metrics import confusion, tally_cloud
from schema.categories import Category
from schema.record import Cloud

TOOL = Category("Tool", "01", ("head", "handle", "hook"))


FIRST = "there is no other blessed model to compare with"


def metrics(truth, prediction):
    return measurements({"Tool": tally_cloud(confusion(truth, prediction, 3))}, (TOOL,), {})


def bound(sentence, state):
    return CheckedBound("point_accuracy", "all clouds", "minimum", 0.5, 0.6, 0.0, state, sentence)


def drawn(name):
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    record = Cloud(name, "Tool", points, np.array([0, 0, 1, 1, -1]))
    return draw("best", SegmentedCloud(record, TOOL, np.array([0, 1, 1, 1, 2]), 0.75))


def page(**changes):
    # head: 4 points, 3 found; handle: 1 point, found, and claimed once more; hook: nowhere.
    values = {
        "verdict": Verdict(True, (bound("all is well", "met"),), FIRST),
        "metrics": metrics([0, 0, 0, 0, 1], [0, 0, 0, 1, 1]),
        "baseline": {},
        "categories": (TOOL,),
    }
    return build_page(ReportValues(**{**values, **changes}))


def row(html, part):
    found = re.search(rf"</span>{part}</th>(.*?)</tr>", html)
    return re.findall(r"<td>(.*?)</td>", found.group(1))


def test_the_verdict_and_each_bound_stand_on_the_page():
    assert "<h1>Blessed</h1>" in page() and FIRST in page()
    bounds = (bound("part IoU of hook is 0.1000", "missed"), bound("a < b & c", "missed"))
    html = page(verdict=Verdict(False, (*bounds, bound("all is well", "met")), "held against x"))
    assert "<h1>Not blessed</h1>" in html and "held against x" in html
    assert "<li>part IoU of hook is 0.1000</li>" in html
    assert "<li>a &lt; b &amp; c</li>" in html
    assert html.count(">missed</td>") == 2 and html.count(">met</td>") == 1
    assert "<h1>Measured</h1>" in page(verdict=Verdict(False, (), FIRST))


def test_slices_and_their_intervals():
    values = {"clouds": 7.0, "point_accuracy": 0.5, "instance_miou": 0.25}
    ends = {"interval_low/instance_miou": 0.125, "interval_high/instance_miou": 0.375}
    rows = [
        SliceRow("cloud_size 1-511", {**values, **ends}, {"instance_miou": 0.5}),
        SliceRow("cloud_size 8192+", values, {}),
    ]
    html = page(slices=rows)
    first, second = (
        re.findall(r"<td>(.*?)</td>", html.split(f"{row.title}</th>")[1].split("</tr>")[0])
        for row in rows
    )
    assert first == ["7", "0.5000", "0.2500", "0.1250 to 0.3750", "0.5000", "-0.2500"]
    assert second == ["7", "0.5000", "0.2500", "-", "-", "-"]


def test_what_is_unusual_about_the_data_is_told():
    html = page(data_findings={"drift": ["points moved"], "skew": []})
    assert "<li>drift: points moved</li>" in html
    assert "Nothing unusual was found" in page(data_findings={"drift": []})
    assert "Nothing unusual was found" not in page()


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
    html = page(clouds=(drawn(text),), shape_ious=(0.75,), config=text)
    assert html.count("<script") == 1  # our own
    assert text not in html
    assert html.count("&lt;script&gt;") >= 3


def test_the_page_needs_no_network_and_every_picture_has_its_text():
    curves = {"epoch": [1, 2], "loss": [1.0, 0.5], "val_instance_miou": [0.2, 0.4]}
    html = page(clouds=(drawn("a"),), shape_ious=(0.75,), curves=curves)
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) == 5
    assert all('src="data:image/png;base64,' in i and re.search(r'alt="[^"]+', i) for i in images)
    assert not re.search(r"https?://|<link|@import|url\(", html)
