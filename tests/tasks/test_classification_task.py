"""Two vendors' files and a model in one table, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import medeval
from medeval.api import RunOptions, Suite
from medeval.statistics.auc import auc_test
from medeval.statistics.proportions import clopper_pearson
from medeval.types import DatasetError, PluginError, RunError, SuiteError
from medeval.types.views import Table

MODEL = """
class Ours:
    threshold = 0.4
    def __init__(self, fails: str = "", answers: float = -1.0):
        self.fails, self.answers = fails, answers
    def classify(self, inputs):
        if inputs["name"] == self.fails:
            raise ValueError("cannot read")
        return float(inputs["hint"]) if self.answers < 0 else self.answers
"""


class Clinic:
    """Studies of two sites in a CSV, scores of two vendors beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        self.labels = np.tile([1, 0, 0, 0], 40)
        clear = self.labels * 1.5 + rng.normal(0, 1, 160)
        self.scores = {
            "a": (1 / (1 + np.exp(-clear + 1))).round(3),
            "b": (1 / (1 + np.exp(-(0.4 * clear + rng.normal(0, 1, 160)) + 1))).round(3),
            "hint": (1 / (1 + np.exp(-(clear + rng.normal(0, 0.5, 160)) + 1))).round(3),
        }
        self.ids = [f"s{number:03d}" for number in range(160)]
        self.sites = ["north" if number % 160 < 80 else "south" for number in range(160)]
        (folder / "ours.py").write_text(MODEL)
        columns = {"site": self.sites, "hint": self.scores["hint"], "name": self.ids}
        self.file("studies", patient_id=[f"p{n}" for n in range(160)], y_true=self.labels, **columns)
        for vendor in "ab":
            self.file(vendor, y_true=self.labels, score=self.scores[vendor])

    def file(self, name: str, case_id: Any = None, /, **columns: Any) -> None:
        with (self.folder / f"{name}.csv").open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["case_id", *columns])
            writer.writerows(zip(self.ids if case_id is None else case_id, *columns.values(), strict=True))

    def suite(self, models: Mapping[str, Any] | None = None, **task: Any) -> dict[str, Any]:
        return {
            "name": "clinic",
            "datasets": {"studies": {"format": "table", "file": "studies.csv", "id": "case_id", "patient": "patient_id",
                                     "inputs": {"hint": "hint", "name": "name"}, "reference": {"label": "y_true"}}},
            "models": models or {"vendor-a": {"adapter": "scores", "file": "a.csv", "threshold": 0.5},
                                 "vendor-b": {"adapter": "scores", "file": "b.csv", "threshold": 0.5},
                                 "ours": {"adapter": "ours.py:Ours"}},
            "tasks": [{"task": "classification", "by": ["site"], "prevalence": 0.05, **task}],
        }  # fmt: skip

    def run(self, report: bool = False, out: str = "run", **suite: Any) -> Any:
        return medeval.run(
            Suite.from_dict(self.suite(**suite), base=self.folder),
            self.folder / out,
            options=RunOptions(report=report),
        )


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.chdir(tmp_path)
    return Clinic(tmp_path)


def row(run: Any, model: str, metric: str, **group: str) -> dict[str, Any]:
    found = [
        r for r in run.summary()["scores"] if (r["model"], r["metric"], r["group"]) == (model, metric, group)
    ]
    assert len(found) == 1
    return found[0]


def compared(run: Any, by: str = "") -> Table:
    """The comparison table that the report draws."""
    from medeval.engine.finish import _evidence, _Failed
    from medeval.engine.plan import Plan
    from medeval.runs.folder import RunFolder

    plan = Plan(run.suite())
    task = plan.suite.tasks[0]
    summary = task.summarize(_evidence(plan, RunFolder(run.path), task, _Failed()))
    title = "Models compared: classification on studies" + (f", by {by}" if by else "")
    return next(view for view in summary.views if view.title == title)


def test_two_vendors_and_a_model_stand_in_one_table(clinic: Clinic) -> None:
    peer = pytest.importorskip("sklearn.metrics")
    run = clinic.run()
    for model, column in (("vendor-a", "a"), ("vendor-b", "b"), ("ours", "hint")):
        scores = clinic.scores[column]
        found = row(run, model, "case_auroc")
        assert found["value"] == pytest.approx(peer.roc_auc_score(clinic.labels, scores))
        assert found["method"] == "delong"
        assert row(run, model, "case_average_precision")["value"] == pytest.approx(
            peer.average_precision_score(clinic.labels, scores)
        )
    called = clinic.scores["a"] >= 0.5
    found = row(run, "vendor-a", "case_sensitivity")
    hits = int((called & (clinic.labels == 1)).sum())
    assert (found["value"], found["n"], found["method"]) == (hits / 40, 40, "exact")
    assert (found["low"], found["high"]) == pytest.approx(clopper_pearson(hits, 40))
    ours = clinic.scores["hint"] >= 0.4
    assert row(run, "ours", "case_specificity")["value"] == pytest.approx((~ours[clinic.labels == 0]).mean())


def test_sensitivity_at_matched_specificity_with_paired_tests(clinic: Clinic) -> None:
    peer = pytest.importorskip("sklearn.metrics")
    table = compared(clinic.run())
    lines = {line["model"]: line for line in table.rows}
    for model, column in (("vendor-a", "a"), ("vendor-b", "b")):
        false, true, thresholds = peer.roc_curve(
            clinic.labels, clinic.scores[column], drop_intermediate=False
        )
        fits = 1 - false >= 0.9
        assert lines[model]["sensitivity"]["value"] == pytest.approx(true[fits].max())
        assert lines[model]["threshold"] == pytest.approx(thresholds[fits].min())
        assert lines[model]["specificity"]["value"] >= 0.9
    positive = clinic.labels == 1
    first, second = (
        clinic.scores[c][positive] >= lines[m]["threshold"] for c, m in (("a", "vendor-a"), ("b", "vendor-b"))
    )
    discordant = int((first & ~second).sum()), int((~first & second).sum())
    expected = scipy.stats.binomtest(discordant[0], sum(discordant)).pvalue
    assert lines["vendor-b"]["p_sensitivity"] in (
        pytest.approx(expected),
        pytest.approx(min(1, 2 * expected)),
    )
    alone = auc_test(clinic.scores["b"], clinic.scores["a"], clinic.labels).p
    assert lines["vendor-b"]["p_auroc"] in (pytest.approx(alone), pytest.approx(2 * alone))
    assert lines["vendor-a"]["p_auroc"] is None
    assert "Holm" in table.note


def test_the_same_by_subgroup(clinic: Clinic) -> None:
    run = clinic.run()
    table = compared(run, "site")
    assert [(line["group"], line["model"]) for line in table.rows] == [
        (site, model) for site in ("north", "south") for model in ("vendor-a", "vendor-b", "ours")
    ]
    assert {line["positives"] for line in table.rows} == {20}
    overall = {line["model"]: line["threshold"] for line in compared(run).rows}
    assert all(line["threshold"] == overall[line["model"]] for line in table.rows)
    assert row(run, "vendor-a", "case_auroc", site="north")["n"] == 80


def test_the_report_shows_alerts_calibration_and_roc(clinic: Clinic) -> None:
    page = (clinic.run(report=True).path / "report.html").read_text()
    for words in (
        "alerts per 100 studies",
        "net benefit at 0.1",
        "Calibration on studies",
        "ROC on studies",
        "prevalence as stated",
    ):
        assert words in page


def test_a_vendors_own_scale_is_mapped_with_its_threshold(clinic: Clinic) -> None:
    clinic.file("percent", score=100 * clinic.scores["a"])
    models = {
        "plain": {"adapter": "scores", "file": "a.csv", "threshold": 0.5},
        "percent": {"adapter": "scores", "file": "percent.csv", "threshold": 50, "range": [0, 100]},
    }
    run = clinic.run(models=models)
    for metric in ("case_auroc", "case_sensitivity", "case_brier"):
        assert row(run, "percent", metric)["value"] == pytest.approx(row(run, "plain", metric)["value"])


def test_short_names_mean_studies_here(clinic: Clinic) -> None:
    suite = Suite.from_dict(
        clinic.suite(metrics=["auroc", "specificity", "sensitivity@0.95"]), base=clinic.folder
    )
    assert suite.tasks[0].metrics == ("case_auroc", "case_specificity", "case_sensitivity@0.95")


def test_studies_of_one_patient_are_clusters(clinic: Clinic) -> None:
    columns = {"hint": clinic.scores["hint"], "name": clinic.ids, "site": clinic.sites}
    clinic.file("studies", patient_id=[f"p{n // 4}" for n in range(160)], y_true=clinic.labels, **columns)
    run = clinic.run()
    assert row(run, "vendor-a", "case_auroc")["method"] == "delong, clustered"
    assert row(run, "vendor-a", "case_specificity")["method"] == "exact, clustered"
    assert row(run, "vendor-a", "case_auroc")["patients"] == 40


def test_a_class_without_positives_is_stated(clinic: Clinic) -> None:
    clinic.labels[:] = 0
    clinic.file(
        "studies",
        patient_id=clinic.ids,
        y_true=clinic.labels,
        hint=clinic.scores["hint"],
        name=clinic.ids,
        site=clinic.sites,
    )
    clinic.file("a", score=clinic.scores["a"])
    run = clinic.run(models={"vendor-a": {"adapter": "scores", "file": "a.csv"}})
    found = row(run, "vendor-a", "case_auroc")
    assert (found["value"], found["note"]) == (None, "AUROC undefined: no positive study")
    assert row(run, "vendor-a", "case_sensitivity")["value"] is None
    assert row(run, "vendor-a", "case_specificity")["value"] is not None


def test_a_study_without_a_score_counts_as_the_wrong_end(clinic: Clinic) -> None:
    clinic.file("short", clinic.ids[1:], score=clinic.scores["a"][1:])
    run = clinic.run(models={"vendor-a": {"adapter": "scores", "file": "short.csv"}})
    filled = clinic.scores["a"].copy()
    filled[0] = 0.0  # the first study is positive
    peer = pytest.importorskip("sklearn.metrics")
    found = row(run, "vendor-a", "case_auroc")
    assert found["value"] == pytest.approx(peer.roc_auc_score(clinic.labels, filled))
    assert found["failed"] == {"model_failed": 1}


def test_a_model_that_raises_or_answers_off_the_scale_fails_that_study(clinic: Clinic) -> None:
    run = clinic.run(models={"ours": {"adapter": "ours.py:Ours", "fails": "s000"}})
    assert row(run, "ours", "case_auroc")["failed"] == {"model_failed": 1}
    run = clinic.run(models={"ours": {"adapter": "ours.py:Ours", "answers": 3.0}}, out="off")
    assert row(run, "ours", "case_auroc")["failed"] == {"model_failed": 160}
    assert "outside [0, 1]" in run.records()["error"].iloc[0]


@pytest.mark.parametrize(
    ("scores", "ids", "told"),
    [
        ([3.5] * 160, None, r"row 1 has score 3.5, outside \[0, 1\].*`range"),
        ([0.5] * 160, ["s000"] * 160, "'s000' occurs more than once; again in row 2"),
    ],
)
def test_a_file_that_cannot_be_right_is_told_before_any_work(
    clinic: Clinic, scores: list, ids: Any, told: str
) -> None:
    clinic.file("bad", ids, score=scores)
    with pytest.raises((DatasetError, RunError, PluginError), match=told):
        clinic.run(models={"bad": {"adapter": "scores", "file": "bad.csv"}})


def test_a_missing_column_is_told(clinic: Clinic) -> None:
    clinic.file("bad", probability=clinic.scores["a"])
    with pytest.raises(DatasetError, match="no column 'score'"):
        clinic.run(models={"bad": {"adapter": "scores", "file": "bad.csv"}})


def test_labels_that_contradict_the_dataset_are_the_datas_fault(clinic: Clinic) -> None:
    clinic.file("other", y_true=1 - clinic.labels, score=clinic.scores["a"])
    run = clinic.run(models={"vendor": {"adapter": "scores", "file": "other.csv"}})
    assert set(run.records()["status"]) == {"data_error"}
    assert "the dataset says" in run.records()["error"].iloc[0]


def test_duplicated_case_ids_in_the_dataset_are_told(clinic: Clinic) -> None:
    clinic.file(
        "studies",
        ["s000"] * 160,
        patient_id=clinic.ids,
        y_true=clinic.labels,
        hint=clinic.labels,
        name=clinic.ids,
        site=clinic.sites,
    )
    with pytest.raises(DatasetError, match="occurs more than once"):
        clinic.run()


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ({"prevalence": 1.5}, "prevalence"), ({"matched_specificity": 0}, "matched_specificity"),
        ({"metrics": ["dice"]}, "measures MaskPair"), ({"net_benefit_at": [1.0]}, "threshold probability"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_told(clinic: Clinic, task: dict[str, Any], told: str) -> None:
    with pytest.raises(SuiteError, match=told):
        Suite.from_dict(clinic.suite(**task), base=clinic.folder)


def test_triage_has_a_cost_matrix(clinic: Clinic) -> None:
    levels, rng = ("routine", "urgent", "stat"), np.random.default_rng(0)
    truth, given = rng.integers(0, 3, 160), rng.integers(0, 3, 160)
    clinic.file("triage", patient_id=clinic.ids, level=[levels[at] for at in truth])
    clinic.file("given", score=[levels[at] for at in given])
    costs = [[0, 1, 2], [5, 0, 1], [20, 8, 0]]
    suite = {
        "name": "triage",
        "datasets": {"d": {"format": "table", "file": "triage.csv", "id": "case_id", "patient": "patient_id", "reference": {"level": "level"}}},
        "models": {"vendor": {"adapter": "scores", "file": "given.csv"}},
        "tasks": [{"task": "triage", "levels": list(levels), "costs": costs}],
    }  # fmt: skip
    run = medeval.run(
        Suite.from_dict(suite, base=clinic.folder), clinic.folder / "run", options=RunOptions(report=False)
    )
    assert row(run, "vendor", "triage_cost")["value"] == pytest.approx(np.array(costs)[truth, given].mean())
    assert row(run, "vendor", "undertriage")["value"] == pytest.approx((given < truth).mean())
    assert row(run, "vendor", "triage_cost")["low"] is not None


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ([[0, 1]], "2 rows of 2"),
        ([[1, 1], [1, 0]], "0 on the diagonal"),
        ([[0, -1], [1, 0]], "never negative"),
    ],
)
def test_a_cost_matrix_that_makes_no_sense_is_told(clinic: Clinic, costs: list, told: str) -> None:
    suite = clinic.suite()
    suite["tasks"] = [{"task": "triage", "levels": ["routine", "stat"], "costs": costs}]
    with pytest.raises(SuiteError, match=told):
        Suite.from_dict(suite, base=clinic.folder)


def test_a_label_that_one_file_holds_as_a_fraction_is_the_same_label(clinic: Clinic) -> None:
    clinic.file("floats", y_true=[f"{label}.0" for label in clinic.labels], score=clinic.scores["a"])
    run = clinic.run(models={"vendor": {"adapter": "scores", "file": "floats.csv"}})
    assert set(run.records()["status"]) == {"ok"}


def test_studies_of_no_known_site_are_shown_and_not_tested(clinic: Clinic) -> None:
    sites = ["" if number % 10 == 0 else site for number, site in enumerate(clinic.sites)]
    columns = {"hint": clinic.scores["hint"], "name": clinic.ids, "site": sites}
    clinic.file("studies", patient_id=[f"p{n}" for n in range(160)], y_true=clinic.labels, **columns)
    table = compared(clinic.run(), "site")
    groups = {line["group"] for line in table.rows}
    assert groups == {"north", "south", "(missing)"}
    untold = [line for line in table.rows if line["group"] == "(missing)"]
    assert all(line["p_auroc"] is None and line["p_sensitivity"] is None for line in untold)
    assert any(line["p_auroc"] is not None for line in table.rows)
    assert "16 studies have no site: shown as (missing), not tested" in table.note


def test_models_with_no_study_in_common_are_told(clinic: Clinic) -> None:
    half = {"a": slice(0, 80), "b": slice(80, 160)}
    for vendor, part in half.items():
        scores = [s if n in range(160)[part] else "" for n, s in enumerate(clinic.scores[vendor])]
        clinic.file(vendor, y_true=clinic.labels, score=scores)
    models = {f"vendor-{v}": {"adapter": "scores", "file": f"{v}.csv", "threshold": 0.5} for v in half}
    run = clinic.run(models=models, on_failure="exclude")
    for table in (compared(run), compared(run, "site")):
        assert table.rows == []
        assert "no study in common" in table.note


def test_the_number_of_exchanges_is_that_of_a_corpus_metric_too(clinic: Clinic) -> None:
    """A p is (1 + hits) / (1 + exchanges): its smallest value tells how many were drawn."""
    from medeval.decisions.compare import compare
    from medeval.decisions.evidence import RunEvidence

    evidence = RunEvidence.open(clinic.run().path)
    chosen = {"models": ["vendor-a", "vendor-b"], "metrics": ["case_auroc"]}
    [few], [many] = (compare([evidence], exchanges=n, **chosen).rows for n in (19, 199))
    assert few.p * 20 == pytest.approx(round(few.p * 20))
    assert many.p * 200 == pytest.approx(round(many.p * 200))
    assert many.p < 0.05 <= few.p
