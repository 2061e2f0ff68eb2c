"""The next image's encoding beside this image's prompts: seconds an image with and without, and how fast the encoder is.

    pytest benchmarks/perf/bench_sam_overlap.py --benchmark-json RESULTS.json -s      the small network
    pytest benchmarks/perf/bench_sam_overlap.py -m slow -s                            the full ViT-B as well

On a GPU where there is one, else on the CPU, whose cores the encoder's threads fill already: there ``encode_ahead`` is off by
default, and the ratio tells what a busy machine makes of it. Both ways give the same masks, bit for bit, which is asserted.
What the host's part of it costs is told by a stand-in for a device, which waits where a GPU would work and computes nothing:
its ratio beside the best possible one, (encode + prompts) / max(encode, prompts). The encoder's share of the
device's peak is told against a large matrix product of the same precision, measured beside it, not against a data sheet.
``bench_sam_prompts`` has the figure an image against the official way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medeval.engine.early import Early
from medeval.tasks.context import Context
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.types import Capabilities, Case, Image, Output, Prompt, Segmentation

torch = pytest.importorskip("torch")

from bench_sam_prompts import PROMPTS, SMALL, eight_structures, network  # noqa: E402

IMAGES = 6
MIDDLE = {"image_size": 256, "embed_dim": 192, "depth": 6, "num_heads": 6, "global_attn_indexes": (2, 5)}
SIZES = [
    ("small", SMALL),
    pytest.param("middle", MIDDLE, marks=pytest.mark.slow),
    pytest.param("ViT-B", {}, marks=pytest.mark.slow),
]


def several(count: int) -> list[Case]:
    """Pictures of their own, with the same discs."""
    first = eight_structures()
    image = first.inputs["image"]
    made = []
    for number in range(count):
        array = np.roll(image.array, number, axis=2)
        made.append(replace(first, id=f"discs {number}", inputs={"image": replace(image, array=array)}))
    return made


def images_in_turn(
    task: PromptedSegmentation, model: Any, cases: Sequence[Case]
) -> tuple[list[Output], dict]:
    """What a worker does with cases that have been read; the outputs, and seconds by the name of the timing."""
    reads: list[Future] = []
    for case in cases:
        reads.append(Future())
        reads[-1].set_result((case, ()))
    outputs: list[Output] = []
    seconds: dict[str, float] = {}
    left = iter(reads[1:])
    with ThreadPoolExecutor(1) as pool:
        early = Early(pool, lambda: next(left, None))
        for case in cases:
            context = Context(early=early)
            outputs += [out for out in task.predict(model, iter([case]), context) if isinstance(out, Output)]
            for timing in context.timings:
                seconds[timing.name] = seconds.get(timing.name, 0.0) + timing.seconds / len(cases)
    return outputs, seconds


def in_turns(
    task: PromptedSegmentation, model: Any, cases: Sequence[Case], found: dict[bool, list[tuple[float, dict]]]
) -> None:
    """Both ways after another, so that what else the machine does falls on both; adds seconds an image to ``found``."""
    outputs = {}
    for model.encodes_ahead, seconds in found.items():
        begin = time.perf_counter()
        outputs[model.encodes_ahead], told = images_in_turn(task, model, cases)
        seconds.append(((time.perf_counter() - begin) / len(cases), told))
    assert_same(outputs[True], outputs[False])


def assert_same(outputs: Sequence[Output], expected: Sequence[Output]) -> None:
    """Bit for bit."""
    assert [out.key for out in outputs] == [out.key for out in expected]
    for mine, other in zip(outputs, expected, strict=True):
        assert np.array_equal(mine.value.mask, other.value.mask), mine.key
        if mine.value.logits is not None:
            assert np.array_equal(mine.value.logits, other.value.logits), mine.key


@pytest.mark.parametrize(("name", "sizes"), SIZES)
def test_the_next_image_is_encoded_beside_the_prompts_of_this_one(
    benchmark: Any, tmp_path: Path, name: str, sizes: dict
) -> None:
    model, cases = network(tmp_path, sizes), several(IMAGES)
    task = PromptedSegmentation(prompts=PROMPTS, click_rule="random-in-error")
    found: dict[bool, list[tuple[float, dict]]] = {True: [], False: []}
    benchmark.pedantic(in_turns, (task, model, cases, found), rounds=5 if sizes else 2, warmup_rounds=1)
    (mine_s, told), (theirs_s, alone) = (min(seconds, key=lambda one: one[0]) for seconds in found.values())
    row = f"the next image encoded beside, {name}, {device_of(model)}"
    benchmark.extra_info.update(
        row=row, ratio=theirs_s / mine_s, ours_ms=mine_s * 1e3, theirs_ms=theirs_s * 1e3, peer="one after another"
    )  # fmt: skip
    print(
        f"\n{row}: {mine_s * 1e3:.1f} ms an image, one after another {theirs_s * 1e3:.1f} ms, ratio "
        f"{theirs_s / mine_s:.2f}; encode {alone['encode'] * 1e3:.1f} ms alone, {told['encode'] * 1e3:.1f} ms beside, of "
        f"which waited for {told.get('encode waited', 0.0) * 1e3:.1f} ms"
    )


class Device:
    """A stand-in for a model on a GPU: so many seconds of waiting a call, as the host would wait; answers nothing."""

    takes = Capabilities(prompts=frozenset({"box", "points"}))
    encodes_ahead = False
    encode_s, segment_s = 0.12, 0.02

    def encode(self, image: Image) -> tuple[int, ...]:
        """The image's shape."""
        time.sleep(self.encode_s)
        return image.grid.shape

    def segment(self, encoded: tuple[int, ...], prompts: Sequence[Prompt]) -> list[Segmentation]:
        """Empty masks."""
        time.sleep(self.segment_s)
        return [Segmentation(np.zeros(encoded, dtype=bool)) for _ in prompts]


def test_a_device_that_works_beside_the_host(benchmark: Any) -> None:
    model, cases = Device(), several(IMAGES)
    task = PromptedSegmentation(prompts=PROMPTS, click_rule="random-in-error")
    found: dict[bool, list[tuple[float, dict]]] = {True: [], False: []}
    benchmark.pedantic(in_turns, (task, model, cases, found), rounds=3)
    (mine_s, _), (theirs_s, alone) = (min(seconds, key=lambda one: one[0]) for seconds in found.values())
    best = theirs_s / max(alone["encode"], theirs_s - alone["encode"])
    row = "the next image encoded beside, a stand-in that waits"
    benchmark.extra_info.update(
        row=row, ratio=theirs_s / mine_s, ours_ms=mine_s * 1e3, theirs_ms=theirs_s * 1e3, best=best,
        peer="one after another",
    )  # fmt: skip
    print(
        f"\n{row}: {mine_s * 1e3:.1f} ms an image, one after another {theirs_s * 1e3:.1f} ms, ratio "
        f"{theirs_s / mine_s:.2f} of {best:.2f} that is possible"
    )


@pytest.mark.parametrize(("name", "sizes"), SIZES)
def test_the_encoder_against_a_large_matrix_product(tmp_path: Path, name: str, sizes: dict) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = network(tmp_path, sizes, precision="auto")
    image = eight_structures().inputs["image"]
    with FlopCounterMode(display=False) as counter:
        model.encode(image)
    flops = counter.get_total_flops()
    assert flops > 0
    seconds, _ = least(lambda: model.encode(image), 5)
    peak = product_rate(model)
    print(
        f"\nencoder, {name}, {device_of(model)}, {model._dtype or torch.float32}: {flops / 1e9:.3g} GFLOP in "
        f"{seconds * 1e3:.1f} ms = {flops / seconds / 1e9:.3g} GFLOP/s, {flops / seconds / peak:.1%} of a large matrix "
        f"product's {peak / 1e9:.0f}; the picture's preparation and its way to the device included"
    )


def product_rate(model: Any) -> float:
    """FLOP a second of a large product of square matrices on the model's device, in its precision."""
    side = 8192 if model._device.type == "cuda" else 1024
    matrix = torch.randn(side, side, device=model._device, dtype=model._dtype or torch.float32)

    def product() -> None:
        torch.mm(matrix, matrix)
        if model._device.type == "cuda":
            torch.cuda.synchronize(model._device)

    seconds, _ = least(product, 10)
    return 2 * side**3 / seconds


def device_of(model: Any) -> str:
    """The GPU's name, or the number of CPU threads."""
    if model._device.type == "cuda":
        return torch.cuda.get_device_name(model._device)
    return f"CPU, {torch.get_num_threads()} threads"


def least(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """(seconds of the fastest of so many calls after one more, the last call's value)."""
    value, found = work(), float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        value = work()
        found = min(found, time.perf_counter() - begin)
    return found, value
