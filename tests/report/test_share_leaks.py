"""Nothing planted in a run is found in what is shared of it; the report that stays inside, or the run, holds it."""

from __future__ import annotations

import base64
import getpass
import gzip
import html
import io
import json
import platform
import socket
import urllib.parse

import planted_names as planted
import pytest
from planted_names import WORD, found

from medeval import api


@pytest.fixture(autouse=True)
def telling(monkeypatch):
    """A machine and a user with telling names."""
    for module, name, value in (
        (socket, "gethostname", planted.HOST), (platform, "node", planted.HOST), (getpass, "getuser", planted.USER),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda value=value: value)
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, planted.USER)
    monkeypatch.setenv("HOSTNAME", planted.HOST)


@pytest.fixture
def server():
    pytest.importorskip("openai", reason="the SDK is in the llm extra")
    from chat_suite import MockServer

    with MockServer() as running:
        yield running


@pytest.fixture
def checkpoint(tmp_path_factory):
    from target_world import trained_source

    return trained_source(tmp_path_factory.mktemp(f"{WORD}weights") / f"{WORD}source.pth")


EVERY = {
    "html": api.ShareOptions(), "json": api.ShareOptions(format="json"), "two": api.ShareOptions(min_cell=2),
    "pixels": api.ShareOptions(pixels=True), "anonymous": api.ShareOptions(anonymise=True),
}  # fmt: skip


def check(small, suite, ways=("json", "two")):
    """Runs the suite and looks for the planted word in its report, and in all that is shared of it."""
    planted.repository(small.folder)
    run = small.run(suite, out=f"{WORD}run", report=True)
    inside = (run.path / "report.html").read_text()
    assert found(inside)
    shared = {}
    for name in ways:
        path, _ = api.report(run, small.folder / f"{name}.out", EVERY[name])
        shared[name] = path.read_text()
        assert found(shared[name]) == [], name
    return run, inside, shared


@pytest.mark.parametrize("volumes", [False, True], ids=["pictures", "volumes"])
def test_segmentation_tells_no_name_no_path_and_no_error(small, volumes):
    run, inside, shared = check(small, planted.segmentation(small, volumes), tuple(EVERY))
    for word in ("case03", "weights.pth", "key", "error.png", "errorpatient", "root", "note"):
        assert found(inside, f"{WORD}{word}"), word
    assert "data:image" in shared["pixels"]
    assert all("data:image" not in shared[name] for name in ("html", "json", "anonymous"))
    told = json.loads(shared["json"])
    assert {row["model"] for row in told["scores"]} == {"mine", "broken"}
    assert [row["people"] for row in told["failures"]] == ["< 10"]
    assert {row["model"] for row in json.loads(_shared(run, anonymise=True))["scores"]} == {
        "model 1",
        "model 2",
    }


def test_classification_tells_no_study_and_keeps_its_scores(small):
    _, inside, shared = check(small, planted.classification(small))
    assert found(inside, f"{WORD}comment") or found(inside, f"{WORD}study7")
    rows = json.loads(shared["json"])["scores"]
    assert {"case_auroc", "case_sensitivity"} <= {row["metric"] for row in rows}
    assert {row["group"].get("site") for row in rows} == {None, "north", "south"}
    assert all(row["by"] != "comment" for row in rows)


def test_of_nine_sick_patients_no_score_is_told_that_counts_them(small):
    run = small.run(planted.classification(small, every=14))
    told = {row["metric"] for row in json.loads(_shared(run))["scores"]}
    assert told == {"case_auroc", "case_average_precision", "case_brier", "case_ece"}
    counted = {"case_sensitivity", "case_specificity", "case_f1"}
    assert told | counted <= {row["metric"] for row in json.loads(_shared(run, min_cell=2))["scores"]}


def test_a_strangers_task_can_tell_nothing_but_numbers_under_allowed_fields(small):
    _, inside, shared = check(small, planted.stranger(small), tuple(EVERY))
    assert found(inside, f"{WORD}view")
    rows = json.loads(shared["json"])["scores"]
    assert {row["task"] for row in rows} == {"Mine"}
    assert {row["metric"] for row in rows} == {"dice", "iou", "extra"}
    extra = next(row for row in rows if row["metric"] == "extra")
    assert (extra["definition"], extra["unit"], extra["failed"], extra["n"]) == ("", "", {}, 36)


def test_questions_tell_no_question_answer_or_explanation(small):
    run, _, shared = check(small, planted.questions(small))
    records = run.records().to_json()
    for word in ("q3", "said", "p7"):
        assert f"{WORD}{word}" in records
    assert json.loads(shared["json"])["scores"]


def test_dialogues_tell_no_turn_no_diagnosis_and_no_endpoint(small, server):
    _, inside, shared = check(small, planted.dialogues(small, server))
    for word in ("fact", "when did it begin", "influenza", "dialogue"):
        assert found(inside, f"{WORD}{word}"), word
    host = server.url.split("//")[1].split("/")[0]
    assert found(inside, host)
    assert all(found(page, host) == [] for page in shared.values())
    assert json.loads(shared["json"])["scores"]


@pytest.mark.slow
def test_adaptation_tells_no_patient_before_and_after(small, checkpoint):
    _, inside, shared = check(small, planted.adaptation(small, checkpoint))
    assert found(inside, f"{WORD}p3")
    assert {row["metric"] for row in json.loads(shared["json"])["scores"]} == {
        "dice",
        "gain in dice",
        "made worse (dice)",
    }


def test_the_report_again_is_the_report(small):
    run = small.run(planted.segmentation(small), report=True)
    before = (run.path / "report.html").read_text()
    path, withheld = api.report(run, small.folder / "again.html")
    assert (path.read_text(), dict(withheld)) == (before, {})
    (run.path / "report.html").unlink()
    assert api.report(run)[0].read_text() == before


def _shared(run, **options):
    return api.report(run, run.path / "x.json", api.ShareOptions(format="json", **options))[0].read_text()


def _picture():
    from PIL import Image, PngImagePlugin

    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("Comment", f"{WORD}inside", zip=True)
    Image.new("L", (8, 8)).save(buffer, "png", pnginfo=info)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    "page",
    [
        f"a {WORD} b",
        html.escape(f"<{WORD}>"),
        "".join(f"&#{ord(letter)};" for letter in WORD),
        urllib.parse.quote(f"/ä/{WORD}", safe=""),
        "".join(f"%{ord(letter):02x}" for letter in WORD),
        "".join(f"\\u{ord(letter):04x}" for letter in WORD),
        f'"{base64.b64encode(f"xx{WORD}yy".encode()).decode()}"',
        f'"{base64.b64encode(gzip.compress(f"xx{WORD}yy".encode())).decode()}"',
        f"{WORD}".encode().hex(),
        _picture(),
    ],
    ids=["plain", "html", "entities", "url", "percent", "json", "base64", "gzip", "hex", "png"],
)  # fmt: skip
def test_the_search_finds_a_word_however_it_is_coded(page):
    assert found(page)
    assert found(page.upper()[:3] + "nothing") == []
