"""SAM-Med2D's claim in miniature: adapters fine-tuned on medical slices beat the same SAM before; see sam_med2d.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import Claim, evaluated, last_rounds, trained

if TYPE_CHECKING:
    import pandas as pd


def run(claim: Claim, seed: int, folder: Path) -> pd.DataFrame:
    """Train a tiny SAM on natural-like pictures, fine-tune it in two ways, ask all on held-out windows."""
    config = claim.config
    common = {**config["training"], "seed": seed, "device": "cpu"}
    heads = config["network"]["decoder_num_heads"]
    weights: Path | None = None
    for name, stage in config["before"].items():
        begin = {"sizes": config["network"]} if weights is None else _from(weights, heads)
        weights = trained("sam-med2d", {**common, **begin, **stage, "trainable": "all"}, folder / name)
    assert weights is not None
    tuned = {
        kind: trained(
            "sam-med2d",
            {**common, **_from(weights, heads), **config["after"], "trainable": kind},
            folder / kind,
        )
        for kind in ("adapter", "decoder")
    }
    model = {"adapter": "sam-med2d", "device": "cpu", "decoder_num_heads": heads}
    suite = {
        "name": f"SAM-Med2D in miniature, seed {seed}",
        "seed": seed,
        "datasets": {"held-out": config["held_out"]},
        "models": {
            "zero-shot": {**model, "checkpoint": str(weights)},
            "decoder": {**model, "checkpoint": str(tuned["decoder"])},
            "adapter": {**model, "checkpoint": str(tuned["adapter"])},
            "adapter-dropped": {**model, "checkpoint": str(tuned["adapter"]), "encoder_adapter": False},
        },
        "tasks": [{"task": "prompted-segmentation", "metrics": ["dice"], **config["asked"]}],
    }
    return last_rounds(evaluated(suite, folder / "run"), "dice")


def _from(weights: Path, heads: int) -> dict[str, Any]:
    return {"checkpoint": str(weights), "sizes": {"decoder_num_heads": heads}}
