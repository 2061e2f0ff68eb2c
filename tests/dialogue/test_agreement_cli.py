"""The commands over a real run: template out, sheets in, figures out; what does not fit is told."""

import csv
import http.client
import json
import re
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

import medeval
from medeval.api import RunOptions
from medeval.cli.judges import app
from medeval.dialogue.agreement_sheets import read_sheet
from medeval.engine import judged
from medeval.types import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    suite = {
        "name": "small",
        "datasets": {"mine": {"format": "patient-cases", "limit": 6}},
        "models": {
            "good": {"adapter": "scripted-doctor"},
            "curt": {"adapter": "scripted-doctor", "style": "curt"},
        },
        "tasks": [{"task": "mini-cex", "samples": 2}],
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    return medeval.run(folder / "suite.yaml", folder / "run", options=RunOptions(report=False)).path


def call(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


def filled(run, folder, rater, wrong=()):
    """The run's template, filled in as its rule-based judge would, but for the dialogues at ``wrong``."""
    marks, _ = judged.judge_marks(judged._frame(run))
    own = {(m.dialogue, m.item): m for m in marks}
    blank = folder / "blank.csv"
    assert call("agreement", "--template", run, "--rater", rater, "--out", blank).exit_code == 0
    names = sorted({d for d, _ in own})
    path = folder / f"{rater}.csv"
    with blank.open() as source, path.open("w") as target:
        writer = csv.writer(target)
        writer.writerow(["dialogue", "item", "rater", "score"])
        for row in csv.DictReader(source):
            mark = own[row["dialogue"], row["item"]]
            score = "NA" if mark.na else mark.score
            if names.index(row["dialogue"]) in wrong and not mark.na:
                score = 1 - min(mark.score, 1)
            writer.writerow([row["dialogue"], row["item"], row["rater"], score])
    return path


def test_sheets_are_compared_with_the_runs_judge(run, tmp_path):
    sheets = [filled(run, tmp_path, "A", wrong=(0, 5)), filled(run, tmp_path, "B")]
    out = tmp_path / "agreement.json"
    done = call("agreement", *sheets, "--run", run, "--resamples", 200, "--out", out)
    assert done.exit_code == 0
    for title in (
        "judge and people",
        "Agreement: people",
        "corrected",
        "same patient again",
        "violations per 100",
    ):
        assert title in done.output
    rows = json.loads(out.read_text())["agreement"]
    found = {(r["comparison"], r["item"], r["coefficient"]): r["value"] for r in rows}
    assert found["judge and people", "1.1", "agreement"] == pytest.approx(1 - 2 / 24 / 2)
    assert found["people", "1.1", "agreement"] == pytest.approx(1 - 2 / 24)
    assert done.output.count("within the people's range") >= 8


def test_a_csv_of_figures_is_written_too(run, tmp_path):
    out = tmp_path / "agreement.csv"
    assert (
        call("agreement", filled(run, tmp_path, "A"), "--run", run, "--resamples", 100, "-o", out).exit_code
        == 0
    )
    assert {row["judge"] for row in csv.DictReader(out.open())} == {"rules"}


def test_sheets_alone_hold_all_raters(tmp_path):
    path = tmp_path / "all.csv"
    lines = [
        f"d{n},1,{who},{(n + (who == 'model')) % 3 + 1}" for n in range(12) for who in ("A", "B", "model")
    ]
    path.write_text("\n".join(["dialogue,item,rater,score", *lines]))
    done = call(
        "agreement", path, "--judge", "model", "--scale", "1-3", "--weights", "linear", "--resamples", 100
    )
    assert "linear weights" in done.output or "Agreement: judge and people" in done.output
    assert "scale read off" not in done.output
    assert "scale read off" in call("agreement", path, "--resamples", 100).output


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "nothing to compare"),
        (["{good}", "--judge", "Z"], "no sheet has this rater"),
        (["{good}", "--weights", "cubic"], "cubic"),
        (["{good}", "--scale", "a-b"], "write 1-9 or 0,1,2"),
        (["{good}", "--scale", "9-1"], "write 1-9 or 0,1,2"),
        (["{good}", "--scale", "0,nan"], "write 1-9 or 0,1,2"),
        (["{good}", "--out", "x.txt"], "write .json or .csv"),
        (["{good}", "{good}"], "in two sheets"),
        (["{good}", "--run", "{run}"], "none of the dialogues"),
        (["{good}", "--rubric", "mini-cex-lm"], "did you mean 'mini-cex-llm'"),
    ],
)
def test_what_cannot_be_compared_is_told(run, tmp_path, args, told):
    good = tmp_path / "good.csv"
    good.write_text("dialogue,item,rater,score\nd1,1.1,A,1\nd2,1.1,A,0\nd1,1.1,B,1\n")
    with pytest.raises(UserError, match=told):
        call("agreement", *[arg.format(good=good, run=run) for arg in args])


def test_a_page_over_a_run_shows_its_rubric_and_the_truth_where_it_is_needed(run, tmp_path):
    page = judged.annotation(run, "A", out=tmp_path)
    page.book.close()
    plain = page.work.to_plain()
    assert [item["id"] for item in plain["items"]] == ["1.1", "1.2", "1.3", "2.1", "2.2", "3.1", "3.2", "4.1"]
    assert len(plain["dialogues"]) == 24
    assert all(talk["truth"].startswith("diagnosis: ") for talk in plain["dialogues"])
    assert not any(word in json.dumps(plain) for word in ("scripted", '"good"', '"curt"'))
    assert page.book.path == tmp_path / "A.jsonl"


def test_raters_who_share_nothing_are_told_and_the_order_of_a_scale_does_not_matter(tmp_path):
    path, written = tmp_path / "sheet.csv", []
    path.write_text("dialogue,item,rater,score\nd1,i,A,1\nd2,i,B,1\n")
    with pytest.raises(UserError, match=r"no two raters rate one item of one dialogue \(raters: A, B\)"):
        call("agreement", path)
    rows = [f"d{n},i,{rater},{(n * k) % 3}" for n in range(9) for k, rater in ((1, "A"), (2, "B"))]
    path.write_text("\n".join(["dialogue,item,rater,score", *rows]))
    for scale in ("0,1,2", "2,0,1"):
        call("agreement", path, "--scale", scale, "--resamples", 100, "--out", tmp_path / "out.csv")
        written.append((tmp_path / "out.csv").read_text())
    assert written[0] == written[1]


def test_a_page_that_gets_no_port_lets_go_of_the_raters_file(run, tmp_path):
    page = judged.annotation(run, "A", out=tmp_path)
    with pytest.raises(UserError, match="choose another with --port"):
        judged.annotation(run, "B", out=tmp_path, port=page.port)
    page.book.close()
    judged.annotation(run, "B", out=tmp_path).book.close()


def test_a_page_over_dialogues_from_elsewhere(tmp_path):
    path = tmp_path / "talks.jsonl"
    line = {
        "case": "c1",
        "messages": [{"role": "user", "content": "Ow."}, {"role": "assistant", "content": "Where?"}],
    }
    path.write_text(json.dumps(line))
    page = judged.annotation(path, "A", rubric="mini-cex-abim")
    page.book.close()
    assert page.book.path == tmp_path / "talks-annotations" / "A.jsonl"
    assert page.work.order == ["c1/0"]
    with pytest.raises(UserError, match="takes its criteria from each case"):
        judged.annotation(path, "A", rubric="case-criteria")


def test_the_page_of_the_command_survives_a_kill_with_all_that_it_said_was_saved(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps({"case": "c1", "messages": [{"role": "assistant", "content": "Where?"}]}))
    command = [
        sys.executable,
        "-c",
        "from medeval.cli.judges import app; app()",
        "annotate",
        str(path),
        "--rater",
        "Dr A",
    ]
    answers = tmp_path / "talks-annotations" / "Dr A.jsonl"

    def served(work):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                told = "".join(process.stdout.readline() for _ in range(2))
                port, token = re.search(r"127\.0\.0\.1:(\d+)/#(\S+)", told).groups()
                connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
                headers = {"X-Token": token, "Content-Type": "application/json"}
                connection.request(*work, headers=headers)
                return json.loads(connection.getresponse().read())
            finally:
                process.kill()

    [shown] = [talk["id"] for talk in served(("GET", "/api/work", None))["dialogues"]]
    rating = {"dialogue": shown, "item": "2.1", "score": 1, "na": False}
    assert served(("POST", "/api/rate", json.dumps(rating))) == {"saved": True}
    told = [(m.dialogue, m.item, m.rater, m.score) for m in read_sheet(answers)]
    assert told == [("c1/0", "2.1", "Dr A", 1.0)]
    assert served(("GET", "/api/work", None))["marks"] == {shown: {"2.1": 1}}
    assert json.loads((answers.parent / "key.json").read_text()) == {shown: "c1/0"}
