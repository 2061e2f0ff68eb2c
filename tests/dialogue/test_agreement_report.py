"""Agreement between judges and people as a whole: pairs, ceilings, panels, intervals, and what is told of each."""

import json

import numpy as np
import pytest

from medeval.dialogue.agreement import DIALOGUES, MEAN, POOLED, Ratings, Setting, compare_all
from medeval.dialogue.agreement_models import by_model
from medeval.dialogue.agreement_run import corrected_means
from medeval.dialogue.agreement_sheets import Mark
from medeval.dialogue.agreement_views import AgreementReport
from medeval.metrics.agreement import Ratings as Table
from medeval.metrics.agreement import cohen_kappa, gwet
from medeval.report import plain_table
from medeval.types import UserError

BINARY = {"1": (0, 1), "2": (0, 1)}


def marks(noise, dialogues=80, items=("1", "2"), patients=1, lenient=0.0, seed=0):
    """Raters who differ from a truth by chance; ``lenient`` lifts the judge's zeros to ones."""
    generator = np.random.default_rng(seed)
    found = []
    for d in range(dialogues):
        for item in items:
            truth = int(generator.integers(0, 2))
            for rater, share in noise.items():
                score = truth if generator.random() >= share else 1 - truth
                if rater == "judge" and score == 0 and generator.random() < lenient:
                    score = 1
                found.append(Mark(f"d{d:03d}", item, rater, float(score), patient=f"p{d // patients}"))
    return found


def compared(given, judges=("judge",), scales=BINARY, samples=None, **options):
    ratings = Ratings(given, Setting(scales, **{"count": 400, **options}))
    rows = compare_all(ratings, judges, samples)
    return {(row.judge or row.kind, row.item): row for row in rows}, AgreementReport(ratings, rows)


def test_a_pair_of_raters_has_the_librarys_values_item_by_item():
    given = marks({"judge": 0.2, "A": 0.1})
    rows, _ = compared(given)
    scores = {(m.rater, m.dialogue): m.score for m in given if m.item == "1"}
    table = Table.of([[scores["judge", f"d{d:03d}"], scores["A", f"d{d:03d}"]] for d in range(80)], (0, 1))
    figures = rows["judge", "1"].figures
    assert figures["kappa"].value == pytest.approx(cohen_kappa(table).value, abs=1e-12)
    assert figures["ac"].value == pytest.approx(gwet(table).value, abs=1e-12)
    assert figures["kappa"].low < figures["kappa"].value < figures["kappa"].high


def test_several_people_count_as_pairs_by_what_they_share():
    given = [m for m in marks({"judge": 0.2, "A": 0.1, "B": 0.1}) if m.rater != "B" or m.dialogue < "d020"]
    rows, _ = compared(given)
    assert (rows["judge", "1"].pairs, rows["judge", "1"].units) == (2, 100)
    assert (rows["people", "1"].pairs, rows["people", "1"].units) == (1, 20)
    alone = [
        compared([m for m in given if m.rater in ("judge", who)])[0]["judge", "1"].figures["icc"].value
        for who in "AB"
    ]
    assert rows["judge", "1"].figures["icc"].value == pytest.approx((80 * alone[0] + 20 * alone[1]) / 100)


def test_a_lenient_judge_shows_in_the_bias_and_people_mend_its_mean():
    given = marks({"judge": 0.05, "A": 0.0}, dialogues=200, lenient=0.4)
    labelled = [m for m in given if m.rater == "judge" or m.dialogue < "d100"]
    rows, _ = compared(labelled)
    assert rows["judge", MEAN].figures["bias"].low > 0.1
    truth = np.mean([m.score for m in given if m.rater == "A" and m.item == "1"])
    mended = next(row for row in corrected_means(labelled, ["judge"], 400) if row.item == "1")
    assert (mended.n, mended.labelled) == (200, 100)
    assert mended.mean > truth + 0.1
    assert abs(mended.corrected - truth) < 0.05
    assert mended.low < truth < mended.high


def test_the_ceiling_is_what_people_reach_and_unknown_with_one_of_them():
    _, one = compared(marks({"judge": 0.1, "A": 0.1}))
    assert {row["verdict"] for row in one.verdicts()} == {"ceiling unknown"}
    _, good = compared(marks({"judge": 0.1, "A": 0.1, "B": 0.1}))
    assert {"item": MEAN, "judge": "judge", "verdict": "within the people's range"} in good.verdicts()
    _, bad = compared(marks({"judge": 0.45, "A": 0.02, "B": 0.02}))
    assert {row["verdict"] for row in bad.verdicts()} == {"below the people's range"}


def test_intervals_resample_patients_and_not_ratings():
    given = marks({"judge": 0.2, "A": 0.2}, dialogues=60)
    ten_each = [
        Mark(f"{m.dialogue}-{k}", m.item, m.rater, m.score, patient=m.patient)
        for m in given
        for k in range(10)
    ]
    plain, repeated = compared(given)[0]["judge", POOLED], compared(ten_each)[0]["judge", POOLED]
    assert (plain.patients, repeated.patients, repeated.units) == (60, 60, 10 * plain.units)
    widths = [one.figures["kappa"].high - one.figures["kappa"].low for one in (plain, repeated)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_an_undefined_coefficient_says_why_and_one_patient_has_no_interval():
    given = [Mark(f"d{d}", "1", who, 1.0) for d in range(9) for who in ("judge", "A")]
    rows, _ = compared(given)
    figures = rows["judge", "1"].figures
    assert figures["agreement"].value == 1
    assert (figures["kappa"].value, figures["kappa"].rule) == (None, "only one value occurs")
    alone = [Mark(f"d{d}", "1", who, float(d % 2), patient="p") for d in range(9) for who in ("judge", "A")]
    figure = compared(alone)[0]["judge", "1"].figures["kappa"]
    assert (figure.value, figure.low, figure.rule) == (1, None, "one patient: no interval")


def test_resamples_without_a_value_are_counted():
    given = [Mark(f"d{d}", "1", who, float(d == 0)) for d in range(12) for who in ("judge", "A")]
    figure = compared(given)[0]["judge", "1"].figures["kappa"]
    assert 0.2 < figure.undefined < 0.5
    assert figure.low == figure.high == 1


def test_a_judges_samples_are_compared_with_people_and_with_each_other():
    given = marks({"A": 0.1, "j / sample 1": 0.1, "j / sample 2": 0.1})
    given += [Mark(m.dialogue, m.item, "j", 0.5, patient=m.patient) for m in given if m.rater == "A"]
    rows, _ = compared(given, ["j"], samples={"j": ["j / sample 1", "j / sample 2"]})
    assert rows["j", "1"].pairs == 2
    assert rows["j", "1"].figures["kappa"].value is not None
    assert rows["judge again", "1"].pairs == 1
    assert not any(kind == "people" for kind, _ in rows)


def test_a_panel_is_compared_with_people_and_not_with_its_members():
    given = marks({"A": 0.1, "judge 1": 0.1, "judge 2": 0.1, "panel": 0.1})
    rows, report = compared(given, ["judge 1", "judge 2", "panel"])
    assert rows["judges", "1"].pairs == 1
    assert {judge for judge, _ in rows} == {"judge 1", "judge 2", "panel", "judges"}
    text = plain_table(report.tables()[0])
    assert "judge 1:" in text
    assert "panel overall:" in text


def test_items_of_other_scales_are_averaged_in_their_own_units_and_never_pooled():
    scales = {"1": (0, 1), "9": tuple(range(1, 10))}
    given = [
        Mark(f"d{d}", item, who, float(score))
        for d in range(30)
        for who in ("judge", "A")
        for item, score in (("1", d % 2), ("9", 1 + 8 * (d % 2)))
    ]
    rows, _ = compared(given, scales=scales)
    assert ("judge", POOLED) not in rows
    assert rows["judge", DIALOGUES].figures["icc"].value == pytest.approx(1)
    assert rows["judge", DIALOGUES].figures["bias"].value == 0


def test_a_score_outside_of_its_scale_is_told_with_who_gave_it():
    with pytest.raises(
        UserError, match=r"item '1', dialogue 'd000', rater 'A': score 7 is not on the scale 0, 1"
    ):
        compared([Mark("d000", "1", "A", 7.0), Mark("d000", "1", "B", 1.0)], [])


def test_the_report_is_plain_data_too():
    _, report = compared(marks({"judge": 0.1, "A": 0.1, "B": 0.1}, dialogues=20))
    plain = json.loads(report.to_json())
    assert {row["coefficient"] for row in plain["agreement"]} >= {"kappa", "alpha", "ac", "icc", "bias"}
    lines = report.to_csv().splitlines()
    assert len(lines) == 1 + len(plain["agreement"])
    assert lines[0].startswith("comparison,judge,item")


def test_a_judge_that_favours_a_model_shows_it_there_and_turns_their_order():
    given = marks({"A": 0.0, "judge": 0.0}, dialogues=120, seed=2)
    model_of = {m.dialogue: "own" if m.dialogue < "d060" else "other" for m in given}
    tilted = [
        Mark(m.dialogue, m.item, m.rater, 1.0 if m.rater == "judge" and model_of[m.dialogue] == "own" else m.score, patient=m.patient)
        for m in given
    ]  # fmt: skip
    rows, ranks = by_model(Ratings(tilted, Setting(BINARY, count=300)), ["judge"], ["A"], model_of)
    found = {row.model: row for row in rows}
    assert found["other"].bias == found["other"].low == found["other"].high == 0
    assert found["own"].low > 0.3
    assert (found["own"].judged, found["own"].dialogues) == (1, 60)
    assert (ranks[0].models, abs(ranks[0].tau)) == (2, 1)
