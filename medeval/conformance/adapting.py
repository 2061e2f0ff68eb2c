"""Methods of source-free adaptation (``fit``, ``save``, ``load``, ``start``), on a small network; and models to be adapted."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medeval.conformance.contract import named
from medeval.conformance.findings import Found, check
from medeval.conformance.scenes import Scene
from medeval.conformance.segmenting import Adaptable
from medeval.conformance.subjects import Subject, frozen, same
from medeval.tasks.masks import to_numpy
from medeval.types import rng

CLASSES = 3


@dataclass(frozen=True, eq=False)
class Target:
    """Images of a target domain: count tensors of (slices, 1, *sides)."""

    name: str
    sides: tuple[int, int]
    count: int = 2
    slices: int = 2
    draw: int = 0

    def images(self) -> list[Any]:
        """float32 tensors."""
        import torch

        shape = (self.slices, 1, *self.sides)
        drawn = [
            rng("conformance", self.name, self.draw, number).normal(0, 1, shape)
            for number in range(self.count)
        ]
        return [torch.from_numpy(array.astype(np.float32)) for array in drawn]

    def labels(self) -> list[Any]:
        """Class numbers (slices, *sides), for the supervised ceiling."""
        import torch

        return [torch.from_numpy((to_numpy(image)[:, 0] > 0).astype(np.int64)) for image in self.images()]


class Adapting(Subject):
    """A method: asked to adapt a small network, whose logits on the target are the answer."""

    methods = ("fit", "save", "load")

    def scenes(self, ndim: int) -> list[Any]:
        """A square target domain, and one of odd sides."""
        return [
            Target("two images of 2 x 16 x 16", (16, 16)),
            Target("odd sides, two images of 3 x 13 x 22", (13, 22), slices=3),
        ]

    def another(self, scene: Target, number: int) -> Target:
        """Other images of the same size."""
        return Target(scene.name, scene.sides, scene.count, scene.slices, number + 1)

    def given(self, scene: Target) -> dict[str, Any]:
        """Network, images and, for a method that trains on them, labels."""
        labels = scene.labels() if getattr(self.model, "uses_labels", False) else None
        return {"model": network(), "target_images": scene.images(), "labels": labels}

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The adapted network's logits."""
        adapted = self.model.fit(
            given["model"], given["target_images"], labels=given["labels"], seed=0, checkpoint=None
        )
        return logits(adapted, given["target_images"][0])

    def parts(self, raw: Any) -> list[Any]:
        """The logits."""
        return [raw]

    def wrong(self, scene: Target, raw: Any) -> str | tuple[str, str] | None:
        """Logits of the source network's shape, all finite."""
        array = to_numpy(raw)
        wanted = (scene.slices, CLASSES, *scene.sides)
        if array.shape != wanted:
            return (
                f"the adapted network gives {array.shape}",
                f"fit returns a network that gives logits {wanted} as the source does",
            )
        if not np.isfinite(array).all():
            return (
                "the adapted network gives NaN or infinite logits",
                "stop before a loss that is not finite; lower the learning rate",
            )
        return None

    def leak(self, scene: Target) -> float:
        """The images' bytes."""
        return float(scene.count * scene.slices * np.prod(scene.sides) * 4)


@check(
    "other sizes",
    "take images of any size: pad and crop inside the method",
    of=Adapting,
    needs=("answers",),
)
def other_sizes(subject: Adapting, scenes: list[Target]) -> Found:
    """Target images of odd sides are adapted to."""
    return next(
        (
            found
            for scene in scenes[1:]
            if (found := named(scene, subject.wrong(scene, subject.answer(scene))))
        ),
        None,
    )


@check(
    "kept",
    "save all that load needs: weights, running statistics and what the method added",
    of=Adapting,
    needs=("answers",),
)
def kept(subject: Adapting, scenes: list[Target]) -> Found:
    """What was saved and loaded again gives the same logits."""
    given = subject.given(scenes[0])
    image = given["target_images"][0]
    adapted = subject.model.fit(
        given["model"], given["target_images"], labels=given["labels"], seed=0, checkpoint=None
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stage-1.safetensors"
        subject.model.save(adapted, path)
        again = subject.model.load(network(), path)
    pair = [to_numpy(logits(made, image)) for made in (adapted, again)]
    return None if same(pair[:1], pair[1:]) else "a network that was saved and loaded gives other logits"


@check(
    "at test time",
    "start returns an object with adapt(images, steps), module and reset(): back to the source",
    of=Adapting,
)
def online(subject: Adapting, scenes: list[Target]) -> Found:
    """For a method that says ``online``: it adapts, leaves the source as it was, and ``reset`` goes back to it."""
    if not getattr(subject.model, "online", False):
        return None
    source, images = network(), scenes[0].images()
    before = frozen(source)
    started = subject.model.start(source, seed=0)
    first = to_numpy(logits(started.module, images[0]))
    started.adapt(images, 2)
    if not np.isfinite(to_numpy(logits(started.module, images[0]))).all():
        return "after two steps the logits are not finite"
    if frozen(source) != before:
        return "the source network was changed: adapt a copy of it"
    started.reset()
    back = to_numpy(logits(started.module, images[0]))
    return None if np.array_equal(first, back) else "after reset() the logits are others than at the start"


@check(
    "adaptable",
    "with_module(module) is the same model around another network, and leaves this one as it is",
    of=Adaptable,
    needs=("answers", "determinism", "no hidden state"),
)
def adaptable(subject: Adaptable, scenes: list[Scene]) -> Found:
    """``module`` is a network, ``tensor`` what it sees; around a copy of it the model answers the same, and stays itself."""
    import copy

    subject, scene = type(subject)(subject.recipe), scenes[0]  # a model of its own, which may be spoilt
    model = subject.model
    module = model.module
    if not callable(getattr(module, "state_dict", None)):
        return (
            f"`module` is a {type(module).__name__}; the torch.nn.Module that adaptation may copy is expected"
        )
    seen = model.tensor(scene.copy().image)
    if getattr(seen, "ndim", 0) not in (4, 5):
        return f"`tensor` gave {getattr(seen, 'shape', type(seen).__name__)}; a tensor (N, C, *spatial) is expected"
    before = subject.masks(scene)
    other = copy.deepcopy(module)
    there = [
        to_numpy(p)
        for p in subject.parts(model.with_module(other).segment_image(scene.copy().image, subject.names))
    ]
    if not same(before, there):
        return "around a copy of its own network the model gives other masks"
    for parameter in other.parameters():
        parameter.data.zero_()
    model.with_module(other).segment_image(scene.copy().image, subject.names)
    return (
        None
        if same(before, subject.masks(scene))
        else "another network, put in by with_module, changed this model"
    )


def network() -> Any:
    """A small seeded network with an encoder, batch norm, dropout, a decoder and a head; logits of three classes."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))
        decoder = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        made = nn.Sequential()
        for name, part in (("encoder", encoder), ("decoder", decoder), ("head", nn.Conv2d(6, CLASSES, 1))):
            made.add_module(name, part)
    return made.eval()


def logits(module: Any, images: Any) -> Any:
    """What a network gives for images, in evaluation mode, without gradients."""
    import torch

    with torch.no_grad():
        out = module.eval()(images)
    return out[0] if isinstance(out, list | tuple) else out
