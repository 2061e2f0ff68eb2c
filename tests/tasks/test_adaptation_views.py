"""What the report tells of an adaptation: paired dots, harm, cost, curves."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from target_world import UPL  # noqa: E402

from medeval.tasks.domain_adaptation.views import Prepared, adaptation_curves, paired_dots  # noqa: E402


def test_a_report_tells_patients_harm_cost_and_curves(world):
    world.run(adaptations={"upl": UPL, "tent": {"epochs": 2}})
    report = (world.folder / "run" / "report.html").read_text()
    for title in (
        "dice before and after upl, by patient: net on test",
        "dice before and after tent, by patient: net on test",
        "Share of patients made worse in dice on test",
        "Gain in dice over the source model on test",
        "Cost of adaptation",
        "entropy during adaptation",
        "reliable_foreground during adaptation",
    ):
        assert title in report, title
    assert "Hollow circles are the values before" in report


def test_losses_against_epochs_are_curves(world):
    world.run(adaptations={"upl": UPL})
    (folder,) = [path for facts, path in world.artifacts() if facts["stages"]]
    prepared = Prepared("net", "upl", 0, folder)
    curves = {curve.y_title: curve for curve in adaptation_curves([prepared, prepared])}
    assert set(curves) == {"dice", "entropy", "reliable", "reliable_foreground"}
    (line,) = curves["dice"].series
    assert (line.name, list(line.x)) == ("upl", [1, 2])


def test_a_folder_without_facts_has_no_curves(tmp_path):
    assert adaptation_curves([Prepared("net", "upl", 0, tmp_path)]) == []


def _patient(name, before, after):
    worse = "yes" if after < before else "no"
    return {
        "model": "net", "arm": "tent", "patient": name, "before": before, "after": after, "change": after - before,
        "made worse": worse,
    }  # fmt: skip


def test_patients_made_worse_stand_first():
    rows = [_patient("a", 0.5, 0.9), _patient("b", 0.8, 0.7), _patient("c", 0.9, 0.4)]
    (plot,) = paired_dots("test", "dice", rows)
    assert [row["label"] for row in plot.rows] == ["c", "b", "a"]
    assert (plot.rows[0]["before"], plot.rows[0]["value"]) == (0.9, 0.4)
    assert plot.note == "2 of 3 patients made worse; they stand first"


def test_many_patients_are_cut_and_counted():
    (plot,) = paired_dots("test", "dice", [_patient(str(n), 0.5, 0.6) for n in range(40)])
    assert len(plot.rows) == 30
    assert "10 more in the records" in plot.note


def test_before_and_after_are_drawn():
    from medeval.report.plots import forest

    (plot,) = paired_dots("test", "dice", [_patient("a", 0.2, 0.6), _patient("b", 0.5, 0.4)])
    wide = forest(plot)["drawings"][0]
    assert all(row["before"] and row["before_line"] for row in wide["rows"])
    assert wide["left"] <= float(wide["rows"][1]["before"][1:].split()[0]) + 4 <= wide["right"]
