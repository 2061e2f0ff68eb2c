"""What must come out the same: again, in another batch, after another image, in a new model, in another process."""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence

import numpy as np

from medeval.conformance.findings import check
from medeval.conformance.scenes import Scene, another
from medeval.conformance.subjects import Mask, Promptable, Subject, same
from medeval.tasks.masks import to_numpy

ROUNDING = 1e-3  # share of voxels that may flip when a network's batch size changes
WARM_UP, BLOCK, BLOCKS = 4, 3, 3
LEAK = 1.0  # of a mask's bytes, kept an image, in every block


@check(
    "determinism", "seed the randomness from the input, or take it out of inference (dropout: call eval())"
)
def determinism(subject: Subject, scenes: list[Scene]) -> str | None:
    """The same image and prompts, asked four times in a row, give the same masks."""
    first = subject.masks(scenes[0].copy())
    differ = [_differing(first, subject.masks(scenes[0].copy())) for _ in range(3)]
    return f"the same question gave other masks ({max(differ)} voxels)" if any(differ) else None


@check(
    "batch invariance", "answer each prompt of a batch by itself: no statistics and no state over the batch"
)
def batch_invariance(subject: Subject, scenes: list[Scene]) -> str | None:
    """One by one and in reverse, prompts get the masks that they get together."""
    if not isinstance(subject, Promptable):
        return None
    scene = scenes[0]
    prompts = scene.prompts(subject.takes)
    together = [to_numpy(a.mask) for a in subject.ask(scene.copy(), prompts)]
    backwards = [to_numpy(a.mask) for a in subject.ask(scene.copy(), prompts[::-1])][::-1]
    singly = [to_numpy(subject.ask(scene.copy(), [p])[0].mask) for p in prompts]
    for name, other in (("in reverse order", backwards), ("one by one", singly)):
        if not same(together, other, ROUNDING):
            return f"asked {name}, the masks are others ({_differing(together, other)} voxels)"
    return None


@check(
    "no hidden state",
    "keep nothing from one image to the next: what segment needs goes through what encode returns",
)
def no_hidden_state(subject: Subject, scenes: list[Scene]) -> str | None:
    """After other images, and in a new model that saw none, an image gets the same masks."""
    used, new = subject.fresh(), subject.fresh()
    for number in range(2):
        used.masks(another(scenes[0], number))
    if not same(used.masks(scenes[0].copy()), new.masks(scenes[0].copy())):
        return "after other images the same image gets other masks"
    if isinstance(used, Promptable):
        kept = used.model.encode(scenes[0].copy().image)
        used.masks(another(scenes[0], 9))
        later = used.model.segment(kept, scenes[0].prompts(used.takes))
        if not same([to_numpy(a.mask) for a in later], new.masks(scenes[0].copy())):
            return "what encode returned gives other masks once another image was encoded"
    return None


@check(
    "another process",
    "build the whole model from its options: workers build their own, nothing is sent to them",
)
def another_process(subject: Subject, scenes: list[Scene]) -> str | None:
    """A model that a new Python process builds from the same options gives the same masks."""
    recipe = subject.recipe
    request = {
        "reference": recipe.reference, "options": dict(recipe.options), "base": str(recipe.base or ""),
        "protocol": type(subject).__name__, "ndim": scenes[0].image.ndim,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "medeval.conformance.elsewhere"], input=json.dumps(request), text=True, capture_output=True
    )  # fmt: skip
    if done.returncode:
        return f"another process cannot build or ask it: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    if done.stdout.strip().splitlines()[-1] != digest(subject.masks(scenes[0].copy())):
        return "a model that another process built from the same options gives other masks"
    return None


@check("memory", "keep no images, masks or tensors beyond the call (under torch: inference_mode, detach)")
def memory(subject: Subject, scenes: list[Scene]) -> str | None:
    """Python's and torch's memory stops growing after some images, each another one."""
    single = scenes[0].first()
    images = [another(single, number) for number in range(WARM_UP + BLOCK * BLOCKS)]
    least = LEAK * np.prod(scenes[0].image.grid.shape) * BLOCK
    tracemalloc.start()
    try:
        for image in images[:WARM_UP]:
            subject.masks(image)
        held = [_held()]
        for block in range(BLOCKS):
            for image in images[WARM_UP + block * BLOCK :][:BLOCK]:
                subject.masks(image)
            held.append(_held())
    finally:
        tracemalloc.stop()
    grown = np.diff(held)
    if (grown > least).all():
        return f"memory grows by some {int(grown.mean()) // BLOCK:,} bytes an image and is not given back"
    return None


REPEATS = (determinism, batch_invariance, no_hidden_state, another_process, memory)


def digest(masks: Sequence[Mask]) -> str:
    """A hash of masks, for the comparison between processes."""
    state = hashlib.sha256()
    for mask in masks:
        state.update(str(mask.shape).encode() + np.ascontiguousarray(mask).astype(np.int64).tobytes())
    return state.hexdigest()


def _differing(first: Sequence[Mask], second: Sequence[Mask]) -> int:
    return max(
        (
            int(np.count_nonzero(a != b)) if a.shape == b.shape else a.size
            for a, b in zip(first, second, strict=True)
        ),
        default=0,
    )


def _held() -> int:
    """Bytes that Python (numpy among it) has allocated, and those of live torch tensors on any device."""
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    torch = sys.modules.get("torch")
    if torch is not None:
        tensors = (thing for thing in gc.get_objects() if type(thing) is torch.Tensor)
        held += sum(tensor.nelement() * tensor.element_size() for tensor in tensors)
    return held
