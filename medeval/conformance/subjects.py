"""The model under check behind one question: which masks does it give for a scene?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.conformance.scenes import Scene
from medeval.plugins import build, resolve
from medeval.tasks.masks import to_numpy
from medeval.types import Capabilities, PluginError, Prompt

Mask = NDArray[Any]


@dataclass(frozen=True)
class Recipe:
    """How the model is built, again and again: an adapter's reference, its options, and the folder that paths belong to."""

    reference: str
    options: Mapping[str, Any] = field(default_factory=dict)
    base: Path | None = None

    def build(self) -> Any:
        """A new model. Raises ``PluginError``."""
        return build(resolve("medeval.adapters", self.reference, self.base), self.options, self.base)


class Subject:
    """A model with the protocol that it is checked by. A subclass knows one protocol."""

    methods: ClassVar[tuple[str, ...]]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.model = recipe.build()

    @property
    def takes(self) -> Capabilities:
        """What the model says that it takes."""
        return getattr(self.model, "takes", None) or Capabilities()

    def fresh(self) -> Subject:
        """The same model, built anew."""
        return type(self)(self.recipe)

    def raw(self, scene: Scene) -> Any:
        """The answer as it came."""
        raise NotImplementedError

    def masks(self, scene: Scene) -> list[Mask]:
        """The answer as one array a structure and prompt, whatever its dtype."""
        raise NotImplementedError


class Promptable(Subject):
    """``encode(image)`` and ``segment(encoded, prompts)``."""

    methods = ("encode", "segment")

    def raw(self, scene: Scene) -> Any:
        """The list of answers to all of the scene's prompts."""
        return self.ask(scene, scene.prompts(self.takes))

    def ask(self, scene: Scene, prompts: Sequence[Prompt]) -> Any:
        """The answers to these prompts, after an encode of its own."""
        return self.model.segment(self.model.encode(scene.image), list(prompts))

    def masks(self, scene: Scene) -> list[Mask]:
        """One array a prompt."""
        return [to_numpy(answer.mask) for answer in self.raw(scene)]


class Automatic(Subject):
    """``segment_image(image, structures)``."""

    methods = ("segment_image",)
    names: ClassVar[tuple[str, ...]] = ("ball",)

    def raw(self, scene: Scene) -> Any:
        """The label array, or the mapping or structures that came."""
        return self.model.segment_image(scene.image, self.names)

    def masks(self, scene: Scene) -> list[Mask]:
        """One array: the labels; one a name where the model gives masks by name."""
        answer = self.raw(scene)
        if isinstance(answer, Mapping):
            return [to_numpy(value) for value in answer.values()]
        if hasattr(answer, "array"):
            return [to_numpy(answer.array)]
        return [to_numpy(answer)]


PROTOCOLS: Mapping[str, Callable[[Recipe], Subject]] = {
    "prompted-segmentation": Promptable,
    "segmentation": Automatic,
}


def subject_for(recipe: Recipe, task: str | None = None) -> Subject:
    """The model behind the protocol of ``task``, or behind the first one that it has the methods of.

    Raises ``PluginError`` for an output source, a task without checks, and a model that has no known protocol.
    """
    if task is not None and task not in PROTOCOLS:
        raise PluginError(f"task {task!r} has no conformance checks; {', '.join(PROTOCOLS)} have")
    plugin = resolve("medeval.adapters", recipe.reference, recipe.base)
    if getattr(plugin, "source", False):
        raise PluginError(f"{recipe.reference}: an output source, no model: there is nothing to check")
    for name in [task] if task else PROTOCOLS:
        made: Any = PROTOCOLS[name]
        if all(callable(getattr(plugin, method, None)) for method in made.methods):
            return made(recipe)
    wanted = "; or ".join(
        f"`{'`, `'.join(PROTOCOLS[name].methods)}` for {name}"  # type: ignore[attr-defined]
        for name in ([task] if task else PROTOCOLS)
    )
    raise PluginError(f"{recipe.reference}: it needs the methods {wanted}")


def same(first: Sequence[Mask], second: Sequence[Mask], tolerance: float = 0.0) -> bool:
    """True when both hold arrays of equal shape whose voxels differ in at most this share."""
    if len(first) != len(second):
        return False
    return all(
        a.shape == b.shape and np.count_nonzero(a != b) <= tolerance * a.size
        for a, b in zip(first, second, strict=True)
    )
