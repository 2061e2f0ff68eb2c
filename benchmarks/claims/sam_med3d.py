"""One click in a volume against clicks on its slices: a 3D promptable network and a 2D one of like size, trained alike.

The suite of a seed asks the 3D network, the 2D one on the slices that are clicked, and the 2D one whose masks are handed on
from slice to slice. Its report, in the seed's folder, draws Dice against the cost of the interaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import Claim, evaluated, last_rounds, trained

if TYPE_CHECKING:
    import pandas as pd

_UNSEEN = "unseen"


def run(claim: Claim, seed: int, folder: Path) -> pd.DataFrame:
    """Train both networks, run the suite; a setting is the prompt and whether its structures were trained on."""
    config = claim.config
    weights = {name: _trained(config, name, seed, folder / name) for name in ("3d", "2d")}
    rows = last_rounds(evaluated(_suite(config, weights, seed), folder / "run"), claim.metric)
    kind = rows["item"].str.endswith(f"/{_UNSEEN}").map({True: "unseen types", False: "trained types"})
    return rows.assign(setting=rows["setting"] + ", " + kind)


def _data(config: Mapping[str, Any], seed: int, part: str) -> dict[str, Any]:
    common = {"format": "sam_med3d_phantoms:Phantoms", "world": seed, "part": part, **config["phantoms"]}
    if part == "test":
        return {**common, "count": config["test"]}
    return {**common, "count": config["train"], "kinds": config["trained on"]}


def _trained(config: Mapping[str, Any], name: str, seed: int, folder: Path) -> Path:
    options = {
        **config["training"],
        **config[name],
        "dataset": _data(config, seed, "train"),
        "seed": seed,
        "device": "cpu",
    }
    recipe = {"3d": "sam_med3d_recipes:TrainVolumes", "2d": "sam_med3d_recipes:TrainSlices"}[name]
    return trained(recipe, options, folder)


def _suite(config: Mapping[str, Any], weights: Mapping[str, Path], seed: int) -> dict[str, Any]:
    heads = {
        "decoder_num_heads": config["3d"]["sizes"]["decoder_num_heads"],
        "device": "cpu",
        "precision": "fp32",
    }
    sliced = {
        "adapter": "slicewise", "model": "sam", "checkpoint": str(weights["2d"]), "axis": "axial", "follow": "point",
        "options": {**heads, "multimask": "never"},
    }  # fmt: skip
    return {
        "name": "sam-med3d-claim",
        "seed": seed,
        "datasets": {"phantoms": _data(config, seed, "test")},
        "models": {
            "3d": {"adapter": "sam-med3d", "checkpoint": str(weights["3d"]), "patch": "tiled", **heads},
            "2d": {**sliced, "prompts": "per-slice"},
            "2d handed on": {**sliced, "prompts": "propagate"},
        },
        "tasks": [
            {
                "task": "prompted-segmentation", "prompts": config["prompts"], "click_rule": config["click rule"],
                "metrics": ["dice"], "session_curve": "dice", "by": ["structure"],
            }
        ],
    }  # fmt: skip
