"""Suite: datasets x models x tasks, checked as a whole before anything runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from medeval.plugins import complaints
from medeval.suite.cells import Cell, ModelSpec, expand
from medeval.suite.declared import check_declared
from medeval.suite.entries import Checked, Entries, Shell, task_name
from medeval.suite.find import find_suite
from medeval.suite.mistakes import KeyPath, Mistakes, Place
from medeval.suite.overrides import override
from medeval.suite.replicates import expand_replicates
from medeval.suite.source import Reader, compose
from medeval.tasks.base import Task
from medeval.types import Spec, nearest
from medeval.types.errors import SuiteError

if TYPE_CHECKING:
    from medeval.llm.harness import HarnessSettings

LARGEST = 16 << 20  # bytes: an image given in the place of a suite is refused before it is read


@dataclass(frozen=True, eq=False)
class Suite:
    """A suite that holds: every name resolved, every option checked, every default filled.

    base: folder that relative paths belong to.
    save_predictions: also write kept masks as files.
    hidden: what secret environment variables held -> ``${NAME}``, which is to be shown in its place.
    llm: settings of the harness that all chat calls of a run go through; None where the suite says nothing of it.
    dataset_specs, model_specs: name -> what any process needs to build it; paths absolute.
    """

    name: str
    seeds: tuple[int, ...]
    dataset_specs: Mapping[str, Spec] = field(repr=False)  # options may hold what a secret variable held
    model_specs: Mapping[str, ModelSpec] = field(repr=False)
    tasks: tuple[Task, ...] = field(repr=False)
    base: Path
    _written: Mapping[str, Any]
    save_predictions: bool = False
    llm: HarnessSettings | None = None
    hidden: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Suite:
        """Read a suite from a YAML file, or by its registered name.

        overrides: ``models.walker.beta=10`` and the like, values in YAML.
        Raises one ``SuiteError`` with all mistakes, a line each: ``suite.yaml:12: models.walker.bta: unknown option ...``.
        """
        file = find_suite(path)
        place = Place(str(file))
        reader = Reader(Mistakes(place))
        try:
            node = compose(_text(file), place)
            data = None if node is None else reader.read(node, (), place)
        except RecursionError:
            raise place.error("nested too deeply") from None
        if data is None:
            reader.mistakes.tell()
            raise place.error("the file is empty; a suite has datasets, models and tasks")
        return cls._checked(data, reader, file.resolve().parent, file.stem, overrides)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], base: str | Path | None = None, overrides: Sequence[str] = ()
    ) -> Suite:
        """The same from Python data, also from what ``resolved`` gave; base: default the working directory.

        Raises ``SuiteError`` as ``load`` does, without lines.
        """
        reader = Reader(Mistakes(Place("suite")))
        try:
            plain = to_jsonable_python(data)
        except PydanticSerializationError as error:
            raise SuiteError(f"suite: must be plain data (numbers, text, lists, mappings): {error}") from None
        return cls._checked(reader.take(plain, ()), reader, Path(base or ".").resolve(), "suite", overrides)

    @classmethod
    def _checked(cls, data: Any, reader: Reader, base: Path, name: str, overrides: Sequence[str]) -> Suite:
        if not isinstance(data, dict):
            raise reader.mistakes.place(()).error(
                "a suite is a mapping with the keys datasets, models and tasks"
            )
        for number, text in enumerate(overrides, start=1):
            override(data, text, number, reader)
        data = expand_replicates(data, base, reader.mistakes)
        suite = _Check(data, reader.mistakes, base).suite(name, reader.secrets)
        reader.mistakes.tell()
        return suite

    def cells(self) -> tuple[Cell, ...]:
        """tasks x datasets x models x arms x seeds, in the order of the suite."""
        return tuple(expand(self.tasks, self.dataset_specs, self.model_specs, self.seeds))

    def resolved(self) -> dict[str, Any]:
        """Plain data (JSON types), defaults filled, paths as the suite has them: what a manifest stores.

        ``from_dict(suite.resolved(), suite.base)`` is the same suite. What a secret environment variable held is written
        as ``${NAME}`` again, so that no key reaches a file.
        """
        return copy.deepcopy(dict(self._written))

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """JSON schema of a suite with the options of every plug-in that imports: editors complete from it."""
        from medeval.suite.schema import json_schema

        return json_schema()


class _Check:
    """One pass over the data of a suite; mistakes are collected, and a suite comes out if there are none."""

    def __init__(self, data: dict[str, Any], mistakes: Mistakes, base: Path) -> None:
        self.data = data
        self.mistakes = mistakes
        self.base = base
        self.entries = Entries(mistakes, base)

    def suite(self, default_name: str, secrets: Mapping[KeyPath, str]) -> Suite:
        """The suite; only to be used when no mistake was found."""
        self._outer()
        name = self.data.get("name") or default_name
        if isinstance(name, str):
            self.entries.check_name(("name",), name)
        datasets = self._section("datasets", self.entries.dataset)
        models = self._section("models", self.entries.model)
        tasks = self._tasks()
        seeds = self._seeds()
        written = {
            "name": name,
            "seeds": list(seeds),
            "datasets": {key: entry.written for key, entry in datasets.items()},
            "models": {key: entry.written for key, entry in models.items()},
            "tasks": [entry.written for entry in tasks],
        }
        if save := self.data.get("save_predictions") is True:
            written["save_predictions"] = True
        llm = None
        if (given := self.data.get("llm")) is not None:
            llm = self.entries.chats.settings(given)
            written["llm"] = given
        checked = [entry.value for entry in tasks]
        written |= check_declared(self.data, self.mistakes, checked, list(models), list(datasets))
        return Suite(
            name,
            seeds,
            {key: entry.value for key, entry in datasets.items()},
            {key: entry.value for key, entry in models.items()},
            tuple(entry.value for entry in tasks),
            self.base,
            _reloadable(written, secrets),
            save,
            llm,
            dict(self.mistakes.hidden),
        )

    def _outer(self) -> None:
        try:
            Shell.model_validate_json(json.dumps(self.data), strict=True)
        except ValidationError as error:
            self.mistakes.add_all((), complaints(error, self.data, Shell))
        for section in ("datasets", "models", "tasks"):
            if self.data.get(section) in ({}, []):
                self.mistakes.add((section,), "is empty; a suite needs one at least")

    def _seeds(self) -> tuple[int, ...]:
        seed, seeds = self.data.get("seed"), self.data.get("seeds")
        if seed is not None and seeds is not None:
            self.mistakes.add(("seeds",), "give `seed` or `seeds`, not both")
        if seeds is None:
            return (0 if seed is None else seed,)
        listed = seeds if isinstance(seeds, list) else []
        if listed != list(dict.fromkeys(listed)) or seeds == []:
            self.mistakes.add(("seeds",), f"expected different whole numbers, got {seeds}")
        return tuple(listed)

    def _section(self, section: str, check: Any) -> dict[str, Checked]:
        good: dict[str, Checked] = {}
        for name, entry in _items(self.data.get(section)):
            self.entries.check_name((section, name), name)
            if isinstance(entry, dict) and (found := check(name, entry)) is not None:
                good[name] = found
        return good

    def _tasks(self) -> list[Checked]:
        good: list[Checked] = []
        taken: dict[str, Place] = {}
        for position, entry in _items(self.data.get("tasks")):
            if not isinstance(entry, dict):
                continue
            checked = self.entries.task(position, entry)
            self._unique(("tasks", position), task_name(entry), taken)
            for section in ("datasets", "models"):
                self._members(("tasks", position, section), section, entry.get(section))
            if checked is not None:
                self._members(("tasks", position), "datasets", list(checked.value.prepares_from()))
                good.append(checked)
        return good

    def _unique(self, path: KeyPath, name: Any, taken: dict[str, Place]) -> None:
        if not isinstance(name, str):
            return
        self.entries.check_name(path, name)
        if name in taken:
            where = (
                f"{path[0]}.{list(taken).index(name)}" if not taken[name].line else f"line {taken[name].line}"
            )
            self.mistakes.add(
                path, f"a second task called {name!r} (the first: {where}); give one of them a `name:`"
            )
        taken.setdefault(name, self.mistakes.place(path))

    def _members(self, path: KeyPath, section: str, names: Any) -> None:
        """Names in a task's ``datasets:`` or ``models:`` are names of the suite."""
        known = self.data.get(section)
        if not isinstance(known, dict) or self.mistakes.is_broken((section,)):
            return
        if names == [] and path[-1] == section:
            self.mistakes.add(path, f"is empty; leave it out for all {section}")
        for position, name in _items(names):
            if isinstance(name, str) and name not in known:
                at = (*path, position) if path[-1] == section else path
                self.mistakes.add(
                    at, f"the suite has no {section.removesuffix('s')} {name!r}; {nearest(name, known)}"
                )


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    """Keys and values of a mapping, positions and values of a list, nothing of anything else."""
    if isinstance(container, dict):
        return list(container.items())
    return list(enumerate(container)) if isinstance(container, list) else []


def _reloadable(written: Any, secrets: Mapping[KeyPath, str], path: KeyPath = ()) -> Any:
    """``written`` as ``from_dict`` reads it back: secrets as their variables, any other ``${`` marked as text."""
    if isinstance(written, dict):
        return {key: _reloadable(value, secrets, (*path, key)) for key, value in written.items()}
    if isinstance(written, list):
        return [_reloadable(value, secrets, (*path, position)) for position, value in enumerate(written)]
    if path in secrets:
        return secrets[path]
    return written.replace("${", "$${") if isinstance(written, str) else written


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise SuiteError(f"{file}: is larger than {LARGEST >> 20} MB, so it is no suite")
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SuiteError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SuiteError(f"{file}: is not UTF-8 text, so it is no suite") from None
