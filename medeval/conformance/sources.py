"""Output sources: they stand in a model's place and are asked by case and key (a folder of masks, a file of scores, the truth)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medeval.conformance import scenes
from medeval.conformance.findings import Found, check
from medeval.conformance.segmenting import wrong_mask
from medeval.conformance.studies import first_cases
from medeval.conformance.subjects import Subject, frozen
from medeval.dialogue.cases import load_cases
from medeval.dialogue.dataset import BUNDLED, CASE
from medeval.types import (
    Case,
    CaseFailure,
    Failure,
    Key,
    LabelMap,
    MaskStack,
    Output,
    Segmentation,
    Structures,
)


@dataclass(frozen=True, eq=False)
class Owed:
    """One answer that a source owes."""

    name: str
    case: Case
    key: Key


class Source(Subject):
    """``output(case, key)``: of the cases of ``data``, else of the kit's own: an image, a study, a dialogue."""

    methods = ("output",)
    unit = "bytes"

    @cached_property
    def _possible(self) -> list[Owed]:
        if self.recipe.data is not None:
            return [Owed(f"case {c.id}", c, _key(c)) for c in first_cases(self.recipe.data, self.recipe.base)]
        made = [scenes.scenes(ndim)[0] for ndim in (2, 3)]
        told = load_cases(BUNDLED)[0]
        cases = [
            Case(f"conformance-{scene.ndim}d", None, {"image": scene.image}, {"structures": _stack(scene)})
            for scene in made
        ]
        cases += [Case("conformance-study", None, {}, {"label": 1}), Case(told.id, None, {}, {CASE: told})]
        return [Owed(f"case {case.id}", case, _key(case)) for case in cases]

    def scenes(self, ndim: int) -> list[Any]:
        """Those that the source answers; all, where it answers none."""
        return [owed for owed in self._possible if self._answers(owed)] or self._possible

    def given(self, scene: Owed) -> dict[str, Any]:
        """Case and key."""
        return {"case": scene.case, "key": scene.key}

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The output, or the failure in its place."""
        return self.model.output(given["case"], given["key"])

    def another(self, scene: Owed, number: int) -> Owed:
        """The same case's next key, or another case."""
        known = self.scenes(0)
        return known[number % len(known)]

    def parts(self, raw: Any) -> list[Any]:
        """Masks, or what else it is as text."""
        value = raw.value if isinstance(raw, Output) else raw
        if isinstance(value, Segmentation):
            return [value.mask]
        if isinstance(value, LabelMap):
            return [value.array]
        if isinstance(value, MaskStack):
            return list(value.masks.values())
        return [np.frombuffer(str(frozen(value)).encode(), dtype=np.uint8)]

    def leak(self, scene: Owed) -> float:
        """A mask's bytes."""
        image = scene.case.inputs.get("image")
        return super().leak(scene) if image is None else float(np.prod(image.grid.shape))

    def wrong(self, scene: Owed, raw: Any) -> str | tuple[str, str] | None:
        """A value that the task scores, an ``Output`` around one, or a ``Failure``."""
        value = raw.value if isinstance(raw, Output) else raw
        if value is None:
            return (
                "output returned None",
                "raise a ModelFailure, or return a Failure, where there is no answer",
            )
        structures: Structures | None = scene.case.reference.get("structures")
        if structures is None or isinstance(value, Failure):
            return None
        if isinstance(value, LabelMap | MaskStack):
            if value.shape != structures.shape:
                return (
                    f"structures of shape {value.shape}, the image's is {structures.shape}",
                    "bring them onto the image's grid",
                )
            return None
        return wrong_mask(value, structures.shape, segmentation=True)

    def _answers(self, owed: Owed) -> bool:
        try:
            return not isinstance(self.ask(self.given(owed)), Failure)
        except Exception:  # whichever it is: a case of another task, or one that it does not know
            return False


@check(
    "unknown case",
    "raise a ModelFailure or DataError in words for a case that the source does not know",
    of=Source,
)
def unknown_case(subject: Source, found: list[Owed]) -> Found:
    """A case of its own kind that it never heard of is refused in words, or answered all the same."""
    owed = found[0]
    stranger = Case("no such case", None, owed.case.inputs, owed.case.reference)
    try:
        subject.ask({"case": stranger, "key": owed.key})
    except CaseFailure:
        return None
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    return None


def _key(case: Case) -> Key:
    structures: Structures | None = case.reference.get("structures")
    if structures is not None:
        return Key(structures.names[0])
    return Key("*") if CASE in case.reference else Key()


def _stack(scene: scenes.Scene) -> LabelMap:
    """A scene's balls as a label map: ``ball``."""
    return LabelMap(np.logical_or.reduce(scene.truths).astype(np.uint8), {"ball": (1,)})
