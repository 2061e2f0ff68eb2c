"""Models of whole studies: a probability (``classify``), or a level of urgency (``triage``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medeval.conformance import scenes
from medeval.conformance.subjects import Subject, frozen
from medeval.plugins import build, resolve
from medeval.tasks.classification import Classification
from medeval.types import Case, Image, ModelFailure

FIRST = 3


@dataclass(frozen=True, eq=False)
class Study:
    """One case's inputs, by field."""

    name: str
    inputs: Mapping[str, Any]


class OfStudies(Subject):
    """One call of one method with a case's inputs: the dataset's of ``data``, else an image and a report."""

    def scenes(self, ndim: int) -> list[Any]:
        """The first cases of ``data``, or the images that segmentation is checked on, each with a report."""
        if self.recipe.data is not None:
            return [Study(case.id, case.inputs) for case in first_cases(self.recipe.data, self.recipe.base)]
        shown = scenes.scenes(2)
        return [
            Study(s.name, {"image": s.image, "text": f"A picture of {s.name} with {len(s.truths)} balls."})
            for s in shown
        ]

    def given(self, scene: Study) -> dict[str, Any]:
        """The inputs, arrays of the model's own."""
        return {"inputs": {name: _own(value) for name, value in scene.inputs.items()}}

    def ask(self, given: Mapping[str, Any]) -> Any:
        """What the method returns."""
        [method] = self.methods
        return getattr(self.model, method)(given["inputs"])

    def parts(self, raw: Any) -> list[Any]:
        """The answer's text or number."""
        return [np.frombuffer(str(frozen(raw)).encode(), dtype=np.uint8)]

    def another(self, scene: Study, number: int) -> Study:
        """Another image, or the same inputs where there is none."""
        image = scene.inputs.get("image")
        if not isinstance(image, Image):
            return scene
        other = scenes.another(scenes.Scene(scene.name, image), number).image
        return replace(scene, inputs={**scene.inputs, "image": other})

    def leak(self, scene: Study) -> float:
        """A channel of the image in 8 bits."""
        image = scene.inputs.get("image")
        return float(np.prod(image.grid.shape)) if isinstance(image, Image) else super().leak(scene)

    def wrong(self, scene: Study, raw: Any) -> str | tuple[str, str] | None:
        """By the protocol of the method."""
        raise NotImplementedError


class Classifying(OfStudies):
    """``classify(inputs)``: a probability; ``threshold``, if it has one, too."""

    methods = ("classify",)

    def wrong(self, scene: Study, raw: Any) -> str | tuple[str, str] | None:
        """The task's own check."""
        task = Classification.model_validate({"task": "classification"})
        for value, what in ((raw, "classify"), (getattr(self.model, "threshold", None), "threshold")):
            if value is None and what == "threshold":
                continue
            try:
                task.checked(value)
            except ModelFailure as error:
                return (
                    f"{what}: {error}",
                    "return one probability of the positive class as a float in [0, 1], not logits, not NaN",
                )
        return None


class Triaging(OfStudies):
    """``triage(inputs)``: a level."""

    methods = ("triage",)

    def wrong(self, scene: Study, raw: Any) -> str | tuple[str, str] | None:
        """A name or a position; which ones there are is the suite's affair."""
        if isinstance(raw, str) or (
            isinstance(raw, int | np.integer) and not isinstance(raw, bool) and raw >= 0
        ):
            return None
        return f"triage returned {raw!r:.80}", "return the name of a level, or its position from 0"


def first_cases(data: Mapping[str, Any], base: Any) -> list[Case]:
    """The first cases of a suite's entry of a dataset. Raises ``DatasetError`` and ``PluginError``."""
    entry = dict(data)
    dataset = build(resolve("medeval.datasets", entry.pop("format", ""), base), entry, base)
    return [dataset.read(info.id) for info in dataset.scan()[:FIRST]]


def _own(value: Any) -> Any:
    if isinstance(value, Image):
        return Image(value.array.copy(), value.grid)
    return value.copy() if isinstance(value, np.ndarray) else value
