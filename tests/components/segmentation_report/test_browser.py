"""The page in a real browser: nothing fails, it fits, and its clouds turn."""

import re

import numpy as np
import pytest

from components.evaluator.verdict import Verdict
from components.segmentation_metrics import measurements
from components.segmentation_report.executor import SegmentedCloud, draw
from components.segmentation_report.page import ReportValues, SliceRow, build_page
from model.metrics import confusion, tally_cloud
from schema.categories import SHAPENET_CATEGORIES
from schema.record import Cloud
from tests.components.headless_browser import Browser, needs_browser

PLANE = SHAPENET_CATEGORIES[0]
# How much is painted on each canvas, and a hash of its pixels.
PIXELS = """
(async () => {
  for (let i = 0; i < 3; i++) await new Promise(done => requestAnimationFrame(done));
  return [...document.querySelectorAll(".turnable canvas")].map(canvas => {
    const pen = canvas.getContext("2d");
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let painted = 0, hash = 0;
    for (let i = 0; i < data.length; i++) {
      if (i % 4 == 3) painted += data[i] > 0;
      hash = (hash * 31 + data[i]) % 1000003;
    }
    return [painted, hash];
  });
})()
"""
CANVAS = 'document.querySelector(".turnable canvas")'


@pytest.fixture
def page(tmp_path):
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(2500, 3)) * [1, 0.3, 1]).astype(np.float32)
    truth = rng.integers(0, 4, 2500)
    guess = np.where(rng.random(2500) < 0.8, truth, 0)
    name = "a_rather_long_name_of_a_shape_1a04e3eab45ca15dd86060f189eb133"
    record = Cloud(name, PLANE.name, points, truth)
    metrics = measurements({PLANE.name: tally_cloud(confusion(truth, guess, 4))}, (PLANE,), {})
    html = build_page(
        ReportValues(
            Verdict(True, (), "there is no other blessed model to compare with"),
            metrics,
            {},
            (PLANE,),
            shape_ious=(0.7,),
            clouds=[draw("best", SegmentedCloud(record, PLANE, guess, 0.7))],
            slices=[SliceRow("cloud_size 2048-4095", metrics, {})],
            artifacts={"model": "/a/very/long/" + "folder/" * 30},
            curves={"epoch": [1, 2], "loss": [1.0, 0.5], "val_instance_miou": [0.2, 0.4]},
        )
    )
    path = tmp_path / "page.html"
    path.write_text(html, "utf-8")
    return path


@needs_browser
@pytest.mark.slow
def test_clouds_turn_at_the_width_of_a_phone_and_of_a_desk(page, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        for width in (375, 1280):
            browser.open(page, width)
            assert browser.run("document.documentElement.scrollWidth") <= width
            before = browser.run(PIXELS)
            assert len(before) == 3 and min(painted for painted, _ in before) > 500
            # Truth, prediction and errors differ in their colours.
            assert len({hash_ for _, hash_ in before}) == 3
            browser.run(
                f'{CANVAS}.dispatchEvent(new KeyboardEvent("keydown", {{ key: "ArrowRight" }}))'
            )
            turned = browser.run(PIXELS)
            assert all(one != other for one, other in zip(before, turned, strict=True))
            browser.run(f'{CANVAS}.dispatchEvent(new MouseEvent("dblclick"))')
            assert browser.run(PIXELS) == before
            label = browser.run(f'{CANVAS}.getAttribute("aria-label")')
            assert "the true part of each point" in label and "arrow keys" in label
        assert browser.faults == []


@needs_browser
@pytest.mark.slow
def test_light_and_dark(page, tmp_path):
    def brightness(browser, property_name):
        colour = browser.run(f"getComputedStyle(document.body).{property_name}")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    with Browser(tmp_path / "profile") as browser:
        browser.open(page, 1280, "light")
        assert brightness(browser, "backgroundColor") > 600
        assert brightness(browser, "color") < 200
        browser.open(page, 1280, "dark")
        assert brightness(browser, "backgroundColor") < 150
        assert brightness(browser, "color") > 500
