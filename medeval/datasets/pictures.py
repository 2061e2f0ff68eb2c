"""Plain pictures (PNG, TIFF, JPEG, BMP) as channel-first arrays, and as label arrays."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.types import DataError, Grid


def read_picture(path: Path, data: bytes | None = None) -> tuple[NDArray, str]:
    """The picture as (C, row, column) and a note of what was changed, "" if nothing.

    data: the file's bytes where they do not lie at ``path`` (a member of an archive).
    Grey stays one channel (8 or 16 bit integer, 32 bit integer, float); RGB is three; palettes become RGB; 1-bit pictures
    become 0 and 255. An alpha channel is dropped, noted unless it is opaque everywhere. Raises ``DataError``.
    """
    image = _open(path, data=data)
    note = ""
    if image.mode in ("P", "PA", "CMYK", "YCbCr", "HSV", "LAB", "RGBX", "La", "RGBa"):
        image = image.convert(
            "RGBA" if "transparency" in image.info or image.mode in ("PA", "La", "RGBa") else "RGB"
        )
    if _deep_colour(image):
        note = "16-bit colour read as 8-bit"  # Pillow has no deeper colour mode
    array = np.asarray(image.convert("L") if image.mode == "1" else image)
    if image.mode in ("RGBA", "LA"):
        if array[..., -1].min() < 255:
            note = "; ".join(filter(None, (note, "alpha channel dropped")))
        array = array[..., :-1]
    array = array[..., None] if array.ndim == 2 else array
    return np.ascontiguousarray(np.moveaxis(_native(array), -1, 0)), note


def read_label_picture(path: Path, data: bytes | None = None) -> NDArray:
    """The picture as one (row, column) array of values: palette pictures give their indices, 1-bit ones 0 and 1.

    Colour pictures are read when their channels are equal; alpha is dropped. Raises ``DataError``.
    """
    image = _open(path, data=data)
    if image.mode in ("1", "P", "L", "F") or image.mode.startswith("I"):
        return (
            _native(np.asarray(image)).astype(np.uint8) if image.mode == "1" else _native(np.asarray(image))
        )
    array = np.asarray(image if image.mode in ("RGB", "RGBA", "LA") else image.convert("RGB"))
    colours = array[..., :-1] if image.mode in ("RGBA", "LA") else array
    if (colours != colours[..., :1]).any():
        raise DataError(f"{path}: is a colour picture; a mask needs one value a pixel (grey or palette)")
    return np.ascontiguousarray(colours[..., 0])


def picture_grid(path: Path, data: bytes | None = None) -> Grid:
    """Grid of a picture from its header: spacing 1 pixel, for pictures carry none that can be trusted."""
    image = _open(path, decode=False, data=data)
    return plain_grid((image.height, image.width))


def plain_grid(shape: tuple[int, ...]) -> Grid:
    """A grid with no physical size: unit "px"."""
    return Grid(shape=tuple(int(n) for n in shape), spacing=(1.0,) * len(shape), unit="px")


def write_png(path: Path, array: NDArray) -> None:
    """Write a (row, column) array of bool (0 and 255) or integers in 0..65535; the file appears whole or not at all.

    ``ValueError`` for other shapes or values.
    """
    from PIL import Image

    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise ValueError(f"a PNG mask is a 2D array of integers or bool, not {array.ndim}D {array.dtype}")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high > 65535:
        raise ValueError(f"values from {low} to {high} do not fit a 16-bit PNG")
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8 if high < 256 else np.uint16)).save(buffer, format="PNG")
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _open(path: Path, *, decode: bool = True, data: bytes | None = None) -> Any:
    from PIL import Image

    try:
        image = Image.open(path if data is None else io.BytesIO(data))
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise DataError(f"{path}: holds {frames} pictures; save one a file, or a volume as NIfTI")
        if decode:
            image.info["rawmodes"] = [tile[3] for tile in image.tile]
            image.load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (
        OSError,
        EOFError,
        SyntaxError,
        TypeError,
        ValueError,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{path}: cannot be read as a picture: {type(error).__name__}: {error}") from error
    return image


def _deep_colour(image: Any) -> bool:
    return image.mode in ("RGB", "RGBA", "LA") and any(
        "16" in str(raw) for raw in image.info.get("rawmodes", ())
    )


def _native(array: NDArray) -> NDArray:
    """Native byte order; what Pillow opens as 32-bit but fits 16 bits (older versions) becomes uint16."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == np.int32 and array.size and array.min() >= 0 and array.max() <= 65535:
        return array.astype(np.uint16)
    return array
