"""Our segmentation metrics beside the peers', on the same work in the same process; equal values are asserted.

Every test leaves in its ``extra_info`` the ratio (peer's time / ours, so larger is better) that ``ratios.py`` prints
and checks. No wall time is asserted. Peers get masks that were made beforehand; ours start from the label maps where
the work is two label maps, unless the name says ``crop``: then both get the same cropped masks.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import PEERS, Peer
from works import Work, abdomen, adversarial, real_ct, slices

from medeval.metrics import compare_label_maps, compare_masks, kernels, mask_pairs

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ["dice", "hd", "hd95", "assd", "nsd@1mm", "nsd@2mm"]
SURFEL = ["dice", "hd:surfel", "hd95:surfel", "masd:surfel", "nsd@1mm", "nsd@2mm"]
THREE = (2, 4, 9)  # a kidney, a spleen, an adrenal of work (b)


@cache
def work(name: str) -> Work:
    """A work, made once a session."""
    made = {"a": real_ct, "b": abdomen, "c": slices}[name]()
    if made is None:
        pytest.skip("the real CT is not in ../shared/data")
    return made


def seconds(call: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Least time of some rounds, and the last result."""
    least = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        least = min(least, time.perf_counter() - start)
    return least, result


def race(
    benchmark: Any, name: str, peer: Peer, ours: Callable[[list[str]], Any], masks: list, spacing: Any
) -> None:
    """Time both, compare every value, and note the ratio."""
    names = list(peer.call(*masks[0], spacing))
    theirs, values = seconds(lambda: [peer.call(*pair, spacing) for pair in masks], 1)
    if theirs < 2.0:
        theirs = min(theirs, seconds(lambda: [peer.call(*pair, spacing) for pair in masks], 3)[0])
    mine = benchmark.pedantic(ours, args=(names,), rounds=5, warmup_rounds=1)
    for expected, own in zip(values, mine, strict=True):
        for key in set(names) - set(peer.other):
            assert own[key] == pytest.approx(float(expected[key]), rel=peer.exact, abs=1e-6 * peer.exact), key
    least = benchmark.stats.stats.min
    note(benchmark, name, theirs / least, ours_ms=least * 1e3, theirs_ms=theirs * 1e3, peer=peer.version)


def note(benchmark: Any, name: str, ratio: float, **more: Any) -> None:
    """Leave a ratio for the table."""
    benchmark.extra_info.update(row=name, ratio=ratio, **more)


def whole(these: Work, labels: list[int]) -> list:
    return [(these.prediction == label, these.reference == label) for label in labels]


def cropped(these: Work, labels: list[int]) -> list:
    """Both masks on their joint box and one voxel more."""
    pairs = mask_pairs(these.prediction, these.reference, these.spacing, labels)
    return [tuple(np.pad(mask, 1) for mask in pairs[label].crops) for label in labels]


def scored(these: Work) -> list[int]:
    """Labels that occur in both maps: peers fail or differ on empty masks."""
    return sorted(set(np.unique(these.prediction).tolist()) & set(np.unique(these.reference).tolist()) - {0})


LABEL_MAPS = [
    ("a", "DeepMind", "whole"), ("a", "DeepMind", "crop"), ("a", "MONAI", "whole"), ("a", "MONAI", "crop"),
    ("a", "MedPy", "whole"), ("a", "MedPy", "crop"), ("a", "panoptica", "whole"), ("a", "panoptica", "crop"),
    ("a", "seg-metrics", "crop"),
    ("b, 15 organs", "DeepMind", "whole"), ("b, 15 organs", "DeepMind", "crop"),
    ("b, 3 organs", "DeepMind", "whole"), ("b, 3 organs", "MONAI", "whole"), ("b, 3 organs", "MONAI", "crop"),
    ("b, 3 organs", "MedPy", "crop"), ("b, 3 organs", "panoptica", "crop"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "peer", "view"), LABEL_MAPS)
def test_label_maps(benchmark, name, peer, view):
    these = work(name[0])
    labels = list(THREE) if "3 organs" in name else scored(these)
    masks = (whole if view == "whole" else cropped)(these, labels)

    def ours(names):
        if view == "crop":
            return [compare_masks(*pair, these.spacing, names) for pair in masks]
        return list(compare_label_maps(*these[1:3], these.spacing, labels, names, threads=1).values())

    race(benchmark, f"({name}) {peer}, {view}", PEERS[peer], ours, masks, these.spacing)


@pytest.mark.parametrize(
    ("peer", "count"), [("DeepMind", 1000), ("MONAI", 100), ("MedPy", 50), ("panoptica", 50)]
)
def test_slices(benchmark, peer, count):
    these = work("c")
    masks = list(zip(these.prediction[:count].view(bool), these.reference[:count].view(bool), strict=True))

    def ours(names):
        return [compare_masks(*pair, these.spacing, names) for pair in masks]

    race(benchmark, f"(c) {count} 2D masks, {peer}", PEERS[peer], ours, masks, these.spacing)


@pytest.mark.parametrize("these", adversarial(), ids=lambda these: these.name)
def test_adversarial(benchmark, these):
    masks = [(these.prediction.view(bool), these.reference.view(bool))]

    def ours(names):
        return [compare_masks(*masks[0], these.spacing, names)]

    race(benchmark, f"adversarial: {these.name}, DeepMind", PEERS["DeepMind"], ours, masks, these.spacing)


def test_two_threads(benchmark):
    """All labels of (b) on two cores against one."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only")
    these = work("b")

    def ours(threads):
        return compare_label_maps(*these[1:3], these.spacing, None, SURFEL, threads)

    one, expected = seconds(lambda: ours(1), 8)
    assert benchmark.pedantic(ours, args=(2,), rounds=8, warmup_rounds=1) == expected
    two = benchmark.stats.stats.min
    note(
        benchmark,
        "(b) two threads against one",
        one / two,
        ours_ms=two * 1e3,
        theirs_ms=one * 1e3,
        peer="ourselves",
    )


@pytest.mark.parametrize("name", ["a", "b"])
def test_reading_both_maps(benchmark, name):
    """How far from one read of both maps at memory speed (a ratio below 1: the share of our time that it takes)."""
    these = work(name)
    maps = [m.reshape(-1)[: m.size // 8 * 8].view(np.uint64) for m in these[1:3]]
    floor, _ = seconds(lambda: [m.max() for m in maps], 10)
    scan, _ = seconds(lambda: kernels.scan(*these[1:3], 256), 5)
    benchmark.pedantic(
        lambda: compare_label_maps(*these[1:3], these.spacing, None, SURFEL, 1), rounds=5, warmup_rounds=1
    )
    least = benchmark.stats.stats.min
    note(benchmark, f"({name}) one read of both maps", floor / least, ours_ms=least * 1e3, theirs_ms=floor * 1e3,
         peer="memory", scan_ms=scan * 1e3)  # fmt: skip


def test_both_surfaces_at_once(benchmark):
    """Our default names need border voxels and surface elements; still one bundle against DeepMind's."""
    these = work("b")
    labels = scored(these)
    theirs, _ = seconds(
        lambda: [PEERS["DeepMind"].call(*pair, these.spacing) for pair in whole(these, labels)], 1
    )
    benchmark.pedantic(
        lambda: compare_label_maps(*these[1:3], these.spacing, labels, BUNDLE, 1), rounds=5, warmup_rounds=1
    )
    least = benchmark.stats.stats.min
    note(benchmark, "(b, 15 organs) default names, DeepMind", theirs / least, ours_ms=least * 1e3,
         theirs_ms=theirs * 1e3, peer=PEERS["DeepMind"].version)  # fmt: skip


CHILD = """
import sys, time
import numpy as np
maps = [np.load(p) for p in sys.argv[1:3]]
for m in maps: m.max()
def peak():  # kB; ru_maxrss would count the parent's pages of before exec
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
before = peak()
start = time.perf_counter()
import medeval.metrics as metrics
imported = time.perf_counter()
call = lambda: metrics.compare_label_maps(*maps, (0.8, 0.8, 2.5), None, sys.argv[3:], 1)
call(); first = time.perf_counter()
call(); second = time.perf_counter()
print(imported - start, first - imported, second - first, (peak() - before) * 1024 / sum(m.nbytes for m in maps) + 1)
"""


def test_cold_call_and_memory(benchmark, tmp_path):
    """A fresh process: import, first and second call on (b), and its peak memory in sizes of both maps."""
    these = work("b")
    paths = [tmp_path / "prediction.npy", tmp_path / "reference.npy"]
    for path, array in zip(paths, these[1:3], strict=True):
        np.save(path, array)
    command = [sys.executable, "-c", CHILD, *map(str, paths), *SURFEL]

    def child():
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    out = benchmark.pedantic(child, rounds=1)
    imported, first, second, peak = (float(v) for v in out.split())
    assert peak <= 3.0  # the maps, scipy's import included, and all that a call takes
    note(benchmark, "(b) warm against cold call", first / second, ours_ms=second * 1e3, theirs_ms=first * 1e3,
         peer="ourselves", import_ms=imported * 1e3, peak_in_maps=peak)  # fmt: skip
