"""The report of a real run over a thousand cases and three models: how large it is, and how soon it can be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medeval
from medeval.api import RunOptions, Suite
from tests.report.browser import Browser, chromium

CASES = 1000
PROGRAM = chromium()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def pictures(folder: Path) -> None:
    """A bright ellipse in noise of 32 x 32 pixels a case; four cases a patient, two sites."""
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for number in range(CASES):
        (r, c), (a, b) = draw.uniform(10, 22, 2), draw.uniform(4, 8, 2)
        mask = ((rows - r) / a) ** 2 + ((columns - c) / b) ** 2 < 1
        image = np.clip(70 + 70 * mask + draw.normal(0, 25, mask.shape), 0, 255).astype(np.uint8)
        name = f"site{number % 2}/{{}}/p{number // 4:03}/case{number:04}.png"
        for kind, array in (("img", image), ("mask", mask.astype(np.uint8) * 255)):
            path = folder / name.format(kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thousand")
    pictures(folder)
    suite = {
        "name": "thousand",
        "datasets": {"pictures": {"format": "image-mask-folder", "root": ".", "images": "{site}/img/{patient}/{id}.png",
                                  "masks": "{site}/mask/{patient}/{id}.png"}},
        "models": {name: {"adapter": name} for name in ("region-growing", "geodesic", "box-as-mask")},
        "tasks": [{"task": "prompted-segmentation", "prompts": ["box", "3 clicks"], "metrics": ["dice", "iou"],
                   "by": ["site"]}],
    }  # fmt: skip
    medeval.run(Suite.from_dict(suite, base=folder), folder / "run", options=RunOptions(report=True))
    return folder / "run" / "report.html"


def test_it_is_smaller_than_ten_megabytes_and_has_all_its_parts(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    print(f"report of {CASES} cases: {report.stat().st_size / 1e6:.2f} MB")
    assert report.stat().st_size < 10e6
    for part in (
        "Models at a glance",
        "dice against clicks",
        "dice by case",
        "Sizes of masks",
        "best, median, worst",
    ):
        assert part in html


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the path")
def test_it_opens_sorts_and_shows_a_case_without_an_error(report: Path) -> None:
    browser = Browser(str(PROGRAM))
    try:
        browser.open(report)
        loaded = browser.run(
            "(() => { const n = performance.getEntriesByType('navigation')[0];"
            "return [n.domContentLoadedEventEnd, n.loadEventEnd]; })()"
        )
        sorting = browser.run(
            "(() => { const start = performance.now(); document.querySelector('th:nth-child(2) .sort').click();"
            "document.body.getBoundingClientRect(); return performance.now() - start; })()"
        )
        print(f"DOMContentLoaded, load, first sort [ms]: {json.dumps([*loaded, sorting])}")
        assert browser.run("document.querySelector('th[aria-sort]') !== null")
        number = browser.run("document.querySelector('.records circle').dataset.p")
        browser.click(f".records circle[data-p='{number}']")
        assert browser.run("document.querySelector('#case h2').textContent").startswith("case")
        assert browser.errors == []
    finally:
        browser.close()
