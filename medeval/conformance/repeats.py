"""What must come out the same: again, after other questions, in a new model; and memory that must stop growing."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Any

import numpy as np

from medeval.conformance.findings import Found, Told, check
from medeval.conformance.subjects import Subject, differing, same

WARM_UP, BLOCK, BLOCKS = 4, 3, 3
AGAIN = 3


@check(
    "determinism", "seed the randomness from the input, or take it out of inference (dropout: call eval())"
)
def determinism(subject: Subject, scenes: list[Any]) -> Found:
    """The same question, asked again, gets the same answer; or a new model gives the same series of answers.

    The latter is a matter of state and not of chance: ``no hidden state`` finds it.
    """
    scene = subject.brief(scenes[0])
    first = subject.masks(scene)
    differ = [differing(first, subject.masks(scene)) for _ in range(AGAIN)]
    if not any(differ):
        return None
    series = [[made.masks(scene) for _ in range(AGAIN)] for made in (subject.fresh(), subject.fresh())]
    if all(same(one, other) for one, other in zip(*series, strict=True)):
        return None
    if subject.sampled:
        return Told("replies are drawn by chance: a run is repeatable with `temperature: 0` or a seed")
    return f"the same question got other answers ({max(differ)} {subject.unit})"


@check(
    "no hidden state",
    "keep nothing from one image to the next: what an answer needs comes with its question",
    needs=("determinism",),
)
def no_hidden_state(subject: Subject, scenes: list[Any]) -> Found:
    """After other questions, and in a new model that saw none, a question gets the same answer."""
    scene = subject.brief(scenes[0])
    new = subject.fresh()
    first = new.masks(scene)
    if not same(first, new.masks(scene)):
        return "the same question, asked again, gets another answer"
    for number in range(2):
        new.masks(subject.another(scene, number))
    later = new.masks(scene)
    if not same(first, later):
        return f"after other images the same question gets another answer ({differing(first, later)} {subject.unit})"
    return None


@check("memory", "keep no images, masks or tensors beyond the call (under torch: inference_mode, detach)")
def memory(subject: Subject, scenes: list[Any]) -> Found:
    """Python's and torch's memory stops growing after some questions, each another one."""
    if subject.costly:
        return Told("not measured: a question may cost money")
    single = subject.brief(scenes[0])
    asked = [subject.another(single, number) for number in range(WARM_UP + BLOCK * BLOCKS)]
    least = subject.leak(single) * BLOCK
    gc.collect()
    gc.freeze()  # what was there before is no leak, and need not be gone through again and again
    tracemalloc.start()
    try:
        for scene in asked[:WARM_UP]:
            subject.masks(scene)
        held = [_held()]
        for block in range(BLOCKS):
            for scene in asked[WARM_UP + block * BLOCK :][:BLOCK]:
                subject.masks(scene)
            held.append(_held())
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    grown = np.diff(held)
    if (grown > least).all():
        return f"memory grows by some {int(grown.mean()) // BLOCK:,} bytes an image and is not given back"
    return None


def _held() -> int:
    """Bytes that Python (numpy among it) has allocated, and those of live torch tensors on any device."""
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    torch = sys.modules.get("torch")
    if torch is not None:
        tensors = (thing for thing in gc.get_objects() if type(thing) is torch.Tensor)
        held += sum(tensor.nelement() * tensor.element_size() for tensor in tensors)
    return held
