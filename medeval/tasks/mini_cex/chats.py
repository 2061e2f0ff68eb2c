"""The dialogues that a report shows beside their rubric: a sample that says what it is, never all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medeval.dialogue.guards import KINDS
from medeval.dialogue.rubric import CriteriaRubric
from medeval.tasks.mini_cex.records import TOP_1, TOP_3, TOTAL
from medeval.tasks.summary import CellEvidence
from medeval.types.views import Dialogues, RatedDialogue, RatedItem, RatedTurn

if TYPE_CHECKING:
    from medeval.tasks.mini_cex.task import MiniCex

MOST = 48  # dialogues of a task in a report
MOST_VIOLATIONS = 2  # dialogues with a violation of the simulator's, a model
MOST_TEXT = 4000  # characters of a turn
_RANKS = (
    "violation",
    "failed judge",
    "worst",
    "best",
    "median",
)  # who gives way last when there are too many


def picked(task: MiniCex, cell: CellEvidence) -> list[RatedDialogue]:
    """Worst, median and best dialogue by total, and those in which patient or judge did wrong."""
    frame = cell.frame
    talks = frame[(frame["structure"] == TOTAL) & frame["transcript"].notna()]
    chosen: dict[Any, list[str]] = {}
    for tag, at in _choice(talks):
        chosen.setdefault(at, []).append(tag)
    return [_dialogue(task, cell, talks.loc[at], tags) for at, tags in chosen.items()]


def _choice(talks: Any) -> Iterator[tuple[str, Any]]:
    scored = talks[talks["rubric"].notna()].sort_values(["rubric", "case", "sample"], kind="stable").index
    if len(scored):
        yield "worst", scored[0]
        yield "median", scored[len(scored) // 2]
        yield "best", scored[-1]
    wrong = talks[(talks[list(KINDS)].fillna(0) > 0).any(axis=1)]
    yield from (("violation", at) for at in wrong.index[:MOST_VIOLATIONS])
    yield from (
        ("failed judge", at) for at in talks.index[talks["rubric"].isna() & talks["error"].notna()][:1]
    )


def dialogues_view(task: MiniCex, talks: Sequence[RatedDialogue], held: int) -> Dialogues:
    """At most ``MOST`` of them, every model's turn in the order of ``_RANKS``; the note says how many there are."""
    order = sorted(range(len(talks)), key=lambda at: (_RANKS.index(_first_rank(talks[at])), at))
    kept = [talks[at] for at in sorted(order[:MOST])]
    note = (
        f"{len(kept)} of {held} dialogues: of each model the worst, the median and the best by total, and some in which "
        "the simulated patient or a judge failed. The records hold all. Numbers behind a speaker are turns; "
        "chips name the items that a judge rests on this turn."
    )
    return Dialogues(f"Dialogues of {task.label}", kept, note)


def _first_rank(talk: RatedDialogue) -> str:
    return next(rank for rank in _RANKS if rank in talk.tags)


def _dialogue(task: MiniCex, cell: CellEvidence, total: Any, ranks: Sequence[str]) -> RatedDialogue:
    frame = cell.frame
    keys = [("case", total["case"]), ("sample", total["sample"]), ("seed", total["seed"])]
    for name, value in keys:
        frame = frame[frame[name] == value]
    items = frame[~frame["structure"].isin([TOTAL, TOP_1, TOP_3]) & frame["judges"].notna()]
    found: list[list[Any]] = json.loads(_text(total["violations"]) or "[]")
    model = " ".join(filter(None, [cell.model, cell.arm]))
    kinds = dict.fromkeys(kind.replace("_", " ") for _, kind, _ in found)
    return RatedDialogue(
        f"{model}: {total['case']}, sample {total['sample']}", _turns(total, found),
        [_item(task, row) for row in items.to_dict("records")],
        list(dict.fromkeys([f"model {model}", f"dataset {cell.dataset}", *ranks, *kinds])),
        list(_facts(total)),
    )  # fmt: skip


def _turns(total: Any, found: Sequence[Sequence[Any]]) -> list[RatedTurn]:
    marks: dict[int, list[str]] = {}
    for turn, kind, what in found:
        marks.setdefault(turn, []).append(f"{kind.replace('_', ' ')}: {what}")
    return [
        RatedTurn(number, speaker, _short(text) or "(no words)", marks.get(number, ()))
        for number, speaker, text in json.loads(total["transcript"])
    ]


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} [{len(text) - MOST_TEXT} more characters]"


def _facts(total: Any) -> Iterator[tuple[str, str]]:
    score = total["rubric"]
    yield "total", f"{score:.3f}" if score == score and score is not None else "missing"
    named = json.loads(_text(total["verdicts"]) or "[]")
    yield "diagnoses", "; ".join(f"{e['answer']} ({e['verdict']}, by {e['by']})" for e in named) or "none"
    yield "ended by", str(total["stop"]).replace("_", " ")


def _item(task: MiniCex, row: Any) -> RatedItem:
    name, score = row["structure"], row["rubric"]
    there = score is not None and score == score
    title, group = _named(task, name)
    return RatedItem(
        name, title, f"{score:.2f}" if there else "error" if _text(row["error"]) else "n/a",
        ("good" if score >= 0.75 else "middle" if score >= 0.4 else "bad") if there else "", group, _note(row, there),
        [(piece["turn"], piece["quote"], piece["found"]) for piece in json.loads(_text(row["evidence"]) or "[]")],
    )  # fmt: skip


def _named(task: MiniCex, name: str) -> tuple[str, str]:
    rubric = task.loaded
    if isinstance(rubric, CriteriaRubric):
        return next((c.text for c in rubric.criteria if c.id == name), name), ""
    item = rubric.by_id[name]
    return item.title, {d.id: d.title or d.id for d in rubric.dimensions}.get(item.dimension, item.dimension)


def _note(row: Any, there: bool) -> str:
    """Why there is no score, and each judge's own where several rated."""
    parts = [] if there else [_text(row["error"]) or _text(row["rubric.rule"])]
    ratings = json.loads(_text(row["judges"]) or "[]")
    if len(ratings) > 1:
        parts += [f"{r['judge']}: {_given(r)}" for r in ratings]
    return "; ".join(filter(None, parts))


def _text(value: Any) -> str:
    """A record's text; what is missing (None, or NaN once in a frame) is none."""
    return value if isinstance(value, str) else ""


def _given(rating: Mapping[str, Any]) -> str:
    return f"{rating['score']:g}" if "score" in rating else "n/a" if rating.get("na") else "error"
