"""Further bugs that people plant in good faith: where each is, and which check is for it, stands in ``FOUND``."""

from __future__ import annotations

import asyncio
import copy
import os
from dataclasses import replace

import numpy as np
from planted import RegionGrowing, Slicewise, TorchSegmenter, plant

from medeval.dialogue.turns import Turn
from medeval.types import Image, Key, Segmentation
from medeval_adapters.oracle import Oracle
from medeval_models.adaptation import MeanTeacher, SourceOnly, Tent


class MillimetrePrompts:
    """Boxes and points are multiplied by the spacing."""

    def before(self, image):
        self._spacing = np.array(image.grid.spacing)
        return image

    def asked(self, prompts):
        def scaled(array):
            return None if array is None else (array * self._spacing).astype(np.int64)

        return [replace(prompt, box=scaled(prompt.box), points=scaled(prompt.points)) for prompt in prompts]


class SeedsEverything:
    def after(self, mask):
        np.random.seed(0)
        return mask


class RaisesOnDivision:
    def before(self, image):
        np.seterr(divide="raise")
        return image


class NoMoreGradients:
    def before(self, image):
        import torch

        torch.set_grad_enabled(False)
        return image


class OneThread:
    def before(self, image):
        import torch

        torch.set_num_threads(torch.get_num_threads() + 1)
        return image


class DoubleByDefault:
    def before(self, image):
        import torch

        torch.set_default_dtype(torch.float64)
        return image


class SameBuffer:
    """Every answer is written into one array."""

    def after(self, mask):
        if not hasattr(self, "_buffer") or self._buffer.shape != mask.shape:
            self._buffer = np.empty_like(mask)
        self._buffer[:] = mask
        return self._buffer


class Overflow:
    """Contrast is stretched in the image's own integers."""

    def before(self, image):
        return Image(image.array * np.array(4, image.array.dtype), image.grid)


class FirstOfBatchLeads:
    """A mask depends on how the batch begins."""

    def segment(self, encoded, prompts):
        answers = super().segment(encoded, prompts)
        return [replace(answer, mask=answer.mask | answers[0].mask) for answer in answers]


class NaNProbabilities:
    def segment(self, encoded, prompts):
        answers = super().segment(encoded, prompts)
        return [Segmentation(a.mask, probabilities=np.where(a.mask, np.nan, 0.0)) for a in answers]


class NetworkSize:
    """The mask is left as large as what the network sees."""

    def after(self, mask):
        return np.resize(mask, (64,) * mask.ndim)


class LeavesFiles:
    def before(self, image):
        with open("last_image.npy", "wb") as out:
            np.save(out, image.array)
        return image


class NegativeIndex:
    """A box that sticks out begins at the image's other end."""

    def asked(self, prompts):
        return [
            p if p.box is None or (p.box >= 0).all() else replace(p, box=np.full_like(p.box, 90))
            for p in prompts
        ]


class DividesByRange:
    def before(self, image):
        low, high = float(image.array.min()), float(image.array.max())
        return Image((image.array - low) * (1 / (high - low)), image.grid)


class OneRoundOnly:
    """Takes the logits of the last round for an image's."""

    def asked(self, prompts):
        for prompt in prompts:
            if prompt.mask is not None and prompt.points is not None:
                assert prompt.logits.shape == prompt.mask.shape
        return prompts


class EncodesIntoItself:
    """What segment needs lies in the model."""

    def encode(self, image):
        self._last = super().encode(image)

    def segment(self, encoded, prompts):
        return super().segment(self._last, prompts)


class Mirrored:
    """Comes back from another orientation by the wrong flip."""

    def after(self, mask):
        return mask[:, ::-1].copy()


class PerProcess:
    """What it answers was drawn when its process began."""

    def after(self, mask):
        return mask ^ (np.random.default_rng(os.getpid()).random(mask.shape) < 0.05)


class TakesOver:
    """with_module puts the network into the model itself."""

    def with_module(self, module):
        self._network = module
        return self


class Logits:
    def classify(self, inputs):
        return 3.2


class KeepsScores:
    """Smooths by the last study's score."""

    def classify(self, inputs):
        now = float(np.clip(inputs["image"].array.mean(), 0, 1))
        self._last = 0.5 * getattr(self, "_last", now) + 0.5 * now
        return self._last


class NegativeLevel:
    def triage(self, inputs):
        return -1


class Plain:
    """Forgot that ask is a coroutine."""

    def ask(self, messages, *, sample=0):
        return "B"


class OneConversation:
    """Keeps the conversation in itself while others are held."""

    async def ask(self, messages, *, sample=0):
        self._last = messages[-1]["content"]
        await asyncio.sleep(0.01)
        return self._last


class FirstWordOnly:
    """Knows conversations of one message."""

    async def ask(self, messages, *, sample=0):
        [message] = messages
        return message["content"].split()[0]


class EmptyGrade:
    async def ask_object(self, messages, form, *, sample=0):
        return {"criteria_met": True}


class DoctorsTurn:
    """A patient who speaks as the doctor."""

    def patient(self, view):
        return self

    def opening(self):
        return "It hurts."

    async def answer(self, doctor, turns):
        return Turn(len(turns) + 1, "doctor", "No.")


class Stranger(Oracle):
    def output(self, case, key: Key):
        known = dict.fromkeys(("conformance-2d", "conformance-3d"), 0)
        return super().output(case, key) if known[case.id] == 0 else None


class Trains(Tent):
    """Adapts the source network itself."""

    def fit(self, model, target_images, **more):
        adapted = super().fit(model, target_images, **more)
        model.load_state_dict(adapted.state_dict(), strict=False)
        return adapted


class EvenSides(SourceOnly):
    """Takes images apart into halves."""

    def fit(self, model, target_images, **more):
        for image in target_images:
            if image.shape[-1] % 4:
                raise ValueError("sides must be multiples of 4")
        return super().fit(model, target_images, **more)


class ForgetsStatistics(MeanTeacher):
    def save(self, adapted, path):
        kept = copy.deepcopy(adapted)
        for layer in kept.modules():
            if hasattr(layer, "running_mean"):
                layer.running_mean.zero_()
        super().save(kept, path)


class Unseeded(SourceOnly):
    def fit(self, model, target_images, **more):
        import torch

        adapted = super().fit(model, target_images, **more)
        with torch.no_grad():
            for weight in adapted.parameters():
                weight.add_(0.1 * torch.from_numpy(np.random.default_rng().normal(size=weight.shape)).float())
        return adapted


class NeverBack(Tent):
    """reset() does nothing."""

    def start(self, model, *, seed=0):
        online = super().start(model, seed=seed)
        online.reset = lambda: None
        return online


FOUND = [
    (MillimetrePrompts, RegionGrowing, "spacing"), (MillimetrePrompts, Slicewise, "spacing"),
    (SeedsEverything, RegionGrowing, "process untouched"), (SeedsEverything, TorchSegmenter, "process untouched"),
    (RaisesOnDivision, RegionGrowing, "process untouched"), (NoMoreGradients, TorchSegmenter, "process untouched"),
    (OneThread, TorchSegmenter, "process untouched"), (DoubleByDefault, TorchSegmenter, "process untouched"),
    (SameBuffer, TorchSegmenter, "own memory"), (SameBuffer, Slicewise, "own memory"),
    (Overflow, RegionGrowing, "stored types"), (Overflow, TorchSegmenter, "stored types"),
    (FirstOfBatchLeads, RegionGrowing, "batch invariance"), (FirstOfBatchLeads, Slicewise, "batch invariance"),
    (NaNProbabilities, RegionGrowing, "answers"), (NetworkSize, RegionGrowing, "answers"), (NetworkSize, TorchSegmenter, "answers"),
    (LeavesFiles, RegionGrowing, "no files"), (LeavesFiles, TorchSegmenter, "no files"),
    (NegativeIndex, RegionGrowing, "boxes at the border"), (DividesByRange, RegionGrowing, "blank image"),
    (DividesByRange, TorchSegmenter, "blank image"), (OneRoundOnly, RegionGrowing, "second round"),
    (EncodesIntoItself, RegionGrowing, "kept encodings"), (EncodesIntoItself, Slicewise, "kept encodings"),
    (Mirrored, TorchSegmenter, "axis order"), (PerProcess, RegionGrowing, "another process"),
    (TakesOver, TorchSegmenter, "adaptable"),
]  # fmt: skip
"""(bug, host, check)"""

ALONE = {
    Logits: "answers", KeepsScores: "no hidden state", NegativeLevel: "answers", Plain: "answers", OneConversation: "side by side",
    EmptyGrade: "answers", DoctorsTurn: "answers", Stranger: "unknown case", Trains: "input untouched",
    FirstWordOnly: "other questions", EvenSides: "other sizes", ForgetsStatistics: "kept", Unseeded: "determinism", NeverBack: "at test time",
}  # fmt: skip
"""Bugs that are whole models, sources or methods of their own."""

PLANTED = [(plant(bug, host), host, check) for bug, host, check in FOUND]
for made, _, _ in PLANTED:
    made.__module__ = __name__
    globals()[made.__name__] = made
