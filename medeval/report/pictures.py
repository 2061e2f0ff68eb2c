"""A ``Picture`` as an embedded image with its outlines, points and box as an SVG overlay.

The image is kept at its own resolution (small ones are enlarged by the browser, nearest neighbour), outlines are vectors
of constant width, so a structure of one pixel is as visible as an organ. Large images are cropped around what is
outlined, then reduced by whole factors; masks are reduced by "any", so that nothing small disappears.
"""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.report.numbers import plain
from medeval.types.views import Picture

COLOURS = (
    "#ffb000",
    "#29b6ff",
    "#ff6fb5",
    "#7bdc65",
    "#ffffff",
    "#c39bff",
)  # of outlines, as --o0 to --o5 of the style
_MOST_BYTES = 38_000  # of the encoded image: 51 KB as base64
_MOST_SLICE_BYTES = 12_000  # of each further slice of a volume
_MOST_SIDE = 512
_MOST_PATH = 8_000  # characters of one outline; a raster is smaller beyond
_LEAST_SHARE = 0.4  # of the image's side that a crop keeps, so that a reader sees where it is
_WORTH_CROPPING = 160  # pixels; smaller images are shown whole

Window = tuple[int, int, int, int]


def drawing(picture: Picture, names: list[str]) -> dict[str, Any]:
    """uri, size, outlines, points and box in the pixels of the embedded image, and what was cropped.

    names: outlines known so far, whose position is their colour; new ones are appended.
    Raises ``ValueError`` when the picture's arrays do not fit each other.
    """
    _check(picture)
    return _drawn(picture, names, _window(picture), _MOST_BYTES)


def slice_drawing(picture: Picture, beside: Picture, names: list[str]) -> dict[str, Any]:
    """A further slice of ``beside``'s volume, in the same window, in fewer bytes. Raises ``ValueError`` as ``drawing``."""
    _check(picture)
    if picture.background.shape[:2] != beside.background.shape[:2]:
        raise ValueError(
            f"a slice has shape {picture.background.shape[:2]}, the picture {beside.background.shape[:2]}"
        )
    return _drawn(picture, names, _window(beside), _MOST_SLICE_BYTES)


def _drawn(picture: Picture, names: list[str], window: Window, most: int) -> dict[str, Any]:
    shape = picture.background.shape[:2]
    factor = math.ceil(max(window[2] - window[0], window[3] - window[1]) / _MOST_SIDE)
    while True:
        uri, size = _encode(_reduced(picture.background, window, factor), most)
        if size <= most or factor > 16:
            break
        factor += 1
    height, width = (math.ceil((window[i + 2] - window[i]) / factor) for i in (0, 1))
    overlay = _Overlay(window, factor)
    return {
        "uri": uri, "width": width, "height": height, "caption": plain(picture.caption),
        "note": _note(window, shape, factor),
        "outlines": [overlay.outline(mask, _number(plain(name), names)) for name, mask in picture.outlines.items()],
        "points": overlay.points(picture.points), "box": overlay.box(picture.box), "unit": max(height, width) / 320,
    }  # fmt: skip


def _note(window: Window, shape: tuple[int, ...], factor: int) -> str:
    """What a reader must know of a picture that is not shown as it is."""
    rows, columns = window[2] - window[0], window[3] - window[1]
    whole = (rows, columns) == tuple(shape)
    parts = [] if whole else [f"cropped to {rows} × {columns} of {shape[0]} × {shape[1]} pixels"]
    parts += [f"reduced {factor} times, outlines to the coarser pixels"] if factor > 1 else []
    return "; ".join(parts)


def _number(name: str, names: list[str]) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)


def _check(picture: Picture) -> None:
    background = picture.background
    if (
        background.dtype != np.uint8
        or background.ndim not in (2, 3)
        or (background.ndim == 3 and background.shape[2] != 3)
    ):
        raise ValueError(
            f"a picture's background is uint8 (row, column) or (row, column, 3), not {background.dtype} {background.shape}"
        )
    for name, mask in picture.outlines.items():
        if mask.shape != background.shape[:2]:
            raise ValueError(
                f"outline {name!r} has shape {mask.shape}, the background {background.shape[:2]}"
            )
    if picture.points is not None and (picture.points.ndim != 2 or picture.points.shape[1] != 3):
        raise ValueError(
            f"a picture's points are (n, 3) rows of (row, column, label), not {picture.points.shape}"
        )


def _window(picture: Picture) -> Window:
    """(row0, column0, row1, column1) to show: all, or a part around what is drawn where that is small."""
    shape = picture.background.shape[:2]
    spans = [_extent(picture, axis) for axis in (0, 1)]
    if max(shape) <= _WORTH_CROPPING or any(span is None for span in spans):
        return 0, 0, shape[0], shape[1]
    side = max(2.0 * max(stop - start for start, stop in spans), _LEAST_SHARE * min(shape), 96.0)  # type: ignore[misc]
    starts, stops = [], []
    for (start, stop), size in zip(spans, shape, strict=True):  # type: ignore[misc]
        length = min(size, round(side))
        first = min(max(0, (start + stop - length) // 2), size - length)
        starts.append(first)
        stops.append(first + length)
    if (stops[0] - starts[0]) * (stops[1] - starts[1]) > 0.7 * shape[0] * shape[1]:
        return 0, 0, shape[0], shape[1]
    return starts[0], starts[1], stops[0], stops[1]


def _extent(picture: Picture, axis: int) -> tuple[int, int] | None:
    """First and last + 1 index along an axis of all that is drawn; None for nothing."""
    ends: list[int] = []
    for mask in picture.outlines.values():
        where = np.flatnonzero(mask.any(axis=1 - axis))
        ends += [int(where[0]), int(where[-1]) + 1] if len(where) else []
    if picture.points is not None and len(picture.points):
        ends += [int(picture.points[:, axis].min()), int(picture.points[:, axis].max()) + 1]
    if picture.box is not None:
        ends += [picture.box[axis], picture.box[axis + 2]]
    size = picture.background.shape[axis]
    return (max(0, min(ends)), min(size, max(ends))) if ends else None


def _reduced(background: NDArray[np.uint8], window: Window, factor: int) -> Any:
    """The window as a pillow image, reduced by block means; one channel where the three are equal."""
    from PIL import Image

    part = background[window[0] : window[2], window[1] : window[3]]
    if part.ndim == 3 and (part == part[:, :, :1]).all():
        part = part[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(part))
    return image.reduce(factor) if factor > 1 else image


def _encode(image: Any, most: int) -> tuple[str, int]:
    """data: URI and bytes: PNG where it is small enough, else JPEG of falling quality."""
    best = ("", math.inf)
    attempts: list[tuple[str, dict[str, Any]]] = [("png", {"optimize": True})]
    attempts += [("jpeg", {"quality": quality}) for quality in (88, 75, 60)]
    for kind, options in attempts:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        size = buffer.tell()
        if size < best[1]:
            best = (f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", size)
        if size <= most:
            break
    return best[0], int(best[1])


class _Overlay:
    """From the picture's pixels to those of the embedded image."""

    def __init__(self, window: Window, factor: int) -> None:
        self.window, self.factor = window, factor

    def outline(self, mask: NDArray[np.bool_], number: int) -> dict[str, Any]:
        """SVG path along the edges of the mask's pixels, or a raster of them where the path would be long."""
        part = mask[self.window[0] : self.window[2], self.window[1] : self.window[3]].astype(bool)
        part = _any_blocks(part, self.factor)
        path = _edges(part)
        if len(path) <= _MOST_PATH:
            return {"number": number, "path": path, "uri": ""}
        return {"number": number, "path": "", "uri": _raster(part, COLOURS[number % len(COLOURS)])}

    def points(self, points: NDArray[np.int64] | None) -> list[dict[str, Any]]:
        """Pixel centres with their label."""
        if points is None:
            return []
        top, left = self.window[:2]
        return [
            {"x": round((float(c) - left + 0.5) / self.factor, 2), "y": round((float(r) - top + 0.5) / self.factor, 2),
             "foreground": bool(label)}
            for r, c, label in points
        ]  # fmt: skip

    def box(self, box: tuple[int, int, int, int] | None) -> dict[str, float] | None:
        """Corner and size."""
        if box is None:
            return None
        top, left = self.window[:2]
        y0, x0, y1, x1 = (
            (edge - start) / self.factor for edge, start in zip(box, (top, left, top, left), strict=True)
        )
        return {"x": round(x0, 2), "y": round(y0, 2), "width": round(x1 - x0, 2), "height": round(y1 - y0, 2)}


def _any_blocks(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """The mask reduced by a whole factor; a block is set when any of its pixels is."""
    if factor == 1:
        return mask
    rows, columns = (-size % factor for size in mask.shape)
    padded = np.pad(mask, ((0, rows), (0, columns)))
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor)
    return np.asarray(blocks.any(axis=(1, 3)), dtype=np.bool_)


def _edges(mask: NDArray[np.bool_]) -> str:
    """One ``M x y h length`` (or v) for each straight run of pixel edges between inside and outside."""
    padded = np.pad(mask, 1).astype(np.int8)
    path = []
    for axis, command in ((0, "h"), (1, "v")):
        changes = np.diff(padded, axis=axis) != 0
        lines = np.pad(changes if axis == 0 else changes.T, ((0, 0), (1, 1))).astype(np.int8)
        across, ends = np.nonzero(np.diff(lines, axis=1))  # in order of lines: start, stop, start, stop ...
        for line, start, stop in zip(
            across[::2].tolist(), ends[::2].tolist(), ends[1::2].tolist(), strict=True
        ):
            x, y = (start - 1, line) if axis == 0 else (line, start - 1)
            path.append(f"M{x} {y}{command}{stop - start}")
    return "".join(path)


def _raster(mask: NDArray[np.bool_], colour: str) -> str:
    """data: URI of a PNG with the mask's inner border in one colour, all else transparent."""
    from PIL import Image

    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    image = Image.fromarray((mask & ~inside).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, *(int(colour[i : i + 2], 16) for i in (1, 3, 5))])
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True, bits=1, transparency=0)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
