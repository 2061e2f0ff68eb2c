"""Several judges (or several samples of one) become one score an item; each one's rating is kept, and so is their quarrel."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medeval.dialogue.ratings import Rating, Sheet
from medeval.dialogue.rubric import CriteriaRubric, ItemRubric

Combine = Literal["mean", "median", "majority"]


@dataclass(frozen=True)
class Panelled:
    """One item's outcome.

    score: on the item's scale; None when not applicable or failed. na: most judges find it not applicable. error: too few
    valid ratings, or a tie. spread: highest minus lowest score of the judges. ratings: every judge's own.
    """

    item: str
    score: float | None
    na: bool
    error: str
    spread: float
    ratings: tuple[Rating, ...]
    reason: str = ""


def combined(
    sheets: Sequence[Sheet],
    rubric: ItemRubric | CriteriaRubric,
    how: Combine = "mean",
    min_valid: int | None = None,
) -> list[Panelled]:
    """The panel's outcome, item by item in the sheets' order.

    min_valid: ratings (a score or not applicable) that an item needs; default: two thirds of the judges, rounded up. With
    fewer the item is an error: a missing judge's score is never made up from the others' silently. majority: the value that
    more than half give; a tie is an error.
    """
    need = min_valid if min_valid is not None else -(-2 * len(sheets) // 3)
    columns = zip(*(sheet.ratings for sheet in sheets), strict=True)
    return [_one(ratings, how, need) for ratings in columns]


def _one(ratings: Sequence[Rating], how: Combine, need: int) -> Panelled:
    item = ratings[0].item
    scores = [rating.score for rating in ratings if rating.score is not None]
    absent = [rating for rating in ratings if rating.na]
    failed = [rating for rating in ratings if rating.error]
    spread = max(scores) - min(scores) if scores else 0.0
    if len(scores) + len(absent) < need or not (scores or absent):
        causes = "; ".join(dict.fromkeys(rating.error for rating in failed)) or "no rating"
        told = f"{len(scores) + len(absent)} of {len(ratings)} judges rated it, {need} are needed: {causes}"
        return Panelled(item, None, False, told if len(ratings) > 1 else causes, spread, tuple(ratings))
    if len(absent) > len(scores) or not scores:
        return Panelled(item, None, True, "", spread, tuple(ratings), absent[0].reason)
    if how == "majority":
        most = [value for value in set(scores) if 2 * scores.count(value) > len(scores)]
        if not most:
            return Panelled(item, None, False, f"no majority among {sorted(scores)}", spread, tuple(ratings))
        return Panelled(item, most[0], False, "", spread, tuple(ratings))
    score = statistics.fmean(scores) if how == "mean" else statistics.median(scores)
    return Panelled(item, float(score), False, "", spread, tuple(ratings))
