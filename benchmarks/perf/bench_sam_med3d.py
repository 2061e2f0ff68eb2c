"""SAM-Med3D on 8 structures of one patch with 5 clicks each: our adapter beside re-encoding at every click.

    pytest benchmarks/perf/bench_sam_med3d.py -o addopts= -m "not slow" --benchmark-json RESULTS.json     a small network
    pytest benchmarks/perf/bench_sam_med3d.py -o addopts= -s                                           the full one as well

The naive way is the official loop's where a user clicks: crop, normalise and encode for every structure and click, then
decode one prompt; of the full network it is timed on one structure, for all cost the same. It runs our network, clicks and logits, so the masks are the same, which is asserted; only the row
"encoder" sets the straightforward attention (every padded token a token) beside ours. Peaks are those of a process of
their own, without its imports and weights.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))  # one of the peers brings a package called `tests`

from sam_med3d.straightforward import StraightforwardEncoder  # noqa: E402

from medeval.types import Grid, Image, Prompt, Segmentation  # noqa: E402
from medeval_adapters.sam_med3d import SAMMed3D  # noqa: E402
from medeval_models import sam_med3d  # noqa: E402

SMALL = {
    "image_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 3, "num_heads": 4, "global_attn_indexes": (1,),
    "prompt_embed_dim": 48, "iou_head_hidden_dim": 64,
}  # fmt: skip
STRUCTURES, CLICKS = 8, 5
FULL = pytest.param("full", {}, marks=pytest.mark.slow)
SIZES = pytest.mark.parametrize(("name", "sizes"), [("small", SMALL), FULL])


def checkpoint(folder: Path, sizes: dict[str, Any]) -> Path:
    """Random weights in official form, with position terms that are not zero."""
    torch.manual_seed(0)
    model = sam_med3d.build(**sizes)
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    torch.save({"model_state_dict": model.state_dict()}, folder / "random.pth")
    return folder / "random.pth"


def work(side: int) -> tuple[Image, list[np.ndarray]]:
    """A volume that one patch holds, and the clicks of each structure."""
    drawn = np.random.default_rng(0)
    array = drawn.normal(80, 40, (1, side, side, side)).astype(np.int16)
    near = side // 2 + drawn.integers(-side // 8, side // 8, (STRUCTURES, CLICKS, 3))
    return Image(array, Grid((side, side, side), (1.5, 1.5, 1.5))), list(near)


def asked(session: np.ndarray, count: int, answer: Segmentation | None) -> Prompt:
    """Round ``count`` of a session."""
    logits = None if answer is None else answer.logits
    return Prompt("x", points=session[:count], labels=np.ones(count, dtype=np.int64), logits=logits)


def rounds(model: SAMMed3D, image: Image, sessions: list[np.ndarray]) -> Iterator[list[Segmentation]]:
    """Ours: one encode; a round asks for all structures together."""
    encoded = model.encode(image)
    answers: list[Segmentation] | list[None] = [None] * len(sessions)
    for count in range(1, CLICKS + 1):
        prompts = [asked(session, count, answer) for session, answer in zip(sessions, answers, strict=True)]
        answers = model.segment(encoded, prompts)
        yield answers


def ours(model: SAMMed3D, image: Image, sessions: list[np.ndarray]) -> list[Segmentation]:
    """The answers of the last round."""
    return list(rounds(model, image, sessions))[-1]


def clicks(model: SAMMed3D, image: Image, session: np.ndarray) -> Iterator[Segmentation]:
    """The naive way with one structure: encode anew for every click, ask one prompt."""
    answer = None
    for count in range(1, CLICKS + 1):
        (answer,) = model.segment(model.encode(image), [asked(session, count, answer)])
        yield answer


def naive(model: SAMMed3D, image: Image, sessions: list[np.ndarray]) -> list[Segmentation]:
    """The same for all structures, one after the other."""
    return [list(clicks(model, image, session))[-1] for session in sessions]


def timed(call: Any, *given: Any) -> tuple[float, Any]:
    """Seconds and result."""
    start = perf_counter()
    result = call(*given)
    return perf_counter() - start, result


@SIZES
@pytest.mark.parametrize(
    ("patch", "least"), [("tiled", 3.0), ("clicks", 1.5)], ids=["one patch", "a patch each"]
)
def test_five_clicks_on_eight_structures(
    benchmark: Any, tmp_path: Path, name: str, sizes: dict, patch: Any, least: float
) -> None:
    model = SAMMed3D(checkpoint=checkpoint(tmp_path, sizes), device="auto", precision="fp32", patch=patch)
    image, sessions = work(model.network.image_size)
    answers = benchmark.pedantic(
        ours, (model, image, sessions), rounds=3 if sizes else 1, warmup_rounds=bool(sizes)
    )
    some = sessions if sizes else sessions[:1]
    part, expected = timed(naive, model, image, some)
    theirs = part * len(sessions) / len(some)
    for one, other in zip(answers, expected, strict=False):
        scale = np.abs(other.logits["logits"]).max()
        assert np.abs(one.logits["logits"] - other.logits["logits"]).max() <= 1e-3 * scale
        assert np.mean(one.mask != other.mask) <= 1e-2  # random weights: logits near 0 everywhere
    mine = benchmark.stats.stats.min
    where = "one patch" if patch == "tiled" else "a patch each"
    benchmark.extra_info.update(
        row=f"{STRUCTURES} structures x {CLICKS} clicks, {where}, {name}", ratio=theirs / mine, ours_ms=mine * 1e3,
        theirs_ms=theirs * 1e3, peer="re-encoding at each click", ours_ms_a_click=mine * 1e3 / STRUCTURES / CLICKS,
    )  # fmt: skip
    print(f"\n{name}, {where}: {mine:.2f} s against {theirs:.2f} s, {theirs / mine:.1f}x")
    assert theirs / mine >= least


@SIZES
def test_the_encoder(benchmark: Any, name: str, sizes: dict) -> None:
    torch.manual_seed(0)
    encoder = sam_med3d.build(**sizes).image_encoder
    for key, parameter in encoder.named_parameters():
        if "rel_pos" in key or "pos_embed" in key:
            torch.nn.init.normal_(parameter, std=0.05)
    patch = torch.randn(1, 1, *[encoder.img_size] * 3)
    with torch.inference_mode():
        found = benchmark.pedantic(encoder, (patch,), rounds=3 if sizes else 2, warmup_rounds=1)
        theirs, expected = timed(StraightforwardEncoder(encoder), patch)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    mine = benchmark.stats.stats.min
    benchmark.extra_info.update(
        row=f"encoder, {name}", ratio=theirs / mine, ours_ms=mine * 1e3, theirs_ms=theirs * 1e3,
        peer="every padded token a token",
    )  # fmt: skip
    print(f"\n{name} encoder: {mine:.2f} s against {theirs:.2f} s, {theirs / mine:.1f}x")
    assert theirs / mine >= 5


CHILD = """
import re, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import bench_sam_med3d as bench
from pathlib import Path
kib = lambda field: int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
way = sys.argv[4]
model = bench.SAMMed3D(checkpoint=Path(sys.argv[3]), device="cpu", patch="tiled")
if way == "straightforward":
    model.network.image_encoder = bench.StraightforwardEncoder(model.network.image_encoder)
image, sessions = bench.work(model.network.image_size)
Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of reading the checkpoint, is forgotten
before = kib("VmRSS")
asked = bench.rounds(model, image, sessions) if way == "ours" else bench.clicks(model, image, sessions[0])
for round, answer in enumerate(asked):
    print((kib("VmHWM") - before) * 1024)
    if way == "straightforward":
        break  # one click tells it
"""


@pytest.mark.slow
def test_peak_memory(benchmark: Any, tmp_path: Path) -> None:
    """After each click, full size on the CPU: ours for all structures, the naive way for one, the straightforward encoder once."""
    path = checkpoint(tmp_path, {})

    def child(way: str) -> list[float]:
        command = [sys.executable, "-c", CHILD, str(ROOT), str(Path(__file__).parent), str(path), way]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [float(line) / 2**20 for line in out.split()]

    (straight,) = child("straightforward")
    again = child("naive")
    mine = benchmark.pedantic(child, ("ours",), rounds=1)
    benchmark.extra_info.update(
        row="peak memory, full", ratio=straight / mine[-1], ours_ms=0.0, theirs_ms=0.0, peer="every padded token a token",
        ours_mib=mine[-1], ours_mib_a_further_click=(mine[-1] - mine[0]) / (CLICKS - 1), naive_mib=again[-1],
        theirs_mib=straight,
    )  # fmt: skip
    print(
        f"\npeak memory above the weights, MiB after each click: ours, {STRUCTURES} structures {[round(m) for m in mine]}; "
        f"re-encoding, one structure {[round(m) for m in again]}; every padded token a token {straight:.0f}"
    )
    assert mine[-1] < straight
