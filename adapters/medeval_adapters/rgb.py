"""Any 2D image as the 8-bit RGB picture that models trained on pictures take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medeval.types import DataError, Image

_COLOUR = {1: (0, 0, 0), 2: (0, 0, 0), 3: (0, 1, 2), 4: (0, 1, 2)}  # grey, grey + alpha, RGB, RGBA


def to_rgb(
    image: Image, channels: Sequence[int] | None = None, window: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """(row, column, 3) uint8: ``to_picture``, rounded."""
    picture = to_picture(image, channels, window)
    return picture if picture.dtype == np.uint8 else np.rint(picture).astype(np.uint8)


def to_picture(
    image: Image, channels: Sequence[int] | None = None, window: tuple[float, float] | None = None
) -> NDArray:
    """(row, column, 3) in 0..255; uint8 but for pictures that were float in that range.

    channels: one (grey) or three of the image's channels; by default grey or colour as the file has it, alpha dropped.
    window: values that become 0 and 255. By default 8-bit stays as it is, and so do three channels of float within
        [0, 255] that reach beyond 1 (a colour picture that was averaged or padded); bool and floats within [0, 1] are
        multiplied by 255; everything else (16 bit, CT, MR) goes from its smallest to its largest value in this image, as
        SA-Med2D-20M was made. A constant image of that kind becomes 0; NaN counts as the smallest value.
    Raises ``DataError`` for an image that is not 2D, has no pixels, or has channels of which none was chosen.
    """
    if image.ndim != 2:
        raise DataError(f"a {image.ndim}D image came to an adapter that takes 2D; slice it first")
    array = np.asarray(image.array)
    if array.size == 0:
        raise DataError(f"an image without pixels, of shape {array.shape}")
    chosen = array[_channels(array, channels)]
    if (
        window is None
        and len(array) == 3
        and chosen.dtype.kind == "f"
        and 1 < chosen.max() <= 255
        and chosen.min() >= 0
    ):
        picture: NDArray = chosen.astype(np.float32)
    else:
        picture = _to_bytes(chosen, window)
    return np.ascontiguousarray(np.moveaxis(picture, 0, -1))


def _channels(array: NDArray, chosen: Sequence[int] | None) -> list[int]:
    count = len(array)
    if chosen is None:
        alpha_only = count in (2, 4) and array.dtype != np.uint8
        if count not in _COLOUR or alpha_only:
            raise DataError(
                f"an image of {count} channels of {array.dtype} is no grey or colour picture; "
                "say which to show, for example `channels: [0]`"
            )
        return list(_COLOUR[count])
    if len(chosen) not in (1, 3) or not all(0 <= channel < count for channel in chosen):
        raise DataError(f"channels: {list(chosen)}; one or three of 0 to {count - 1} are possible here")
    return list(chosen) * (3 // len(chosen))


def _to_bytes(array: NDArray, window: tuple[float, float] | None) -> NDArray[np.uint8]:
    if window is None:
        if array.dtype == np.uint8:
            return array
        if array.dtype == bool:
            return array.astype(np.uint8) * np.uint8(255)
    values = array.astype(np.float64)
    low, high = window if window is not None else _range(values, array.dtype.kind == "f")
    if high <= low:
        return np.zeros(array.shape, dtype=np.uint8)
    scaled = np.clip((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low), 0, 1)
    return np.rint(255 * scaled).astype(np.uint8)


def _range(values: NDArray[np.float64], is_float: bool) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    return (0.0, 1.0) if is_float and low >= 0 and high <= 1 else (low, high)
