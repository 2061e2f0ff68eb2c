"""Methods of adaptation as plug-ins: how a suite names them, what the core asks of them, and what they are given.

The core knows no method: each is an entry point of ``medeval.adaptations``, ``package.module:Class`` or
``path/file.py:Class``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medeval.plugins import build, resolve, source_identity, validate_options
from medeval.tasks.context import Context
from medeval.types import CaseFailure, DataError, EvaluatorFailure, PluginError

GROUP = "medeval.adaptations"
SOURCE_ONLY = "source-only"
KEPT_BYTES = 2**30  # preprocessed target images up to this size stay in memory between epochs


class Method(Protocol):
    """A method of source-free adaptation. Networks and images are the model's own (PyTorch); the core only passes them on.

    side_information: what it needs beside unlabelled images, "" if nothing. uses_labels: True for a supervised ceiling.
    online: True when ``start`` works. updates: what changes in the model.
    """

    side_information: str
    uses_labels: bool
    online: bool
    updates: str

    def fit(
        self, model: Any, target_images: Sequence[Any], *, labels: Sequence[Any] | None, seed: int, checkpoint: Any
    ) -> Any:  # fmt: skip
        """An adapted network; ``model`` stays as it is. checkpoint: ``read() -> bytes | None`` and ``write(bytes)``."""

    def save(self, adapted: Any, path: Path) -> None:
        """Write what ``load`` needs."""

    def load(self, model: Any, path: Path) -> Any:
        """The adapted network again."""

    def start(self, model: Any, *, seed: int) -> Any:
        """Adaptation at test time: an object with ``adapt(images, steps)``, ``module`` and ``reset()``."""


def checked_adaptations(given: Any) -> dict[str, dict[str, Any]]:
    """Arm -> {method: reference, options}, the source-only arm first. given: a list of names, or a mapping.

    Raises ``ValueError`` naming the arm and what is wrong with it.
    """
    entries = dict.fromkeys(given) if isinstance(given, list | tuple) else given
    if not isinstance(entries, Mapping):
        raise ValueError("a list of methods, or a mapping from names to {method: ..., options}, is expected")
    found: dict[str, dict[str, Any]] = {SOURCE_ONLY: {}}
    for arm, entry in entries.items():
        if not isinstance(arm, str) or not (entry is None or isinstance(entry, Mapping)):
            raise ValueError(f"{arm!r}: {{method: ..., options}} is expected, or nothing")
        if arm == SOURCE_ONLY:
            if entry:
                raise ValueError(f"{SOURCE_ONLY}: is the model as it is and takes no options")
            continue
        found[arm] = _checked(arm, dict(entry or {}))
    return found


def _checked(arm: str, entry: dict[str, Any]) -> dict[str, Any]:
    reference = entry.pop("method", arm)
    try:
        plugin = resolve(GROUP, reference)
        options = validate_options(plugin, entry)
        build(plugin, options)  # numbers out of range are told by the method itself
        return {"method": reference, **options}
    except PluginError as error:
        raise ValueError(f"{arm}: {error}") from None


def method_of(entry: Mapping[str, Any]) -> Method:
    """The method that a checked entry names."""
    options = {key: value for key, value in entry.items() if key != "method"}
    return build(resolve(GROUP, entry["method"]), options)


def arm_identity(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of an arm depend on: the method's code and options."""
    return {**entry, "code": source_identity(entry["method"], group=GROUP)} if entry else {}


class TargetImages(Sequence[Any]):
    """Preprocessed images of target datasets, read when asked for; as many as fit are kept.

    labels: give the class numbers in the place of the image.
    """

    def __init__(self, model: Any, datasets: Mapping[str, Any], labels: bool = False) -> None:
        self._model = model
        self._cases = [(name, data, case_id) for name, data in datasets.items() for case_id in data.index.ids]
        self._labels = labels
        self._kept: dict[int, Any] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        if number in self._kept:
            return self._kept[number]
        found = self._read(*self._cases[number])
        size = int(getattr(found, "nbytes", 0))
        if self._bytes + size <= KEPT_BYTES:
            self._kept[number] = found
            self._bytes += size
        return found

    def _read(self, name: str, dataset: Any, case_id: str) -> Any:
        """Raises ``DataError`` naming the case, ``EvaluatorFailure`` where labels are wanted and not given."""
        try:
            case = dataset.read(case_id)
            if not self._labels:
                return self._model.tensor(case.inputs["image"])
        except CaseFailure as error:
            raise DataError(f"target case {case_id!r} of {name}: {error}") from error
        if "structures" not in case.reference:
            raise EvaluatorFailure(
                f"this arm trains on labels of {name}, and only its images were given; it must not run as an adaptation"
            )
        return self._model.label_tensor(case.reference["structures"])


class JournalCheckpoint:
    """States of a fit as finished steps of the context's journal: they survive a kill, and the last one is read back."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self._count = 0

    def read(self) -> bytes | None:
        """The last state that was written."""
        last = None
        while True:
            try:
                last = self._context.step(f"{self._name} {self._count}", _missing)
            except _MissingStep:
                return None if last is None else np.asarray(last, dtype=np.uint8).tobytes()
            self._count += 1

    def write(self, state: bytes) -> None:
        """Keep one more."""
        self._context.step(f"{self._name} {self._count}", lambda: np.frombuffer(state, dtype=np.uint8))
        self._count += 1


class _MissingStep(Exception):
    """There is no such step yet."""


def _missing() -> Any:
    raise _MissingStep
