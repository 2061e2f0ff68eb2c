"""Claims of papers in miniature, run from a configuration and seeds that were fixed before.

    python benchmarks/claims/common.py [NAME ...]          or: make claims [CLAIM=NAME]
    python benchmarks/claims/common.py NAME --seeds 901    a trial with other seeds: prints, and leaves the page alone

A claim is two files beside this one. ``NAME.yaml`` (``Claim`` below lists its keys) holds all that is decided: seeds, the
configuration, what is compared and by which rule a comparison counts as shown. ``NAME.py`` has one function:

    def run(claim: Claim, seed: int, folder: Path) -> pandas.DataFrame

It trains and evaluates every arm under one seed, keeps its work in ``folder`` (``trained`` runs a recipe of ``medeval
train`` there, ``evaluated`` a suite that leaves a run with a report) and returns the evidence, one row a measured value:

    arm      name of an arm of the YAML
    setting  what was asked, such as "box" or "5 clicks"; free text that the comparisons name
    item     what is paired: the same case and structure under two arms or settings have the same item
    patient  whom a resample draws; None where it is not known (``case`` then stands in its place)
    case     id of the case
    value    the claim's metric

``last_rounds`` makes such rows of a run's records. Seeds run in processes of one thread each. Every seed is printed,
with the paired difference and its interval (``medeval.statistics``), and written to the claim's section of docs/claims.md.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COLUMNS = ("arm", "setting", "item", "patient", "case", "value")
Rule = Literal["interval", "sign", "no-worse"]


class ClaimError(ValueError):
    """A claim that cannot be read or whose evidence does not hold what its comparisons need."""


class Side(BaseModel):
    """One side of a comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    setting: str = ""


class Comparison(BaseModel):
    """``better`` is expected to score better than ``worse``, on the same items."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    say: str = Field(description="The comparison in words.")
    better: Side
    worse: Side
    rule: Rule = Field(
        "interval",
        description="When it is shown. interval: in every seed the 95% interval of the paired difference lies on the better "
        "side of 0; sign: in every seed the difference itself does; no-worse: in no seed it lies on the worse side.",
    )
    margin: float = Field(0.0, ge=0, description="Of `interval` and `sign`: so much more than 0 is expected.")


class Claim(BaseModel):
    """What NAME.yaml holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The file's name; not written in it.")
    digest: str = Field(description="SHA-256 of the file; not written in it.")
    title: str = Field(description="Heading of the section.")
    statement: str = Field(description="What the paper claims, and what is tried here.")
    seeds: tuple[int, ...] = Field(min_length=1)
    metric: str = Field("dice", description="A registered metric that stores one `value`.")
    arms: dict[str, str] = Field(description="Name -> what it is.")
    config: dict[str, Any] = Field(description="Whatever NAME.py reads.")
    comparisons: tuple[Comparison, ...] = Field(min_length=1)
    limits: tuple[str, ...] = Field(min_length=1, description="What the figures do not show.")

    @model_validator(mode="after")
    def _arms_exist(self) -> Claim:
        sides = [side for c in self.comparisons for side in (c.better, c.worse)]
        if unknown := sorted({side.arm for side in sides} - set(self.arms)):
            raise ValueError(f"comparisons name arms that `arms` does not list: {', '.join(unknown)}")
        return self

    @classmethod
    def load(cls, name: str) -> Claim:
        """Read NAME.yaml. Raises ``ClaimError``."""
        path = HERE / f"{name}.yaml"
        if not path.is_file():
            raise ClaimError(f"no claim {name!r}; there are: {', '.join(names())}")
        text = path.read_bytes()
        try:
            given = yaml.safe_load(text)
            return cls(**{**given, "name": name, "digest": hashlib.sha256(text).hexdigest()})
        except (ValidationError, yaml.YAMLError, TypeError) as error:
            raise ClaimError(f"{path.name}: {error}") from error


def names() -> list[str]:
    """All claims that are there."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def trained(recipe: str, options: Mapping[str, Any], folder: Path) -> Path:
    """``medeval train RECIPE`` into ``folder``, which resumes what is there; returns the file of the weights.

    Plug-ins beside this file are named ``module:Class``.
    """
    from medeval import api

    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(dict(options), sort_keys=False), encoding="utf-8")
    return api.train(recipe, config, folder, tell=lambda text: None)


def evaluated(suite: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Run a suite into ``folder`` (a run with its report.html) and return its records.

    Raises ``ClaimError`` when a record is missing by no fault of a model's: such evidence is not whole.
    """
    import medeval
    from medeval.types import Status

    records = medeval.run(suite, folder).records()
    if (missing := records["status"].map(lambda status: Status(status).missing)).any():
        raise ClaimError(
            f"{folder}: {missing.sum()} records are missing: {records['error'][missing].iloc[0]}"
        )
    return records


def last_rounds(
    records: pd.DataFrame, metric: str, arm: str = "model", setting: str = "prompt"
) -> pd.DataFrame:
    """Evidence from records: the last round of every session, one row a (case, structure).

    arm, setting: the columns of the records that become these. Undefined and uncovered records have no value and are left out.
    """
    keys = [arm, setting, "dataset", "case", "structure"]
    kept = records[records[metric].notna()].sort_values([*keys, "round"]).groupby(keys, sort=False).tail(1)
    item = kept["dataset"] + "/" + kept["case"] + "/" + kept["structure"].fillna("")
    return kept.assign(arm=kept[arm], setting=kept[setting], item=item, value=kept[metric])[list(COLUMNS)]


def evidence(claim: Claim, seeds: Sequence[int], out: Path, jobs: int) -> dict[int, pd.DataFrame]:
    """Seed -> rows. A seed that is done under the same YAML is read back."""
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }  # a seed's figures hang on no number of cores
    folders = {seed: out / claim.name / claim.digest[:8] / f"seed-{seed}" for seed in seeds}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {seed: pool.submit(_one_seed, claim, seed, folder) for seed, folder in folders.items()}
        return {seed: future.result() for seed, future in waiting.items()}


def _one_seed(claim: Claim, seed: int, folder: Path) -> pd.DataFrame:
    import pandas as pd

    rows = folder / "evidence.csv"
    if not rows.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        found = importlib.import_module(claim.name).run(claim, seed, folder)
        found[list(COLUMNS)].to_csv(rows, index=False)
    return pd.read_csv(rows, dtype={"patient": "string", "case": "string"}, keep_default_na=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run claims, print them, write their sections."""
    from page import differences, section, table, write_section

    parser = argparse.ArgumentParser(description="Claims of papers in miniature.")
    parser.add_argument("claims", nargs="*", metavar="NAME", help="default: all that are there")
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="a trial with other seeds; docs/claims.md is left alone"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs-claims")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="seeds at a time")
    given = parser.parse_args(arguments)
    try:
        for claim in [Claim.load(name) for name in given.claims or names()]:
            found = differences(
                claim, evidence(claim, given.seeds or claim.seeds, given.out.resolve(), given.jobs)
            )
            print(f"\n{claim.title}\n\n{table(claim, found)}", flush=True)
            if not given.seeds:
                write_section(ROOT / "docs" / "claims.md", claim.name, section(claim, found))
    except ClaimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.modules["common"] = sys.modules["__main__"]  # one module, also for what NAME.py imports
    raise SystemExit(main())
