"""Laws that records of patients are drawn from in simulations: 1 to 8 rows a patient, strongly alike within one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Law = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def skewed(draw: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, patients of the rows): Dice-like, mostly 0.8 to 0.95, and one patient in twelve on which the model fails."""
    good, bad = draw.beta(14, 2, patients), draw.uniform(0, 0.4, patients)
    level = np.where(draw.random(patients) < 0.08, bad, good)
    owner = np.repeat(np.arange(patients), draw.integers(1, 9, patients))
    return np.clip(level[owner] + draw.normal(0, 0.03, len(owner)), 0, 1), owner


def log_normal(draw: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """1 minus a log-normal error."""
    level = draw.lognormal(0, 1, patients)
    owner = np.repeat(np.arange(patients), draw.integers(1, 9, patients))
    return 1 - np.clip(0.05 * level[owner] * draw.lognormal(0, 0.3, len(owner)), 0, 1), owner


def normal(draw: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal between and within patients."""
    owner = np.repeat(np.arange(patients), draw.integers(1, 9, patients))
    return draw.normal(0, 1, patients)[owner] + draw.normal(0, 0.5, len(owner)), owner


LAWS: dict[str, Law] = {"skewed (Dice-like)": skewed, "log-normal error": log_normal, "normal": normal}


def true_mean(law: Law) -> float:
    """The pooled mean of very many patients."""
    return float(law(np.random.default_rng(99), 1_000_000)[0].mean())
