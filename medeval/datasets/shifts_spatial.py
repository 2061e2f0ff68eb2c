"""Corruptions that come from the way images are acquired: k-space and sampling."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float64]
Draws = np.random.Generator

_CENTRE = (
    0.02  # share of the lines of k-space around its centre that an artefact leaves alone, as TorchIO does
)
_SEGMENTS = 8


def ghosting(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """Every n-th line of k-space along one axis is multiplied by 1 - value, but for its centre; n is 2, 3 or 4."""
    axis, period = int(draws.integers(x.ndim)), int(draws.integers(2, 5))
    count = x.shape[axis]
    factor = np.where(_lines(count) % period == 0, 1 - value, 1.0)
    factor[_centre(count)] = 1.0
    spectrum = np.fft.fft(x, axis=axis) * _along(factor, axis, x.ndim)
    return np.abs(np.fft.ifft(spectrum, axis=axis))


def resolution(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """Coarser voxels: Gaussian of full width ``value`` voxels, sampled every ``value`` voxels, interpolated back linearly.

    A picture along both axes, a volume along one that is drawn (its slice direction).
    """
    from scipy import ndimage

    axes = range(x.ndim) if x.ndim == 2 else (int(draws.integers(x.ndim)),)
    for axis in axes:
        smooth = ndimage.gaussian_filter1d(x, value / 2.355, axis=axis, mode="nearest")
        count = x.shape[axis]
        coarse: Field = np.arange((value - 1) / 2, count, value, dtype=np.float64)
        if len(coarse) > 1:
            fine = (np.arange(count, dtype=np.float64) - coarse[0]) / value
            x = _resampled(_resampled(smooth, coarse, axis), fine, axis)
    return x


def motion(x: Field, value: float, draws: Draws, spacing: tuple[float, ...]) -> Field:
    """The patient moves while k-space is filled: its lines along one axis come from eight poses in turn.

    Each pose is turned by up to ``value`` degrees and shifted by up to ``value`` voxels in one plane; the pose that holds the
    centre of k-space, which decides where structures are seen, is the unmoved one.
    """
    axes = draws.permutation(x.ndim)[:2]
    lines, other = int(axes[0]), int(axes[1])
    spectrum = np.fft.fft(x, axis=lines)
    numbers = _lines(x.shape[lines])
    for part in np.array_split(np.argsort(numbers, kind="stable"), _SEGMENTS):
        turn, shift = draws.uniform(-1, 1), draws.uniform(-1, 1, size=2)
        if 0 in numbers[part]:
            continue
        moved = _moved(x, value * turn, value * shift, (lines, other))
        at = (slice(None),) * lines + (part,)
        spectrum[at] = np.fft.fft(moved, axis=lines)[at]
    return np.abs(np.fft.ifft(spectrum, axis=lines))


def _lines(count: int) -> NDArray[np.int64]:
    """Number of each line of an FFT, 0 at the centre."""
    return np.fft.fftfreq(count, 1 / count).round().astype(np.int64)


def _centre(count: int) -> NDArray[np.int64]:
    """Positions of the lines in the middle of k-space."""
    return np.flatnonzero(np.abs(_lines(count)) <= _CENTRE / 2 * count)


def _along(values: Field, axis: int, ndim: int) -> Field:
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def _resampled(x: Field, at: Field, axis: int) -> Field:
    """Linear interpolation at positions along an axis; beyond the ends the last value."""
    at = np.clip(at, 0, x.shape[axis] - 1)
    low = np.minimum(at.astype(np.int64), x.shape[axis] - 2)
    part = _along(at - low, axis, x.ndim)
    return np.take(x, low, axis) * (1 - part) + np.take(x, low + 1, axis) * part


def _moved(x: Field, degrees: float, shift: Field, axes: tuple[int, int]) -> Field:
    """Turned about the middle in a plane, then shifted; outside it repeats the edge."""
    from scipy import ndimage

    angle = np.deg2rad(degrees)
    matrix = np.eye(x.ndim)
    first, second = axes
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    middle = (np.array(x.shape) - 1) / 2
    offset = np.zeros(x.ndim)
    offset[[first, second]] = shift
    return ndimage.affine_transform(x, matrix, middle - matrix @ middle + offset, order=1, mode="nearest")
