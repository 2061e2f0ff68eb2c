"""The model under check behind one question: what does it answer when it is shown this?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.plugins import build, names, resolve
from medeval.tasks.masks import to_numpy
from medeval.types import digest

Mask = NDArray[Any]
GROUPS = ("medeval.adapters", "medeval.adaptations", "medeval.clients")


@dataclass(frozen=True)
class Recipe:
    """How the model is built, again and again.

    reference: a suite's ``adapter:``, a method of adaptation, or a chat client. options: its other keys. base: folder that paths belong to.
    data: a suite's entry of a dataset, whose first cases it is asked about where its protocol takes them.
    """

    reference: str
    options: Mapping[str, Any] = field(default_factory=dict)
    base: Path | None = None
    data: Mapping[str, Any] | None = None

    @property
    def plugin(self) -> Any:
        """Its class. Raises ``PluginError``."""
        group = next((group for group in GROUPS if self.reference in names(group)), GROUPS[0])
        return resolve(group, self.reference, self.base)


class Subject:
    """A model with the protocol that it is checked by. A subclass knows one protocol.

    methods: what a model must have. unit: what its answers are made of.
    sampled: True where chance may choose the answer. costly: True where a question may cost money.
    """

    methods: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "values"
    sampled: ClassVar[bool] = False
    costly: ClassVar[bool] = False

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.model = self.build()
        self.elsewhere: dict[str, Any] | None = None  # what another process told of it

    def build(self) -> Any:
        """A new model. Raises ``PluginError``."""
        return build(self.recipe.plugin, self.recipe.options, self.recipe.base)

    @classmethod
    def fits(cls, plugin: Any) -> bool:
        """True for a class that has the methods."""
        return all(callable(getattr(plugin, name, None)) for name in cls.methods)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Of the images that it takes; (0,) for a protocol without."""
        return (0,)

    def fresh(self) -> Subject:
        """The same model, built anew."""
        return type(self)(self.recipe)

    def scenes(self, ndim: int) -> list[Any]:
        """What it is asked about; the first is what most checks ask about."""
        raise NotImplementedError

    def brief(self, scene: Any) -> Any:
        """A scene that costs less, for the checks that ask often."""
        return scene

    def another(self, scene: Any, number: int) -> Any:
        """A scene of the same size with other contents."""
        raise NotImplementedError

    def given(self, scene: Any) -> dict[str, Any]:
        """What the model is handed, by name: arrays of its own, which it may spoil."""
        raise NotImplementedError

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The answer as it came."""
        raise NotImplementedError

    def parts(self, raw: Any) -> list[Any]:
        """The arrays or tensors in an answer."""
        raise NotImplementedError

    def wrong(self, scene: Any, raw: Any) -> str | tuple[str, str] | None:
        """What is wrong with the answer by the protocol, and how to mend it where that can be told."""
        raise NotImplementedError

    def answer(self, scene: Any) -> Any:
        """The answer to a scene as it came."""
        return self.ask(self.given(scene))

    def masks(self, scene: Any) -> list[Mask]:
        """The answer to a scene as numpy arrays."""
        return [to_numpy(part) for part in self.parts(self.answer(scene))]

    def leak(self, scene: Any) -> float:
        """Bytes a question whose growth is no noise."""
        return 1000.0


def frozen(value: Any) -> Any:
    """What a value holds, as something that later changes of it do not change; for comparison."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if callable(getattr(value, "state_dict", None)):  # a torch module
        return (getattr(value, "training", None), frozen(dict(value.state_dict())))
    if hasattr(value, "detach"):
        return frozen(to_numpy(value))
    if is_dataclass(value) and not isinstance(value, type):
        return tuple((f.name, frozen(getattr(value, f.name))) for f in fields(value))
    if isinstance(value, Mapping):
        return tuple((key, frozen(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(frozen(inner) for inner in value)
    return repr(value)


def same(first: Sequence[Mask], second: Sequence[Mask], tolerance: float = 0.0) -> bool:
    """True when both hold arrays of equal shape whose values differ in at most this share."""
    if len(first) != len(second):
        return False
    return all(
        a.shape == b.shape and _unequal(a, b) <= tolerance * a.size
        for a, b in zip(first, second, strict=True)
    )


def differing(first: Sequence[Mask], second: Sequence[Mask]) -> int:
    """Most values in which two answers' arrays differ."""
    pairs = zip(first, second, strict=False)
    return max((_unequal(a, b) if a.shape == b.shape else a.size for a, b in pairs), default=0)


def _unequal(a: Mask, b: Mask) -> int:
    """Values that differ; NaN is like NaN."""
    return int(np.count_nonzero((a != b) & ((a == a) | (b == b))))


def hashed(masks: Sequence[Mask]) -> str:
    """A hash of an answer, for the comparison between processes."""
    return digest(*((m.shape, digest(np.ascontiguousarray(m).tobytes().hex())) for m in masks))
