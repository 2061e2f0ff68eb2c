"""What an output source holds for each case, so that one changed file of a folder is not another model.

A source that can tell case by case has two things beside ``output``:

    by_case: ClassVar[tuple[str, ...]]      its ``Path`` options whose content is told case by case
    answer_identity(case: CaseInfo) -> Any  plain data that the answers of a case depend on; None where it has none

The content of these options is then no part of the model's fingerprint; the identity stands in the parts of the units that
hold the case, and a unit whose identity changed is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from medeval.types import CaseFailure, CaseInfo, UserError, digest

if TYPE_CHECKING:
    from medeval.datasets.base import Dataset
    from medeval.runs.folder import UnitName

NONE = "none"  # the source has no answer for this case
SHOWN = 3


@dataclass
class _Changes:
    """Cases of one model and dataset whose answer is not the one that was scored, each once."""

    changed: dict[str, None] = field(default_factory=dict)
    added: dict[str, None] = field(default_factory=dict)
    removed: dict[str, None] = field(default_factory=dict)

    def put(self, case_id: str, before: str | None, now: str) -> None:
        """Into its drawer."""
        drawer = self.removed if now == NONE else self.added if before == NONE else self.changed
        drawer[case_id] = None

    def lines(self) -> list[str]:
        """A line a drawer that holds something."""
        told = (
            (self.removed, "{} gone since the run was made: failed now"),
            (self.added, "{} added since the run was made: scored now"),
            (self.changed, "{} changed since the run was made: scored again"),
        )
        return [text.format(_named(list(drawer))) for drawer, text in told if drawer]


class Answers:
    """The identities of a plan's answers by model, dataset and case; {} for models that are no such source."""

    def __init__(self, sources: Mapping[str, Any], datasets: Mapping[str, Dataset]) -> None:
        self._sources = sources
        self._datasets = datasets
        self._known: dict[tuple[str, str, str], str] = {}
        self._trusted: dict[str, Mapping[str, str]] | None = None
        self._changes: dict[tuple[str, str], _Changes] = {}

    def options(self, model: str) -> Sequence[str]:
        """The model's options whose content is told case by case; () for every other model."""
        return self._sources[model].by_case if model in self._sources else ()

    def content(self, model: str, dataset: str) -> str | None:
        """Hash of all answers of a model to a dataset, whatever the order of its cases; None for every other model."""
        if model not in self._sources:
            return None
        ids = sorted(self._datasets[dataset].index.ids)
        return digest(*(f"{case_id}:{self._of(model, dataset, case_id)}" for case_id in ids))

    def of(self, unit: UnitName) -> dict[str, str]:
        """case id -> hash of its answer, ``"none"`` where there is none."""
        if self._trusted is not None:
            return dict(self._trusted.get(unit.id, {}))
        if unit.model not in self._sources:
            return {}
        return {case_id: self._of(unit.model, unit.dataset, case_id) for case_id in unit.case_ids}

    def trust(self) -> None:
        """From now on what parts say stands: kept predictions are scored, and the source may have gone."""
        self._trusted = {}

    def changed(self, unit: UnitName, meta: Mapping[str, Any]) -> bool:
        """True when a part was made from other answers than the source has now; ``lines`` then tells of it."""
        before: Mapping[str, str] = meta.get("answers", {})
        if self._trusted is not None:
            self._trusted[unit.id] = before
            return False
        now = self.of(unit)
        if now == before:
            return False
        changes = self._changes.setdefault((unit.model, unit.dataset), _Changes())
        for case_id, answer in now.items():
            if answer != before.get(case_id):
                changes.put(case_id, before.get(case_id), answer)
        return True

    def lines(self) -> list[str]:
        """What ``changed`` met, for the person who waits."""
        return [
            f"{model} on {dataset}: {line}"
            for (model, dataset), changes in self._changes.items()
            for line in changes.lines()
        ]

    def _of(self, model: str, dataset: str, case_id: str) -> str:
        key = (model, dataset, case_id)
        if key not in self._known:
            data = self._datasets[dataset]
            info = _with_structures(data.index.info(case_id), data.structures)
            try:
                told = self._sources[model].answer_identity(info)
            except (UserError, CaseFailure) as error:  # ``output`` says the same, in a record
                told = [str(error)]
            self._known[key] = NONE if told is None else digest(json.dumps(told, sort_keys=True, default=str))
        return self._known[key]


def tells_by_case(cls: Any) -> bool:
    """Whether a class is an output source that knows what it holds for a case."""
    return bool(getattr(cls, "source", False)) and hasattr(cls, "by_case") and hasattr(cls, "answer_identity")


def opened(build: Any, names: Sequence[str]) -> dict[str, Any]:
    """The sources that can be built; the run tells of the others, whose files then count as one."""
    found = {}
    for name in names:
        try:
            found[name] = build(name)
        except UserError:
            continue
    return found


def _with_structures(info: CaseInfo, structures: tuple[str, ...]) -> CaseInfo:
    """The case with every structure that its reference may name, present or not."""
    return replace(info, structures=tuple(dict.fromkeys((*info.structures, *structures))))


def _named(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
    return f"{len(ids)} answer{'s' if len(ids) > 1 else ''} ({shown})"
