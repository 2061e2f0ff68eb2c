"""The check of each dataset, model and task entry against the plug-in that it names; mistakes are collected, not raised."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medeval.datasets.base import Dataset
from medeval.plugins import OptionsError, build, complaints, options_of, resolve, validate_options
from medeval.plugins.messages import option_names
from medeval.suite.cells import ModelSpec
from medeval.suite.chats import CLIENT, Chats
from medeval.suite.mistakes import KeyPath, Mistakes
from medeval.tasks.base import Task
from medeval.types import PluginError, Spec, UserError, nearest

DATASETS, MODELS, TASKS = "medeval.datasets", "medeval.adapters", "medeval.tasks"

_BAD_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")


class Shell(BaseModel):
    """The outer keys of a suite; what stands inside the entries belongs to their plug-ins."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, description="How the suite is called; default: the name of its file.")
    seed: int | None = Field(
        None, description="Seed of everything random: prompts, shuffles, models. Default 0."
    )
    seeds: tuple[int, ...] | None = Field(
        None, description="In the place of `seed`: repeat every cell with each of these."
    )
    save_predictions: bool = Field(
        False, description="Also write all kept masks as NIfTI or PNG below artifacts/predictions."
    )
    llm: dict[str, Any] | None = Field(
        None, description="Chat models: cache, budgets, prices, logs. See docs/llm.md."
    )
    datasets: dict[str, dict[str, Any]] = Field(description="name -> {format: ..., options of that format}")
    models: dict[str, dict[str, Any]] = Field(
        description="name -> {adapter: ..., options of that adapter}, or {client: ..., options of that chat client}"
    )
    tasks: list[dict[str, Any]] = Field(description="list of {task: ..., options of that task}")
    primary: dict[str, Any] | None = Field(
        None,
        description="The one confirmatory question: {metric, prompt, baseline, margin}; hashed before scoring.",
    )
    require: list[str] | None = Field(
        None, description="Floors that must hold for exit code 0, such as `dice.lower >= 0.80`."
    )


class DatasetKeys(BaseModel):
    """Keys of a dataset's entry that are medeval's own."""

    model_config = ConfigDict(extra="forbid")

    format: str = Field(
        description="a registered format (see `medeval list datasets`) or 'path/file.py:Class'"
    )


class ChatModelKeys(BaseModel):
    """Keys of a chat model's entry that are medeval's own beside those of its client block."""

    model_config = ConfigDict(extra="forbid")

    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds that a unit of work may take."
    )
    baseline: bool | None = Field(
        None, description="Tag it as a baseline in tables; default: as the adapter says."
    )
    trained_on: tuple[str, ...] | None = Field(
        None, description="Data sets that the model has seen in training."
    )


class ModelKeys(ChatModelKeys):
    """Keys of a model's entry that are medeval's own and are not passed to the adapter."""

    adapter: str = Field(
        description="a registered adapter (see `medeval list adapters`) or 'path/file.py:Class'; a chat model has "
        "`client: openai|langchain|transformers|...` in its place"
    )


@dataclass(frozen=True)
class Checked:
    """An entry that holds. written: plain data with defaults filled and paths as the suite has them."""

    value: Any
    written: dict[str, Any]


class Entries:
    """Checks entries. None, and a mistake more, where one does not hold."""

    def __init__(self, mistakes: Mistakes, base: Path) -> None:
        self.mistakes = mistakes
        self.base = base
        self.chats = Chats(mistakes, base)

    def dataset(self, name: str, entry: Mapping[str, Any]) -> Checked | None:
        """A ``Spec`` of the dataset."""
        path = ("datasets", name)
        keys = self._own(path, entry, DatasetKeys)
        cls = self._class((*path, "format"), DATASETS, entry, Dataset)
        options = self._options(path, cls, entry, DatasetKeys, "format")
        if keys is None or options is None:
            return None
        return Checked(Spec(keys.format, options.value), {"format": keys.format, **options.written})

    def model(self, name: str, entry: Mapping[str, Any]) -> Checked | None:
        """A ``ModelSpec``."""
        path = ("models", name)
        if CLIENT in entry:
            return self._chat_model(path, entry)
        keys = self._own(path, entry, ModelKeys)
        cls = self._class((*path, "adapter"), MODELS, entry)
        options = self._options(path, cls, entry, ModelKeys, "adapter")
        if keys is None or options is None:
            return None
        baseline = getattr(cls, "baseline", False) if keys.baseline is None else keys.baseline
        trained_on = getattr(cls, "trained_on", ()) if keys.trained_on is None else keys.trained_on
        spec = ModelSpec(keys.adapter, options.value, keys.timeout, bool(baseline), tuple(trained_on))
        return Checked(spec, {"adapter": keys.adapter, **_own_written(spec), **options.written})

    def _chat_model(self, path: KeyPath, entry: Mapping[str, Any]) -> Checked | None:
        """A ``ModelSpec`` whose options are a client block."""
        if "adapter" in entry:
            self.mistakes.add((*path, "adapter"), "give `adapter` or `client`, not both")
            return None
        keys = self._own(path, entry, ChatModelKeys)
        own = set(ChatModelKeys.model_fields)
        given = {name: value for name, value in entry.items() if name not in own}
        block = self.chats.block(path, given)
        if keys is None or block is None:
            return None
        spec = ModelSpec(
            given[CLIENT], given, keys.timeout, bool(keys.baseline), tuple(keys.trained_on or ()), chat=True
        )
        return Checked(spec, {**_own_written(spec), **block})

    def task(self, position: int, entry: Mapping[str, Any]) -> Checked | None:
        """A ``Task``, its name filled."""
        path = ("tasks", position)
        if "task" not in entry:
            self.mistakes.add(path, "missing option 'task': a registered task (see `medeval list tasks`)")
            return None
        cls = self._class((*path, "task"), TASKS, entry, Task)
        named = {**entry, "name": task_name(entry)}
        options = self._options(path, cls, named, None, "task")
        self.chats.blocks_in(path, entry)
        return options and Checked(build(cls, options.value, self.base), options.written)

    def check_name(self, path: KeyPath, name: str) -> None:
        """A name becomes a folder's and a column's: it must be able to."""
        if not name.strip() or name != name.strip() or name in (".", "..") or _BAD_NAME.search(name):
            rule = (
                "a name is not empty, no dots alone, and has no '/', '\\', control characters or outer spaces"
            )
            self.mistakes.add(path, f"{name!r} cannot be a name; {rule}")

    def _own(self, path: KeyPath, entry: Mapping[str, Any], model: type[BaseModel]) -> Any:
        """medeval's own keys of an entry."""
        own = {name: value for name, value in entry.items() if name in model.model_fields}
        try:
            return model.model_validate_json(json.dumps(own), strict=True)
        except ValidationError as error:
            self.mistakes.add_all(path, complaints(error, own, model))
            return None

    def _class(self, path: KeyPath, group: str, entry: Mapping[str, Any], kind: type = object) -> Any:
        """The class that an entry names."""
        reference = entry.get(str(path[-1]))
        if not isinstance(reference, str) or self.mistakes.is_broken(path):
            return None
        try:
            cls = resolve(group, reference, self.base)
        except PluginError as error:
            self.mistakes.add(path, str(error))
            return None
        if kind is not object and not (isinstance(cls, type) and issubclass(cls, kind)):
            self.mistakes.add(
                path, f"{reference!r} is no {kind.__name__.lower()}: it must be a subclass of {kind.__name__}"
            )
            return None
        return cls

    def _options(
        self, path: KeyPath, cls: Any, entry: Mapping[str, Any], own: type[BaseModel] | None, key: str
    ) -> Checked | None:
        """The options of the entry's class. Unknown ones are told with medeval's own keys among the known ones."""
        if cls is None:
            return None
        mine = set(own.model_fields) if own else set()
        options = {name: value for name, value in entry.items() if name not in mine}
        try:
            takes = option_names(options_of(cls))
            for name in sorted(mine & set(takes)):
                self.mistakes.add(
                    (*path, key), f"its option {name!r} is a key that medeval keeps for itself; rename it"
                )
            for name in [name for name in options if name not in takes]:
                self.mistakes.add((*path, name), f"unknown option {name!r}; {nearest(name, {*takes, *mine})}")
                del options[name]
            return Checked(filled := validate_options(cls, options, self.base), {**filled, **options})
        except OptionsError as error:
            self.mistakes.add_all(path, error.errors)
        except UserError as error:
            self.mistakes.add((*path, key), str(error))
        return None


def _own_written(spec: ModelSpec) -> dict[str, Any]:
    return {"timeout": spec.timeout, "baseline": spec.baseline, "trained_on": list(spec.trained_on)}


def task_name(entry: Mapping[str, Any]) -> Any:
    """A task's name: its ``name:``, else what it is registered as, else its class."""
    return entry.get("name") or str(entry.get("task")).rpartition(":")[2]
