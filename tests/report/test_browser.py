"""The report in a real Chromium: it sorts, filters, opens cases and fits a telephone; nothing leaves it and nothing runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medeval.report import write_report
from tests.report.accessibility import serious
from tests.report.browser import Browser, chromium
from tests.report.conftest import SAMPLE_META, draw_picture, sample_sections
from tests.report.record_views import record_sections, volume_picture

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"</script>'
PROGRAM = chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser(str(PROGRAM))
    yield found
    found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of view."""
    sections = [*sample_sections(), *record_sections()]
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(path, "Demo", sections, SAMPLE_META, lambda i: draw_picture(i) if i.dataset != "liver" else volume_picture(i))  # fmt: skip


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Browser]:
    """The page at 1280 pixels; at the end no error was logged and nothing but the file was asked for."""
    browser.open(report)
    yield browser
    assert browser.errors == []
    assert [a for a in browser.requests if not a.startswith(("data:image/", "blob:"))] == [report.as_uri()]


@pytest.fixture
def given(browser: Browser) -> Iterator[Browser]:
    """A report of a run that ``MEDEVAL_REPORT`` names."""
    if not (path := os.environ.get("MEDEVAL_REPORT")):
        pytest.skip("MEDEVAL_REPORT names no report.html")
    browser.open(Path(path))
    yield browser
    assert browser.errors == []
    assert [a for a in browser.requests if not a.startswith("data:image/")] == [Path(path).resolve().as_uri()]


SCORES = "document.querySelector('#section-1 table')"


def test_a_column_sorts_both_ways_by_keyboard_and_says_so(page: Browser) -> None:
    heading = f"{SCORES}.tHead.rows[0].cells[2]"
    values = f"[...{SCORES}.tBodies[0].rows].filter((r) => !r.matches('.group')).map((r) => Number(r.cells[2].dataset.sort))"
    page.run(f"{heading}.querySelector('button').focus()")
    page.press("Enter", "\r")
    first = page.run(values)
    assert page.run(f"{heading}.getAttribute('aria-sort')") == "descending"
    assert first == sorted(first, reverse=True)
    page.press("Enter", "\r")
    assert page.run(f"{heading}.getAttribute('aria-sort')") == "ascending"
    assert page.run(values) == sorted(first)


def test_the_filter_leaves_matching_rows_and_counts_them(page: Browser) -> None:
    page.click("#section-1 input[type=search]")
    page.type("geodesic microscopy")
    rows = f"[...{SCORES}.querySelectorAll('tbody tr:not(.group)')].filter((r) => r.getClientRects().length)"
    assert page.run(f"{rows}.map((r) => r.cells[0].textContent)") == ["geodesic"]
    assert page.run("document.querySelector('#section-1 .shown').textContent") == "1 of 12"


def test_a_click_on_a_point_opens_its_case_with_its_picture(page: Browser) -> None:
    page.click(".records circle[data-p='0']")
    assert page.run("document.querySelector('#case').open")
    assert page.run("document.querySelector('#case h2').textContent") == "liver-0"
    facts = page.run("[...document.querySelectorAll('#case dd')].map((d) => d.textContent)")
    assert facts[:3] == ["liver 0", "liver", "liver · box"]
    assert (
        page.run("document.querySelector('#case figure svg:not([hidden])').getClientRects()[0].width") > 300
    )
    page.press("Escape")
    assert not page.run("document.querySelector('#case').open")


def test_a_point_whose_record_has_no_picture_says_so(page: Browser) -> None:
    page.click(".records circle[data-p='7']")
    assert page.run("document.querySelector('#case h2').textContent") == "liver-7"
    assert page.run("document.querySelector('#case .lacking').getClientRects().length") == 1
    assert page.run("document.querySelectorAll('#case figure').length") == 0


def test_every_point_is_also_in_a_list_for_who_has_no_mouse(page: Browser) -> None:
    for view in page.run(
        "[...document.querySelectorAll('.records:has(circle)')].map((r) => r.closest('article').id)"
    ):
        page.run(f"document.querySelector('#{view} select').focus()")
        shown, listed = (
            page.run(f"new Set([...document.querySelectorAll('#{view} {found}')].map((n) => n.{key})).size")
            for found, key in (("circle", "dataset.p"), (".pick-case option", "value"))
        )
        assert shown == listed > 0
    page.run("document.querySelector('.records:has(circle) select').value = '1'")
    page.run("document.querySelector('.records:has(circle) .open-case').focus()")
    page.press("Enter", "\r")
    assert page.run("document.querySelector('#case h2').textContent") == "liver-1"


CURVE = "#section-2 .records"


def test_a_click_on_a_curves_point_lists_its_records_and_each_opens(page: Browser) -> None:
    page.click(f"{CURVE} svg.wide .c1 .mark:nth-of-type(9)")
    assert page.run("document.querySelector('#case h2').textContent").startswith("geodesic, clicks ")
    assert "3 of 10, evenly by rank" in page.run("document.querySelector('#case dl').textContent")
    names = page.run(
        "[...document.querySelectorAll('.several button')].map((b) => b.textContent.split(' ')[0])"
    )
    assert names == ["slice-0", "slice-1", "slice-2"]
    page.run("document.querySelectorAll('.several button')[2].focus()")
    page.press("Enter", "\r")
    facts = page.run(
        "[...document.querySelectorAll('#case dt')].map((d) => [d.textContent, d.nextElementSibling.textContent])"
    )
    assert page.run("document.querySelector('#case h2').textContent") == "slice-2"
    assert ["HD95 [mm]", "6.00"] in facts
    assert page.run("document.activeElement.textContent") == "Back to the list"
    page.press("Enter", "\r")
    assert page.run("document.querySelectorAll('.several button').length") == 3


def test_the_points_of_a_curve_are_in_a_list_too(page: Browser) -> None:
    assert page.run(f"document.querySelectorAll('{CURVE} option').length") == 1  # until it is gone to
    page.run(f"document.querySelector('{CURVE} select').focus()")
    assert page.run(f"document.querySelectorAll('{CURVE} option').length") == 2 * 5
    page.run(f"document.querySelector('{CURVE} select').value = '0,4'")
    page.run(f"document.querySelector('{CURVE} .open-case').focus()")
    page.press("Enter", "\r")
    assert page.run("document.querySelector('#case h2').textContent").startswith("random-walker, clicks 5")


def test_a_point_of_a_line_without_records_opens_nothing(page: Browser) -> None:
    page.click(f"{CURVE} svg.wide .c3 .mark:last-of-type")
    assert not page.run("document.querySelector('#case').open")


def test_the_methods_are_copied(page: Browser) -> None:
    page.run("document.querySelector('details.passage').open = true")
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.click(".passage .copy")
    page.until("document.querySelector('.passage .shown').textContent !== ''")
    assert page.run("document.querySelector('.passage .shown').textContent") == "Copied"
    text = page.run("document.querySelector('.passage pre').textContent")
    assert page.run("navigator.clipboard.readText()") == text


def test_a_volume_is_leafed_through_in_the_gallery_and_enlarged(page: Browser) -> None:
    page.click("#section-8 .zoom")
    slices = "[...document.querySelectorAll('#case svg.slice')].filter((s) => s.getClientRects().length).map((s) => s.dataset.caption)"
    assert page.run(slices) == ["slice 2"]
    page.run("document.querySelector('#case .leaf input').focus()")
    page.press("ArrowRight")
    page.run("(() => { const s = document.querySelector('#case .leaf input'); s.value = 4; s.dispatchEvent(new Event('input', {bubbles: true})); })()")  # fmt: skip
    assert page.run(slices) == ["slice 4"]
    assert page.run("document.querySelector('#case output').textContent") == "slice 4"


BEYOND = """[...document.querySelectorAll('main *, header *')].filter((e) => e.getClientRects().length
    && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, pre, .hidden, .turns'))
    .map((e) => e.outerHTML.slice(0, 90))"""


def fits(page: Browser) -> None:
    """Nothing is wider than the window, folded parts included."""
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.run(BEYOND) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(page: Browser, width: int) -> None:
    page.size(width)
    fits(page)
    page.click(".records circle[data-p='0']")
    assert (
        page.run("document.querySelector('#case').scrollWidth - document.querySelector('#case').clientWidth")
        == 0
    )


UNNAMED = """[...document.querySelectorAll('button, input, select, a[href], svg[role=img], [role=region], summary')]
    .filter((e) => !(e.getAttribute('aria-label')?.trim() || e.textContent.trim() || e.closest('label')?.textContent.trim()))
    .map((e) => e.outerHTML.slice(0, 90))"""


def test_all_that_can_be_used_or_seen_has_a_name_and_ids_are_unique(page: Browser) -> None:
    assert page.run(UNNAMED) == []
    assert page.run("document.documentElement.lang") == "en"
    ids = page.run("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


# WCAG 2: ratio of relative luminances of a text and what lies behind it, 4.5 or, for large text, 3
FAINT = """(() => {
  const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true}), known = new Map();
  const numbers = (c) => { if (!known.has(c)) { pen.clearRect(0, 0, 1, 1); pen.fillStyle = c; pen.fillRect(0, 0, 1, 1);
    known.set(c, [...pen.getImageData(0, 0, 1, 1).data]); } return known.get(c); };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255, 255]; };
  const faint = {};
  for (const e of document.querySelectorAll('body *')) {
    if (!e.getClientRects().length || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest('script, title, desc, .halo')) continue;
    const style = getComputedStyle(e), svg = e.closest('svg') !== null;
    const [a, b] = [light(numbers(svg ? style.fill : style.color)), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05), size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    if (ratio < needed) faint[e.tagName + '.' + (e.getAttribute('class') ?? '')] = ratio.toFixed(2);
  }
  return faint;
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(browser: Browser, report: Path, dark: bool) -> None:
    browser.open(report, dark=dark)
    assert browser.run("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert browser.run(FAINT) == {}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious(browser: Browser, report: Path, width: int, dark: bool) -> None:
    browser.open(report, width, dark)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert serious(browser) == []


def test_axe_finds_nothing_serious_in_an_open_case(page: Browser) -> None:
    page.click(f"{CURVE} svg.wide .c1 .mark:last-of-type")
    assert serious(page) == []


@pytest.mark.parametrize(
    ("planted", "rule"),
    [("<button></button>", "button-name"), ("<img src='data:,'>", "image-alt"), ("<input>", "label"),
     ("<p style='color: #ccc; background: #fff'>faint</p>", "color-contrast"), ("<ul><p>no item</p></ul>", "list"),
     ("<div role='img' aria-hidden='true'><a href='#main'>hidden</a></div>", "aria-hidden-focus")],
)  # fmt: skip
def test_axe_finds_what_is_planted(browser: Browser, report: Path, planted: str, rule: str) -> None:
    browser.open(report)
    browser.run(f"document.querySelector('main').insertAdjacentHTML('afterbegin', {json.dumps(planted)})")
    assert [line.split(":")[0] for line in serious(browser, "main > :first-child")] == [rule]


# what repeats is looked at once: axe takes a minute for the fifty thousand elements of a large report
SHORTEN = """document.querySelectorAll('tbody > tr:nth-child(n+7), svg circle:nth-of-type(n+7), article details.values table')
    .forEach((e) => e.remove())"""


def test_a_given_report_is_in_order_too(given: Browser) -> None:
    assert given.run(UNNAMED) == []
    assert given.run(FAINT) == {}
    for width in (1280, 360):
        given.size(width)
        fits(given)
    if (number := given.run("document.querySelector('.records circle')?.dataset.p")) is None:
        return  # a report of dialogues has no such plot
    given.click(f".records circle[data-p='{number}']")
    assert given.run(
        "document.querySelector('#case').open && document.querySelector('#case dd').textContent.length > 0"
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious_in_a_given_report(given: Browser, width: int, dark: bool) -> None:
    given.open(Path(os.environ["MEDEVAL_REPORT"]), width, dark)
    given.run(SHORTEN)
    assert serious(given) == []


# the middle of a plot's first point that has a record to open, on the page as it is scrolled to it
POINT = r"""((id) => {
  const plot = document.querySelector(`#${id} .records`), { lines } = JSON.parse(plot.querySelector('.points').textContent);
  const svg = [...plot.querySelectorAll('svg')].find((s) => s.getClientRects().length);
  const places = lines
    ? [...svg.querySelectorAll('[data-line]')].flatMap((p) => [...p.getAttribute('d').matchAll(/[ML](\S+) ([^ML]+)/g)]
        .filter((_, n) => lines[p.dataset.line][1][n][0] >= 0).map(([, x, y]) => [Number(x), Number(y)]))
    : [...svg.querySelectorAll('[data-p]')].map((c) => [c.cx.baseVal.value, c.cy.baseVal.value]);
  svg.scrollIntoView({block: 'center', behavior: 'instant'});
  const at = new DOMPoint(...places[0]).matrixTransform(svg.getScreenCTM());
  return [at.x, at.y];
})(%s)"""


def test_every_plot_of_a_given_report_opens_its_cases(given: Browser) -> None:
    given.run("document.querySelectorAll('details.folded').forEach((d) => { d.open = true; })")
    plots = given.run("[...document.querySelectorAll('.records')].map((r) => r.closest('article').id)")
    if not plots:
        pytest.skip("no plot of this report has points that stand for cases")
    for plot in plots:
        given.mouse(*given.run(POINT % json.dumps(plot)))
        assert given.run("document.querySelector('#case').open"), plot
        given.press("Escape")
        given.run(f"document.querySelector('#{plot} .open-case').focus()")
        given.press("Enter", "\r")
        assert given.run("document.querySelector('#case').open"), plot
        given.press("Escape")


def test_text_of_data_and_models_stays_text(browser: Browser, tmp_path: Path) -> None:
    path = write_report(tmp_path / "r.html", EVIL, record_sections(EVIL, 6), {EVIL: EVIL, "t": [{EVIL: EVIL}]}, volume_picture)  # fmt: skip
    browser.open(path)
    browser.click(".records circle[data-p='0']")
    assert browser.run("document.querySelector('#case h2').textContent") == f"{EVIL}-0"
    browser.press("Escape")
    browser.click(".zoom")
    assert browser.run("document.querySelector('#case h2').textContent") == f"{EVIL} 0: Dice of {EVIL}"
    assert browser.run(f"[...document.querySelectorAll('option')].some((o) => o.textContent.startsWith({json.dumps(EVIL)}))")  # fmt: skip
    assert browser.run("window.hacked === undefined")
    assert browser.run("document.querySelectorAll('img, [onerror]').length") == 0
    assert browser.errors == []


def test_a_script_that_got_into_the_page_does_not_run(page: Browser) -> None:
    page.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))"
    )
    assert page.run("window.hacked === undefined")
    assert "Content Security Policy" in " ".join(page.errors)
    page.errors.clear()


def test_a_report_of_a_thousand_cases_is_small_and_complete(browser: Browser, tmp_path: Path) -> None:
    path = write_report(tmp_path / "r.html", "Many", record_sections("case", 1000, 4), {}, volume_picture)
    assert path.stat().st_size < 10e6
    browser.open(path)
    assert browser.run("document.querySelectorAll('circle').length") == 2 * 8000 + 4000
    assert browser.errors == []
