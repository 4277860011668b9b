import base64
import json
import re

import numpy as np

from components.evaluator.verdict import CheckedBound, Verdict
from model.measurements import measurements
from model.metrics import confusion, tally_cloud
from reports.segmentation_page import SegmentedCloud, extremes, segmentation_page
from reports.segmented_page import GENERATOR, page_cloud, render_page
from schema.categories import Category
from schema.record import Cloud

TOOL = Category("Tool", "01", ("head", "handle", "hook"))
# Text that a page must not take for markup.
MARKUP = '<script>alert("x")</script>'


def metrics(truth, prediction):
    return measurements({"Tool": tally_cloud(confusion(truth, prediction, 3))}, (TOOL,), {})


def bound(sentence, state):
    blocks = state == "missed"
    return CheckedBound("a", "all clouds", "minimum", 0.5, 0.6, 0.0, state, blocks, sentence)


def cloud(name, prediction=(0, 1, 1, 1, 2)):
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    record = Cloud(name, "Tool", points, np.array([0, 0, 1, 1, -1]))
    return SegmentedCloud(record, TOOL, np.array(prediction))


# head: 4 points, 3 right; handle: 1 point, right, and predicted once more; hook: nowhere.
METRICS = metrics([0, 0, 0, 0, 1], [0, 0, 0, 1, 1])


def page(verdict=None, **changes):
    verdict = verdict or Verdict(True, (bound("a", "met"),), "no baseline")
    return segmentation_page(verdict, **{"metrics": METRICS, "categories": (TOOL,), **changes})


def cells(html, name):
    (row,) = re.findall(rf"{re.escape(name)}</th>(.*?)</tr>", html)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_the_verdict_and_each_bound_are_on_the_page():
    bounds = (bound("b < c & d", "missed"), bound("e", "not measured"), bound("f", "met"))
    verdict = Verdict(False, bounds, "compared with x")
    html = page(verdict)
    assert f"<h1>{verdict.headline}</h1>" in html and "compared with x" in html
    assert "<li>b &lt; c &amp; d</li>" in html
    rows = [cells(html, name) for name in ("b &lt; c &amp; d", ">e", ">f")]
    assert rows == [["missed"], ["not measured"], ["met"]]
    for verdict in (Verdict(True, bounds[2:], "", exploratory=True), Verdict(False, (), "")):
        assert f"<h1>{verdict.headline}</h1>" in page(verdict)


def test_slices_and_their_intervals():
    values = {"clouds": 7.0, "point_accuracy": 0.5, "instance_miou": 0.25}
    ends = {"interval_low/instance_miou": 0.125, "interval_high/instance_miou": 0.375}
    before = {"instance_miou": 0.5}
    html = page(slices=[("size 1-511", {**values, **ends}, before), ("size 8192+", values, {})])
    first = ["7", "0.5000", "0.2500", "0.1250 to 0.3750", "0.5000", "-0.2500"]
    assert cells(html, "size 1-511") == first
    assert cells(html, "size 8192+") == ["7", "0.5000", "0.2500", "-", "-", "-"]


def test_numbers_by_hand():
    html = page(baseline=metrics([0, 0, 0, 0, 1], [0, 0, 1, 1, 1]))
    # Points, accuracy, IoU, trivial IoU, the baseline's IoU, difference; then the confusion.
    expected = ["4", "0.7500", "0.7500", "0.8000", "0.5000", "+0.2500"]
    assert cells(html, "</span>head") == expected
    assert cells(html, "</span>handle")[3:] == ["0.0000", "0.3333", "+0.1667"]
    assert '<dd class="big">0.8000</dd>' in html  # point accuracy, 4 of 5
    assert '<dd class="big">0.7500</dd>' in html  # (3/4 + 1/2 + 1) / 3
    assert '<dd class="big">0.6250</dd>' in html  # (3/4 + 1/2) / 2
    assert 'title="25.0% of head predicted as handle">1</td>' in html
    assert cells(page(), "</span>hook") == ["0", "-", "-", "0.0000", "-", "-"]


def test_findings_on_the_data_and_clouds_without_an_answer():
    html = page(findings={"drift": ["points moved"], "skew": []}, notes=["large: too many points"])
    assert "points moved" in html and "large: too many points" in html
    texts = {page(findings=findings) for findings in (None, {"drift": []}, {"drift": ["x"]})}
    assert len(texts) == 3


def test_best_median_and_worst_cloud():
    clouds = [cloud("a", (0, 0, 0, 1, 2)), cloud("b", (0, 0, 1, 1, 0)), cloud("c", (2, 2, 2, 2, 2))]
    ranks = [(rank, one.record.shape_id) for rank, one in extremes(clouds)]
    assert ranks == [("best", "b"), ("median", "a"), ("worst", "c")]
    assert [rank for rank, _ in extremes(clouds[:1])] == ["best"]
    assert extremes([]) == []
    # head: 1 of 2; handle: 2 of 3; hook is absent: (1/2 + 2/3 + 1) / 3.
    html = page(clouds=[cloud("d")])
    assert "0.7222, 1 of 4 points wrong" in html
    views = re.findall(r'data-parts="(.*?)" data-colours="(.*?)"', html)
    parts = [np.frombuffer(base64.b64decode(text), "<u2").tolist() for text, _ in views]
    # Truth, prediction, and errors: index 1 is wrong; the unannotated point is grey.
    assert parts == [[0, 0, 1, 1, 65535], [0, 1, 1, 1, 2], [0, 1, 0, 0, 65535]]
    assert json.loads(views[0][1].replace("&#34;", '"')) == list(TOOL.colours)


def test_text_is_escaped_and_the_page_needs_no_network_and_pictures_have_text():
    curves = {"epoch": [1, 2], "loss": [1.0, 0.5], "val_instance_miou": [0.2, 0.4]}
    html = page(clouds=(cloud(MARKUP),), config=MARKUP, curves=curves, about=[MARKUP])
    assert html.count("<script") == 1  # our own
    assert MARKUP not in html and html.count("&lt;script&gt;") >= 4
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) == 5
    assert all('src="data:image/png;base64,' in i and re.search(r'alt="[^"]+', i) for i in images)
    assert not re.search(r"https?://|<link|@import|url\(", html)


def test_the_page_of_segmented_clouds_has_shares_certainty_and_failures():
    points, part = np.zeros((4, 3), np.float32), np.array([0, 0, 1, -1])
    certainty = np.array([0.5, 0.75, 1, 0], np.float32)
    html = render_page([page_cloud(MARKUP, points, part, certainty, TOOL)], "model", ["b: <i>"])
    assert GENERATOR in html[:1000]
    shares = re.findall(r"</span>(.*?)</li>", html)
    assert shares == ["head 50.0%", "handle 25.0%", "no answer 25.0%"]
    assert "0.7500" in html and "b: &lt;i&gt;" in html and MARKUP not in html
