"""Runs (or dialogues from elsewhere) and people's sheets, put before ``medeval.dialogue``'s agreement and annotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medeval.dialogue.agreement import Ratings, Setting, compare_all
from medeval.dialogue.agreement_models import by_model
from medeval.dialogue.agreement_run import (
    Held,
    check_frame,
    corrected_means,
    dialogues,
    fidelity,
    judge_marks,
    patient_again,
)
from medeval.dialogue.agreement_sheets import Mark, read_sheet, template_text
from medeval.dialogue.agreement_views import AgreementReport
from medeval.dialogue.annotation import Annotation, Book, Work, kept, rater_name
from medeval.dialogue.cases import PatientCase, load_cases
from medeval.dialogue.dataset import CASE
from medeval.dialogue.finished import FinishedDialogues
from medeval.dialogue.rubric import SCALES, CriteriaRubric, ItemRubric, load_rubric
from medeval.dialogue.turns import Turn
from medeval.metrics.agreement import Weighting
from medeval.plugins import build, resolve
from medeval.runs import Run
from medeval.runs.place import place_of
from medeval.types.errors import RunError, UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

AnyRubric = ItemRubric | CriteriaRubric


@dataclass(frozen=True)
class Options:
    """Options of ``medeval agreement``.

    judges: names of raters in the sheets that are judges, beside those of the run. rubric: where scales come from; default:
    the run's. scale: values of every item where no rubric says them.
    """

    judges: tuple[str, ...] = ()
    rubric: str = ""
    scale: tuple[float, ...] = ()
    weighting: Weighting = "quadratic"
    count: int = 2000
    seed: int = 0


def agreement(
    sheets: Sequence[Path], run: Path | None = None, options: Options | None = None
) -> AgreementReport:
    """Judges against people, people against each other, and the simulator's conduct.

    Without a run the sheets hold all raters. With one, its judges are raters too, and it is measured how steady judge and
    patient are. Raises ``UserError`` for sheets that do not hold or share nothing with the run.
    """
    asked = options or Options()
    marks = [mark for path in sheets for mark in read_sheet(path, path.stem)]
    _each_once(marks, sheets)
    known, samples = set(asked.judges), dict[str, list[str]]()
    frame = None
    notes: list[str] = []
    if run is not None:
        frame = _frame(run)
        own, samples = judge_marks(frame)
        marks, notes = _joined(marks, own, run)
        known |= set(samples)
    if not marks:
        raise UserError("nothing to compare: give at least one sheet, or --run with a run of dialogues")
    _check_judges(asked.judges, marks)
    ratings = Ratings(marks, Setting(_scales(asked, run, marks), asked.weighting, asked.count, asked.seed))
    judges = sorted(known)
    single = {name for names in samples.values() for name in names}
    people = sorted({mark.rater for mark in marks} - known - single)
    models = {} if frame is None else {held.id: held.model for held in dialogues(frame)}
    mine, ranks = by_model(ratings, judges, people, models) if models else ([], [])
    compared = compare_all(ratings, judges, samples)
    if not compared and run is None:
        raters = ", ".join(sorted({mark.rater for mark in marks}))
        raise UserError(f"nothing to compare: no two raters rate one item of one dialogue (raters: {raters})")
    return AgreementReport(
        ratings,
        compared,
        corrected_means(marks, judges, asked.count, asked.seed),
        mine,
        ranks,
        () if frame is None else patient_again(frame, asked.count, asked.seed),
        () if frame is None else fidelity(frame, asked.count, asked.seed),
        notes,
    )


def template(run: Path, rater: str, rubric: str = "") -> str:
    """An empty sheet of a run's dialogues and items, to be filled in by hand beside ``medeval annotate``'s order."""
    frame = _frame(run)
    wanted = _rubric(rubric, run)
    parts = wanted.items if isinstance(wanted, ItemRubric) else wanted.criteria
    return template_text(
        [held.id for held in dialogues(frame)], [part.id for part in parts], rater_name(rater)
    )


def annotation(
    source: Path,
    rater: str,
    *,
    rubric: str = "",
    out: Path | None = None,
    cases: Path | None = None,
    port: int = 0,
) -> Annotation:
    """The page on which a rater rates the dialogues of a run folder or of a JSON lines file.

    out: folder of the answers; default ``annotations`` in the run, or beside the file. cases: patient cases whose diagnosis
    and plan are shown with the items that need them; a run's own are found by themselves. The page calls dialogues by
    tokens; ``key.json`` beside the answers leads back. Raises ``UserError``.
    """
    rater_name(rater)
    if source.is_dir() or isinstance(place_of(source), str):
        held = dialogues(_frame(source))
        turns: dict[str, Sequence[Turn]] = {one.id: one.turns for one in held}
        told = (
            _told_by_run(source, held)
            if cases is None
            else _told_by_file(cases, {one.id: one.case for one in held})
        )
        chosen, folder = _rubric(rubric, source), out or Run.open(source).beside("annotations")
    else:
        found = FinishedDialogues(file=source).dialogues
        turns = {f"{case}/{sample}": dialogue.turns for (case, sample), dialogue in found.items()}
        told = (
            {}
            if cases is None
            else _told_by_file(cases, {f"{case}/{sample}": case for case, sample in found})
        )
        chosen, folder = load_rubric(rubric or "mini-cex-llm"), source.parent / f"{source.stem}-annotations"
    work, answers = Work(rater, chosen, turns, told), out or folder
    book = Book(answers / f"{rater}.jsonl", rater)
    try:
        return Annotation(replace(work, tokens=kept(answers, turns)), book, port)
    except BaseException:
        book.close()  # else nobody could open it again before this process ends
        raise


def _frame(run: Path) -> pd.DataFrame:
    frame = Run.open(run).records()
    check_frame(frame, str(run))
    return frame


def _each_once(marks: Sequence[Mark], sheets: Sequence[Path]) -> None:
    """Two sheets that rate the same by the same rater would silently weigh one of them."""
    seen: set[tuple[str, str, str]] = set()
    for mark in marks:
        key = mark.dialogue, mark.item, mark.rater
        if key in seen:
            raise UserError(f"rater {mark.rater!r} rates item {mark.item!r} of dialogue {mark.dialogue!r} in two sheets: "
                            f"{', '.join(map(str, sheets))}")  # fmt: skip
        seen.add(key)


def _joined(marks: Sequence[Mark], own: Sequence[Mark], run: Path) -> tuple[list[Mark], list[str]]:
    """People's marks with the run's patients, and the judges'. Raises where both share no dialogue or no item."""
    patients = {mark.dialogue: mark.patient for mark in own}
    items = {mark.item for mark in own}
    fitting = [mark for mark in marks if mark.dialogue in patients and mark.item in items]
    if marks and not fitting:
        dialogue = next((m.dialogue for m in marks if m.dialogue not in patients), "")
        if dialogue:
            raise RunError(f"the sheets rate none of the dialogues of {run}: {dialogue!r} is not there; its {len(patients)} "
                           f"dialogues are named like {min(patients)!r} (`medeval agreement --template {run}`)")  # fmt: skip
        raise RunError(f"the sheets rate no item of {run}: {nearest(marks[0].item, items)}")
    left = len(marks) - len(fitting)
    notes = [f"{left} ratings of dialogues or items that the run has not, left out"] if left else []
    taken = {rater for rater in {mark.rater for mark in own} if rater in {mark.rater for mark in marks}}
    if taken:
        raise UserError(f"rater {min(taken)!r} of the sheets has the name of a judge of {run}; rename it")
    return [*(replace(mark, patient=patients[mark.dialogue]) for mark in fitting), *own], notes


def _check_judges(judges: Sequence[str], marks: Sequence[Mark]) -> None:
    raters = {mark.rater for mark in marks}
    for judge in judges:
        if judge not in raters:
            raise UserError(f"--judge {judge!r}: no sheet has this rater; {nearest(judge, raters)}")


def _scales(asked: Options, run: Path | None, marks: Sequence[Mark]) -> Mapping[str, Sequence[float]]:
    """item -> declared values: the rubric's, else the one scale that was given for all."""
    if asked.rubric or run is not None:
        rubric = _rubric(asked.rubric, run)
        if isinstance(rubric, ItemRubric):
            return {item.id: item.scale.values for item in rubric.items}
        return {mark.item: SCALES["binary"].values for mark in marks}
    return {mark.item: asked.scale for mark in marks} if asked.scale else {}


def _rubric(name: str, run: Path | None) -> AnyRubric:
    """The named rubric, else that of the run's task."""
    if name or run is None:
        return load_rubric(name or "mini-cex-llm")
    found = [task.loaded for task in Run.open(run).suite().tasks if hasattr(task, "loaded")]
    names = list(dict.fromkeys(rubric.name for rubric in found))
    if len(names) != 1:
        raise UserError(
            f"{run}: its tasks have {len(names)} rubrics ({', '.join(names) or 'none'}); name one with --rubric"
        )
    return found[0]


def _told_by_run(run: Path, held: Sequence[Held]) -> dict[str, str]:
    """dialogue -> what is true of its case, from the suite's own datasets."""
    cases: dict[str, PatientCase] = {}
    suite = Run.open(run).suite()
    for spec in suite.dataset_specs.values():
        dataset = build(resolve("medeval.datasets", spec.reference, suite.base), spec.options, suite.base)
        for case_id in dataset.index.ids:
            case = dataset.read(case_id, ("reference",)).reference.get(CASE)
            cases |= {case_id: case} if isinstance(case, PatientCase) else {}
    return {one.id: case_line(cases[one.case]) for one in held if one.case in cases}


def _told_by_file(path: Path, of: Mapping[str, str]) -> dict[str, str]:
    cases = {case.id: case for case in load_cases(path)}
    return {dialogue: case_line(cases[case]) for dialogue, case in of.items() if case in cases}


def case_line(case: PatientCase) -> str:
    """What a rater may know of a case beside items that need it."""
    parts: list[tuple[str, Any]] = [
        ("diagnosis", case.diagnosis.names),
        ("accepted", case.diagnosis.accepted),
        ("tests", case.plan.tests),
        ("treatment", case.plan.treatment),
        ("red flags", case.red_flags),
        ("harmful", case.harms),
    ]
    return "; ".join(f"{name}: {', '.join(values).replace('|', ' or ')}" for name, values in parts if values)
