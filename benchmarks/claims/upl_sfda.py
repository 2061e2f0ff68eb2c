"""UPL-SFDA against other source-free adaptations, on cardiac-like phantoms and on slices of the MNI152 template.

A *world* of the configuration has a labelled source, unlabelled target cases to adapt to, and test cases twice: ``near`` as
the source sees them and ``far`` as the target does. The word SEED in a dataset stands for the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import COLUMNS, Claim, evaluated, last_rounds, trained

if TYPE_CHECKING:
    import pandas as pd

NEAR, KEPT = "near", "not made worse"
SOURCE = "source-only"


def run(claim: Claim, seed: int, folder: Path) -> pd.DataFrame:
    """Every world: scores of all arms, of the source model on the cases without the shift, and who was made worse."""
    import pandas as pd

    parts = []
    for name, world in claim.config["worlds"].items():
        seeded = _seeded(world, seed)
        weights = _source(claim.config, seeded, seed, folder / f"source of {seeded.get('model', name)}")
        records = evaluated(_suite(claim.config, name, seeded, weights, seed), folder / f"run of {name}")
        rows = last_rounds(records, claim.metric, arm="arm", setting="task")
        # The same case with and without the shift is one item: the dataset's name leaves it.
        parts += [rows.assign(item=rows["item"].str.partition("/")[2]), _kept(rows, name)]
    return pd.concat(parts, ignore_index=True)


def _seeded(value: Any, seed: int) -> Any:
    """The configuration with the seed in the place of its name."""
    if isinstance(value, Mapping):
        return {key: _seeded(item, seed) for key, item in value.items()}
    return seed if value == "SEED" else value


def _source(config: Mapping[str, Any], world: Mapping[str, Any], seed: int, folder: Path) -> Path:
    """Weights of the source model; worlds that name one `model` share it."""
    weights = folder / "weights.safetensors"
    options = {
        "arguments": {**config["network"], "n_classes": len(world["classes"])},
        "classes": world["classes"],
        "seed": seed,
        "device": "cpu",
        **config["training"],
        **world["source"],
    }
    return weights if weights.is_file() else trained("segmentation", options, folder)


def _suite(
    config: Mapping[str, Any], name: str, world: Mapping[str, Any], weights: Path, seed: int
) -> dict[str, Any]:
    """One task for the shifted test cases with every arm, one for the same cases as the source sees them."""
    model = {
        "adapter": "torch-segmenter",
        "builder": "medeval_models.upl_sfda:build_source",
        "arguments": {**config["network"], "n_classes": len(world["classes"])},
        "checkpoint": str(weights),
        "classes": world["classes"],
        "device": "cpu",
    }
    adaptation = {"task": "domain-adaptation", "target": "adapt", "metrics": ["dice"]}
    return {
        "name": name.replace(" ", "-"),
        "seed": seed,
        "datasets": {key: world[key] for key in ("adapt", "near", "far")},
        "models": {"source": model},
        "tasks": [
            {**adaptation, "name": name, "datasets": ["far"], "adaptations": world["arms"]},
            {**adaptation, "name": f"{name}, {NEAR}", "datasets": ["near"], "adaptations": [SOURCE]},
        ],
    }


def _kept(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """1 for each patient whose mean is not worse than with the source model, 0 for each who was harmed."""
    far = rows[rows["setting"] == name]
    means = far.groupby(["arm", "patient"])["value"].mean().unstack("arm")
    kept = means.apply(lambda arm: (arm >= means[SOURCE] - 1e-12).astype(float))
    told = kept.stack().rename("value").reset_index()
    told["setting"] = f"{name}, {KEPT}"
    return told.assign(item=told["patient"], case=told["patient"])[list(COLUMNS)]
