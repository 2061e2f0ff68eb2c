from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medeval.report import Section, render_report, write_report
from medeval.types import Key
from medeval.types.views import (
    BlandAltman,
    Chat,
    Column,
    Curve,
    Distribution,
    Forest,
    Gallery,
    GalleryItem,
    Matrix,
    Passage,
    Picture,
    Series,
    Table,
    TextDiff,
    Turn,
)
from tests.report.record_views import group

EVIL = (
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<!--<script>", "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)", "{{ 7 * 7 }}", "{% raw %}", "javascript:alert(1)", "</title></style></svg><b>", "]]>", "a & b",
)  # fmt: skip


class Page(HTMLParser):
    """Tags with the names of their attributes, all text, and the data of each script."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(name, value or "") for name, value in attrs]
        self._script = tag == "script"
        if self._script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def everything(word: str) -> tuple[str, list[Section], dict[str, Any]]:
    """A report in which every place that a text can stand holds ``word``."""
    cell = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 3, "note": word}
    columns = [Column(word, word, note=word), Column("score", word, "interval", word, "higher")]
    rows = [
        {word: word, "score": cell, "_group": word, "_tags": [word]},
        {word: "b", "score": None, "_group": word},
    ]
    item = GalleryItem(word, word, word, 0, word, Key(word, word), word, "best")
    views = [
        Table(word, columns, rows, word),
        Curve(word, word, word, [Series(word, [1, 2], [0.1, 0.2], [0.0, 0.1], [0.2, 0.3])], word),
        Forest(word, word, [{"label": word, "value": 0.5, "low": 0.4, "high": 0.6, "n": 3}], word),
        Matrix(word, [word], [word], [[0.5]], word),
        Gallery(word, [item, replace(item, rank="failed")], word),
        Chat(word, [Turn(word, word), Turn("b", word)], word),
        TextDiff(word, word, word, word),
        Passage(word, word, word),
        Distribution(word, word, [group(word, np.arange(6.0), word)], word),
        BlandAltman(word, word, word, [group(word, np.arange(6.0), word)], word),
    ]
    meta = {word: word, "text": f"{word}\n{word}", "list": {word: word}, "table": [{word: word}]}
    return word, [Section(word, views, f"{word}\n\n- {word}")], meta


def picture(item: GalleryItem) -> Picture | None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:9, 5:9] = True
    return (
        None
        if item.rank == "failed"
        else Picture(np.zeros((20, 20), np.uint8), {item.case_id: mask}, caption=item.caption)
    )


@pytest.mark.parametrize("word", EVIL)
def test_a_text_from_data_or_models_stays_text_wherever_it_stands(word: str) -> None:
    plain = Page(render_report(*everything("h" * len(word)), picture))
    page = Page(render_report(*everything(word), picture))
    assert page.tags == plain.tags
    assert " ".join(word.split()) in page.text
    assert not any(name.startswith("on") for _, names in page.tags for name in names)
    assert json.loads(page.scripts[0])["columns"][1] == word


def test_json_in_scripts_cannot_end_the_script() -> None:
    html = render_report(*everything("</script><!--<script>"), picture)
    assert "</script><!--" not in html
    assert html.count("<script>") == 1


def test_the_page_needs_no_network(sections: list[Section], meta: dict, pictures: Any) -> None:
    page = Page(render_report("Demo", sections, meta, pictures))
    addresses = [
        value for name, value in page.values if name in ("src", "href", "xlink:href", "action", "srcset")
    ]
    assert addresses
    assert all(value.startswith(("data:image/", "#")) for value in addresses)
    assert not re.search(r"@import|url\(|https?:", " ".join(page.texts + page.scripts))


def test_the_policy_allows_the_one_script_and_no_other(
    sections: list[Section], meta: dict, pictures: Any
) -> None:
    page = Page(render_report("Demo", sections, meta, pictures))
    policy = next(value for name, value in page.values if name == "content" and "default-src" in value)
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert [names for tag, names in page.tags if tag == "script"][-1] == ()


def test_a_report_shows_what_a_reviewer_asks_for(sections: list[Section], meta: dict, pictures: Any) -> None:
    text = Page(render_report("Demo", sections, meta, pictures)).text
    for expected in (
        "What was run", "9f2c01ab77de", "3.11.7", "0.860 [0.834, 0.883]", "higher is better", "lower is better", "baseline",
        "incomplete: 0.790 to 0.820", "counted as worst", "fewer than 50 patients", "from ground truth", "2|A∩B| / (|A|+|B|)",
        "worst", "failed", "no picture", "MemoryError", "2,000 resamples",
    ):  # fmt: skip
        assert expected in text, expected


def test_the_same_views_give_the_same_bytes(sections: list[Section], meta: dict, pictures: Any) -> None:
    first, second = (render_report("Demo", sections, meta, pictures) for _ in range(2))
    assert first == second


def test_every_plot_is_described_for_who_cannot_see_it(
    sections: list[Section], meta: dict, pictures: Any
) -> None:
    html = render_report("Demo", sections, meta, pictures)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for names in re.findall(r'aria-labelledby="([^"]+)"', html):
        assert set(names.split()) <= set(ids)
    assert "random-walker: 0.600 at 1, 0.873 at 5" in html


def test_an_empty_report_is_a_page() -> None:
    page = Page(render_report("Nothing", [Section("Empty", [Table("t", [Column("a")], []), Gallery("g", []),
                              Curve("c", "x", "y", []), Forest("f", "x", []), Matrix("m", [], [], [])])], {}, picture))  # fmt: skip
    assert "No pictures." in page.text


def test_a_text_may_mix_paragraphs_and_lists() -> None:
    html = render_report("t", [Section("s", (), "First\nline.\n- one\n- two\nAfter.\n\nLast.")], {}, picture)
    tags = [
        tag
        for tag, _ in Page(html[html.index("<main") : html.index("</main>")]).tags
        if tag in ("p", "ul", "li")
    ]
    assert tags == ["p", "ul", "li", "li", "p", "p"]
    assert "First line." in html


def test_a_table_without_rows_says_so() -> None:
    views = [Table("t", [Column("a")], []), Table("t", [Column("a")], [], "No case failed.")]
    page = Page(render_report("t", [Section("s", views)], {}, picture))
    assert page.text.count("Nothing to show.") == page.text.count("No case failed.") == 1
    assert "table" not in [tag for tag, _ in page.tags]


def test_a_broken_picture_is_named() -> None:
    view = Gallery("Cases", [GalleryItem("d", "m", "", 0, "c7", Key(), "", "best")])
    with pytest.raises(
        ValueError, match=r"gallery 'Cases', case 'c7' of 'd': outline 'reference' has shape \(3, 3\)"
    ):
        render_report("x", [Section("s", [view])], {}, lambda _: Picture(np.zeros((4, 4), np.uint8), {"reference": np.ones((3, 3), bool)}))  # fmt: skip


def test_writing_replaces_the_old_report_at_once(
    tmp_path: Path, sections: list, meta: dict, pictures: Any
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(path, "Demo", sections, meta, pictures) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_report(
    tmp_path: Path, sections: list, meta: dict, pictures: Any, monkeypatch: Any
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(path, "Demo", sections, meta, pictures)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_lone_surrogates_and_control_characters_do_not_stop_the_report(tmp_path: Path) -> None:
    table = Table("t\x00\x1b[31m", [Column("a")], [{"a": "\ud800 \u202e x"}])
    path = write_report(tmp_path / "r.html", "t", [Section("s", [table])], {}, picture)
    html = path.read_text(encoding="utf-8")
    assert not re.search("[\x00\x1b\u202e]", html)
