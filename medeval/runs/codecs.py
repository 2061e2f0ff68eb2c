"""Typed codecs of what models yield and of what steps return: small, exact, and never a pickle.

A value becomes (codec name, JSON of what is needed to read it back, zstd-packed bytes). Masks are cropped to their box and
packed to bits: an organ's mask of 79 MB packs to about 0.1 MB.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medeval.types import LabelMap, MaskStack, Segmentation


class Packed(NamedTuple):
    """An encoded value. ``meta`` is JSON text; ``payload`` is zstd-compressed, b"" when all is in ``meta``."""

    codec: str
    meta: str
    payload: bytes


def encode(value: Any) -> Packed:
    """Pack a value. Raises ``TypeError`` naming the type when there is no codec for it."""
    for name, accepts, pack, _ in _CODECS:
        if accepts(value):
            meta, raw = pack(value)
            packed = pa.compress(raw, codec="zstd", asbytes=True) if raw else b""
            return Packed(name, json.dumps({**meta, "bytes": len(raw)}), packed)
    raise TypeError(f"no codec keeps a {type(value).__name__}")


def decode(packed: Packed) -> Any:
    """The value again, equal to what was encoded. Raises ``ValueError`` for an unknown codec or a torn payload."""
    meta = json.loads(packed.meta)
    size = meta.pop("bytes")
    raw = pa.decompress(packed.payload, decompressed_size=size, codec="zstd", asbytes=True) if size else b""
    for name, _, _, unpack in _CODECS:
        if name == packed.codec:
            return unpack(meta, raw)
    raise ValueError(f"unknown codec {packed.codec!r}")


def _box(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    box = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append((int(hits[0]), int(hits[-1]) + 1) if len(hits) else (0, 0))
    return box


def _pack_mask(mask: NDArray) -> tuple[dict[str, Any], bytes]:
    mask = np.asarray(mask, dtype=bool)
    box = _box(mask)
    crop = mask[tuple(slice(*b) for b in box)]
    return {"shape": mask.shape, "box": box}, np.packbits(crop).tobytes()


def _unpack_mask(meta: dict[str, Any], raw: bytes) -> NDArray[np.bool_]:
    mask = np.zeros(meta["shape"], dtype=bool)
    inner = tuple(stop - start for start, stop in meta["box"])
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=int(np.prod(inner)))
    mask[tuple(slice(*b) for b in meta["box"])] = bits.reshape(inner).astype(bool)
    return mask


def _pack_array(array: NDArray) -> tuple[dict[str, Any], bytes]:
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise TypeError("no codec keeps an array of objects")
    return {"shape": array.shape, "dtype": array.dtype.str}, np.ascontiguousarray(array).tobytes()


def _unpack_array(meta: dict[str, Any], raw: bytes) -> NDArray:
    return np.frombuffer(raw, dtype=np.dtype(meta["dtype"])).reshape(meta["shape"]).copy()


def _pack_segmentation(value: Segmentation) -> tuple[dict[str, Any], bytes]:
    meta, raw = _pack_mask(value.mask)
    meta["score"] = None if value.score is None else float(value.score)
    if value.probabilities is not None:
        meta["mask_bytes"] = len(raw)
        raw += np.ascontiguousarray(value.probabilities, dtype=np.float32).tobytes()
    return meta, raw


def _unpack_segmentation(meta: dict[str, Any], raw: bytes) -> Segmentation:
    split = meta.get("mask_bytes", len(raw))
    mask = _unpack_mask(meta, raw[:split])
    probabilities = None
    if "mask_bytes" in meta:
        probabilities = np.frombuffer(raw[split:], dtype=np.float32).reshape(meta["shape"]).copy()
    return Segmentation(mask, meta["score"], None, probabilities)


def _pack_labels(value: LabelMap) -> tuple[dict[str, Any], bytes]:
    top = int(value.array.max(initial=0))
    meta, raw = _pack_array(value.array.astype(np.min_scalar_type(top)))
    return {**meta, "labels": {k: list(v) for k, v in value.labels.items()}, "ignore": value.ignore}, raw


def _unpack_labels(meta: dict[str, Any], raw: bytes) -> LabelMap:
    return LabelMap(
        _unpack_array(meta, raw), {k: tuple(v) for k, v in meta["labels"].items()}, meta["ignore"]
    )


def _pack_stack(value: MaskStack) -> tuple[dict[str, Any], bytes]:
    packed = {name: _pack_mask(mask) for name, mask in value.masks.items()}
    metas = [{"name": name, "bytes": len(raw), **meta} for name, (meta, raw) in packed.items()]
    return {"shape": value.shape, "masks": metas}, b"".join(raw for _, raw in packed.values())


def _unpack_stack(meta: dict[str, Any], raw: bytes) -> MaskStack:
    masks, at = {}, 0
    for entry in meta["masks"]:
        masks[entry["name"]] = _unpack_mask(entry, raw[at : at + entry["bytes"]])
        at += entry["bytes"]
    return MaskStack(masks, tuple(meta["shape"]))


def _pack_text(value: str) -> tuple[dict[str, Any], bytes]:
    return {}, value.encode("utf-8", "surrogatepass")


def _pack_json(value: Any) -> tuple[dict[str, Any], bytes]:
    return {}, json.dumps(_plain(value), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    """Plain JSON data, arrays inside marked so that they come back as arrays."""
    if isinstance(value, np.ndarray):
        return {"__array__": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _unplain(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"__array__", "dtype"}:
            return np.asarray(value["__array__"], dtype=np.dtype(value["dtype"]))
        return {k: _unplain(v) for k, v in value.items()}
    return [_unplain(v) for v in value] if isinstance(value, list) else value


_Codec = tuple[
    str,
    Callable[[Any], bool],
    Callable[[Any], tuple[dict[str, Any], bytes]],
    Callable[[dict[str, Any], bytes], Any],
]
_CODECS: tuple[_Codec, ...] = (
    ("segmentation", lambda v: isinstance(v, Segmentation), _pack_segmentation, _unpack_segmentation),
    ("labels", lambda v: isinstance(v, LabelMap), _pack_labels, _unpack_labels),
    ("masks", lambda v: isinstance(v, MaskStack), _pack_stack, _unpack_stack),
    ("mask", lambda v: isinstance(v, np.ndarray) and v.dtype == bool, _pack_mask, _unpack_mask),
    ("array", lambda v: isinstance(v, np.ndarray), _pack_array, _unpack_array),
    (
        "text",
        lambda v: isinstance(v, str),
        _pack_text,
        lambda meta, raw: raw.decode("utf-8", "surrogatepass"),
    ),
    (
        "json",
        lambda v: v is None or isinstance(v, bool | int | float | np.generic | dict | list | tuple),
        _pack_json,
        lambda meta, raw: _unplain(json.loads(raw.decode("utf-8", "surrogatepass"))),
    ),
)
