"""The pages in a real browser: nothing fails, they fit, and clouds turn."""

import numpy as np
import pytest

from components.evaluator.verdict import Verdict
from model.measurements import measurements
from model.metrics import confusion, tally_cloud
from reports.segmentation_page import SegmentedCloud, segmentation_page
from schema.categories import Category
from schema.record import Cloud
from tests.headless_browser import Browser, needs_browser

# As many parts as a category can have; the last index is none of grey's.
LARGE = Category("Large", "01", tuple(f"a_rather_long_part_{n}" for n in range(256)))
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

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture
def page(tmp_path):
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(2500, 3)) * [1, 0.3, 1]).astype(np.float32)
    truth = rng.integers(0, 256, 2500)
    guess = np.where(rng.random(2500) < 0.8, truth, 0)
    record = Cloud("a_rather_long_name_1a04e3eab45ca15dd86060f189eb133", "Large", points, truth)
    tallies = {"Large": tally_cloud(confusion(truth, guess, 256))}
    metrics = measurements(tallies, (LARGE,), {})
    html = segmentation_page(
        Verdict(True, (), "no baseline"),
        metrics,
        (LARGE,),
        clouds=[SegmentedCloud(record, LARGE, guess)],
        slices=[("cloud_size 2048-4095", metrics, {})],
        artifacts={"model": "/a/very/long/" + "folder/" * 30},
        curves={"epoch": [1, 2], "loss": [1.0, 0.5], "val_instance_miou": [0.2, 0.4]},
    )
    path = tmp_path / "page.html"
    path.write_text(html, "utf-8")
    return path


@pytest.mark.parametrize("width", [375, 1280])
def test_clouds_turn_and_the_page_fits(page, tmp_path, width):
    with Browser(tmp_path / "profile") as browser:
        browser.open(page, width, "dark" if width < 600 else "light")
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
        assert "arrow keys" in browser.run(f'{CANVAS}.getAttribute("aria-label")')
        assert browser.faults == []
