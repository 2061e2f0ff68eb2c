"""Corruptions of images that keep the geometry: what another scanner, protocol or patient does to intensities.

Each is a formula on ``x``, one channel scaled to [0, 1] by its own smallest and largest value; the result is scaled back. An
image of whole numbers is rounded and keeps its type and its type's range. Nothing moves: masks stay where they are.

Severities 1 to 5 choose from its ``ladder``; any other value of the parameter may be given in their place. What is drawn at
random depends on the generator alone, so that one case has the same bias field or the same spike at every severity.

Names and kinds follow TorchIO's and MedMNIST-C's transforms (arXiv 2003.04696, 2406.17536); the formulas are stated here
and in docs/robustness.md, and are plain numpy and scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.datasets import shifts_spatial as spatial
from medeval.datasets.shifts_spatial import Field
from medeval.types import Image, nearest, rng

SEVERITIES = (1, 2, 3, 4, 5)
Draws = np.random.Generator
Kernel = Callable[[Field, float, Draws, tuple[float, ...]], Field]


def inversion(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """Intensities above ``value`` are mirrored at it, then stretched to [0, 1]; 0 gives the negative 1 - x."""
    folded = np.where(x <= value, x, 2 * value - x)
    low = min(0.0, 2 * value - 1)
    return (folded - low) / (value - low)


def gamma(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """x ** value: above 1 darker, below 1 brighter."""
    return np.clip(x, 0, 1) ** value


def histogram(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """A monotone tone curve through 11 points; each step is exp(value n) of the whole, n standard normal."""
    steps = np.exp(value * draws.standard_normal(10))
    curve = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    return np.interp(x, np.linspace(0, 1, 11), curve)


def bias_field(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """x exp(f): f a cubic polynomial of the position with standard normal coefficients, scaled to max |f| = value."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in x.shape), indexing="ij", sparse=True)
    field = np.zeros(x.shape)
    for powers in np.ndindex(*(4,) * x.ndim):
        if 0 < sum(powers) <= 3:
            term = draws.standard_normal() * math.prod(
                (axis**power for axis, power in zip(axes, powers, strict=True)), start=1.0
            )
            field = field + term
    return x * np.exp(field * (value / max(np.abs(field).max(), 1e-12)))


def noise(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """x + value n, n standard normal in every voxel."""
    return x + value * draws.standard_normal(x.shape)


def blur(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """Gaussian of standard deviation ``value`` times the smallest edge of a voxel, equal in mm along all axes."""
    from scipy import ndimage

    smallest = min(spacing)
    return ndimage.gaussian_filter(x, [value * smallest / edge for edge in spacing], mode="nearest")


def spike(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """One wrong point of k-space is a plane wave: x + value cos(2 pi k r + phase), 0.1 to 0.4 cycles a voxel in two axes."""
    plane = draws.permutation(x.ndim)[:2]
    phase = np.full((1,) * x.ndim, draws.uniform(0, 2 * math.pi))
    for axis in plane:
        shape = [1] * x.ndim
        shape[axis] = -1
        cycles = draws.uniform(0.1, 0.4) * draws.choice([-1, 1])
        phase = phase + 2 * math.pi * cycles * np.arange(x.shape[axis]).reshape(shape)
    return x + value * np.cos(phase)


@dataclass(frozen=True)
class Corruption:
    """kernel: the formula. ladder: its parameter at severities 1 to 5. parameter: what that is, in words."""

    kernel: Kernel
    ladder: tuple[float, float, float, float, float]
    parameter: str


CORRUPTIONS: Mapping[str, Corruption] = {
    "inversion": Corruption(inversion, (0.9, 0.7, 0.5, 0.25, 0.0), "intensity above which the scale is mirrored"),
    "gamma": Corruption(gamma, (1.25, 1.5, 2.0, 2.5, 3.5), "exponent"),
    "gamma-bright": Corruption(gamma, (0.8, 0.67, 0.5, 0.4, 0.29), "exponent"),
    "histogram": Corruption(histogram, (0.3, 0.6, 0.9, 1.2, 1.6), "spread of the tone curve's steps"),
    "bias-field": Corruption(bias_field, (0.2, 0.35, 0.5, 0.75, 1.0), "largest |ln| of the field"),
    "noise": Corruption(noise, (0.04, 0.08, 0.12, 0.18, 0.26), "standard deviation"),
    "blur": Corruption(blur, (0.5, 1.0, 1.5, 2.0, 3.0), "standard deviation in smallest voxel edges"),
    "ghosting": Corruption(spatial.ghosting, (0.2, 0.4, 0.6, 0.8, 1.0), "share of each n-th line of k-space lost"),
    "spike": Corruption(spike, (0.05, 0.1, 0.15, 0.25, 0.4), "amplitude of the wave"),
    "resolution": Corruption(spatial.resolution, (1.5, 2.0, 3.0, 4.0, 6.0), "voxels that become one"),
    "motion": Corruption(spatial.motion, (1.0, 2.0, 3.0, 5.0, 8.0), "largest shift in voxels, turn in degrees"),
}  # fmt: skip


def checked_corruption(name: str) -> str:
    """The name. Raises ``ValueError`` naming the nearest."""
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}; {nearest(name, CORRUPTIONS)}")
    return name


def corrupted(image: Image, corruption: str, value: float, *identity: object) -> Image:
    """The image under a corruption, on the same grid, of the same type.

    value: of the corruption's parameter, see ``CORRUPTIONS``. identity: what the random draws hang on, the case's id above all.
    A constant channel (and one with NaN) stays as it is.
    """
    kernel = CORRUPTIONS[corruption].kernel
    channels = []
    for channel in image.array:
        draws = rng("shift", corruption, *identity)  # every channel of a case suffers the same
        channels.append(_channel(channel, kernel, value, draws, image.grid.spacing))
    return Image(np.stack(channels), image.grid)


def _channel(
    channel: NDArray, kernel: Kernel, value: float, draws: Draws, spacing: tuple[float, ...]
) -> NDArray:
    low, high = float(channel.min()), float(channel.max())
    if not high > low:
        return channel
    unit = (channel.astype(np.float64) - low) / (high - low)
    back = kernel(unit, value, draws, spacing) * (high - low) + low
    if channel.dtype.kind in "iub":
        ends = (0, 1) if channel.dtype == bool else (np.iinfo(channel.dtype).min, np.iinfo(channel.dtype).max)
        back = np.clip(np.rint(back), *ends)
    return back.astype(channel.dtype)


def value_at(corruption: str, severity: int) -> float:
    """The parameter at a severity from 1 to 5."""
    return CORRUPTIONS[corruption].ladder[severity - 1]
