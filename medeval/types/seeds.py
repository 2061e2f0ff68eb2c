"""Randomness that depends on what is evaluated, never on order, batching, process or machine."""

from __future__ import annotations

import hashlib

import numpy as np


def digest(*parts: object) -> str:
    """SHA-256 (hex) over the parts' text, each with its length, so that ("ab", "c") differs from ("a", "bc")."""
    state = hashlib.sha256()
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        state.update(len(text).to_bytes(8, "little"))
        state.update(text)
    return state.hexdigest()


def rng(*parts: object) -> np.random.Generator:
    """A generator seeded by the hash of ``parts``: (seed, case id, structure, prompt, round ...)."""
    return np.random.default_rng(int(digest(*parts)[:32], 16))
