"""Models that segment: with prompts (``encode``, ``segment``) and without (``segment_image``), the latter also to be adapted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from medeval.conformance import scenes
from medeval.conformance.scenes import Scene
from medeval.conformance.subjects import Mask, Subject
from medeval.tasks.masks import checked_mask, checked_segmentation, to_numpy
from medeval.types import Capabilities, ModelFailure, PluginError, Prompt

KINDS = frozenset({"box", "points", "mask", "boxes", "line", "lasso", "scribble"})
RESIZE = "resize back to the image's own spatial shape, image.grid.shape, before you answer"
TRANSPOSE = "arrays are (row, column) or (R, A, S), never (x, y): transpose back before you answer"


class OfImages(Subject):
    """What is shown images."""

    unit: ClassVar[str] = "voxels"

    @property
    def takes(self) -> Capabilities:
        """What the model says that it takes."""
        return getattr(self.model, "takes", None) or Capabilities()

    @property
    def dimensions(self) -> tuple[int, ...]:
        """As it says. Raises ``PluginError`` where it says none, or others than 2 and 3."""
        said = getattr(self.takes, "dimensions", (2,))
        if not said or not set(said) <= {2, 3}:
            raise PluginError(
                f"{self.recipe.reference}: `takes.dimensions` is {sorted(said) or 'empty'}; frozenset({{2}}), {{3}} or both is "
                "expected"
            )
        return tuple(sorted(said))

    def scenes(self, ndim: int) -> list[Any]:
        """Bright balls."""
        return list(scenes.scenes(ndim))

    def brief(self, scene: Scene) -> Scene:
        """The first structure, by one prompt."""
        return replace(scene, truths=scene.truths[:1], brief=True)

    def another(self, scene: Scene, number: int) -> Scene:
        """Other noise and places."""
        return scenes.another(scene, number)

    def leak(self, scene: Scene) -> float:
        """A mask's bytes."""
        return float(np.prod(scene.image.grid.shape))


class Promptable(OfImages):
    """``encode(image)`` and ``segment(encoded, prompts)``."""

    methods = ("encode", "segment")

    def given(self, scene: Scene) -> dict[str, Any]:
        """Image and prompts."""
        return {"image": scene.copy().image, "prompts": scene.prompts(self.takes)}

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The answers to the prompts, after an encode of its own."""
        return self.model.segment(self.model.encode(given["image"]), list(given["prompts"]))

    def of(self, scene: Scene, prompts: Sequence[Prompt]) -> Any:
        """The answers to other prompts on a scene's image."""
        return self.ask({"image": scene.copy().image, "prompts": prompts})

    def parts(self, raw: Any) -> list[Any]:
        """One mask a prompt, and what else is an array."""
        masks = [answer.mask for answer in raw]
        return masks + [p for a in raw if (p := getattr(a, "probabilities", None)) is not None]

    def wrong(self, scene: Scene, raw: Any) -> str | tuple[str, str] | None:
        """The task's own check of each answer."""
        if unknown := sorted(set(self.takes.prompts) - KINDS):
            return f"`takes.prompts` names {', '.join(unknown)}", f"known: {', '.join(sorted(KINDS))}"
        asked = scene.prompts(self.takes)
        if isinstance(raw, str) or not isinstance(raw, Sequence) or len(raw) != len(asked):
            came = f"{len(raw)} answers" if isinstance(raw, Sequence) else f"a {type(raw).__name__}"
            return (
                f"{came} for {len(asked)} prompts",
                "return a list of one Segmentation a prompt, in their order",
            )
        for answer in raw:
            if found := wrong_mask(answer, scene.image.grid.shape, segmentation=True):
                return found
        return None


class Automatic(OfImages):
    """``segment_image(image, structures)``."""

    methods: ClassVar[tuple[str, ...]] = ("segment_image",)
    names: ClassVar[tuple[str, ...]] = ("ball",)

    def given(self, scene: Scene) -> dict[str, Any]:
        """Image and names."""
        return {"image": scene.copy().image, "structures": self.names}

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The label array, mapping or structures that came."""
        return self.model.segment_image(given["image"], given["structures"])

    def parts(self, raw: Any) -> list[Any]:
        """The labels; or one mask a name."""
        if isinstance(raw, Mapping):
            return list(raw.values())
        return [raw.array] if hasattr(raw, "array") else [raw]

    def wrong(self, scene: Scene, raw: Any) -> str | tuple[str, str] | None:
        """Label values >= 0, or masks by name, of the image's shape."""
        shape = scene.image.grid.shape
        if isinstance(raw, Mapping):
            found = (wrong_mask(mask, shape) for mask in raw.values())
            return next((wrong for wrong in found if wrong), None)
        [array] = [to_numpy(part) for part in self.parts(raw)]
        if array.shape != shape:
            return f"an array of shape {array.shape}, the image's spatial shape is {shape}", resized(
                array.shape, shape
            )
        if array.dtype.kind not in "iub" or array.min(initial=0) < 0:
            return (
                f"an array of {array.dtype} in [{array.min():g}, {array.max():g}]",
                "return label values >= 0 (argmax and threshold in the adapter), or {structure: bool mask}",
            )
        return None


class Adaptable(Automatic):
    """Also ``module``, ``tensor(image)`` and ``with_module(module)``."""

    methods = ("segment_image", "tensor", "with_module")


def wrong_mask(value: Any, shape: tuple[int, ...], segmentation: bool = False) -> tuple[str, str] | None:
    """What is wrong with a mask (or a ``Segmentation``), by the tasks' own check, and how to mend it."""
    try:
        (checked_segmentation if segmentation else checked_mask)(value, shape)
    except ModelFailure as error:
        return str(error), _mend(
            value.mask if segmentation and hasattr(value, "mask") else value, shape, str(error)
        )
    return None


def _mend(mask: Any, shape: tuple[int, ...], why: str) -> str:
    array: Mask = to_numpy(mask)
    if array.ndim and array.shape != shape:
        return resized(array.shape, shape)
    if why.startswith("probabilities"):
        return "probabilities are floats in [0, 1] of the image's shape, without NaN: look at softmax, overflow, division by 0"
    return "one Segmentation(mask) a prompt, bool, of the image's spatial shape: threshold in the adapter"


def resized(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """How to mend a shape."""
    return TRANSPOSE if given == wanted[::-1] else RESIZE
