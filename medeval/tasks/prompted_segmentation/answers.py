"""A round's answers as one flat array, so that a session that was killed goes on with the next round.

Masks are cut to their box and packed to bits. What a model wants back (``Segmentation.logits``) is kept where it is made of
numbers, text, arrays and tensors, in lists, tuples and dictionaries of any depth; of anything else nothing is kept, and the
session begins again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.interaction.drawing import bounds, slices
from medeval.types import CaseFailure, ModelFailure, Segmentation, Status

Answer = Segmentation | CaseFailure
Bytes = NDArray[np.uint8]
UNKEPT: Bytes = np.zeros(0, dtype=np.uint8)
"""In the place of a round that cannot be kept."""


def pack(answers: Mapping[str, Answer]) -> Bytes:
    """Structure -> answer or the model's failure, as bytes.

    ``UNKEPT`` where an answer holds what cannot be kept, or failed for reasons that are not the model's.
    """
    if any(isinstance(answer, CaseFailure) and answer.status.missing for answer in answers.values()):
        return UNKEPT
    blobs: list[bytes] = []
    try:
        listed = [[name, _failed(a) if isinstance(a, CaseFailure) else _segmented(a, blobs)]
                  for name, a in answers.items()]  # fmt: skip
    except TypeError:
        return UNKEPT
    head = json.dumps({"answers": listed, "sizes": [len(blob) for blob in blobs]}).encode()
    return np.frombuffer(len(head).to_bytes(8, "little") + head + b"".join(blobs), dtype=np.uint8)


def unpack(data: Bytes) -> dict[str, Answer]:
    """The way back from ``pack``; not for ``UNKEPT``."""
    raw = data.tobytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:start])
    blobs = []
    for size in head["sizes"]:
        blobs.append(raw[start : start + size])
        start += size
    return {name: _answer(entry, blobs) for name, entry in head["answers"]}


def _failed(error: CaseFailure) -> dict[str, Any]:
    return {"status": str(error.status), "error": str(error)}


def _segmented(answer: Segmentation, blobs: list[bytes]) -> dict[str, Any]:
    box = bounds(answer.mask)
    inside = answer.mask[slices(box)] if box is not None else np.zeros(0, dtype=bool)
    blobs.append(np.packbits(inside).tobytes())
    return {
        "shape": answer.mask.shape,
        "box": None if box is None else box.tolist(),
        "mask": len(blobs) - 1,
        "score": answer.score,
        "logits": _kept(answer.logits, blobs),
        "probabilities": _kept(answer.probabilities, blobs),
    }


def _answer(entry: Mapping[str, Any], blobs: list[bytes]) -> Answer:
    if "status" in entry:
        failure = ModelFailure(entry["error"])
        failure.status = Status(entry["status"])
        return failure
    mask = np.zeros(entry["shape"], dtype=bool)
    if entry["box"] is not None:
        box = np.array(entry["box"])
        sides = box[1] - box[0]
        bits = np.unpackbits(np.frombuffer(blobs[entry["mask"]], np.uint8), count=int(sides.prod()))
        mask[slices(box)] = bits.reshape(sides).astype(bool)
    return Segmentation(
        mask, entry["score"], _found(entry["logits"], blobs), _found(entry["probabilities"], blobs)
    )


def _kept(value: Any, blobs: list[bytes]) -> Any:
    """JSON of a value whose arrays are blobs. Raises ``TypeError`` for what cannot be kept."""
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    if type(value) in (list, tuple):  # a named tuple would come back as another type
        return {type(value).__name__: [_kept(part, blobs) for part in value]}
    if type(value) is dict:
        return {"dict": [[_kept(key, blobs), _kept(part, blobs)] for key, part in value.items()]}
    device = ""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        device, value = (
            str(value.device),
            value.detach().cpu().numpy(),
        )  # TypeError for bfloat16: NumPy has none
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        array = np.ascontiguousarray(value)
        blobs.append(array.tobytes())
        kind = "scalar" if isinstance(value, np.generic) else "array"
        return {kind: [len(blobs) - 1, array.dtype.str, np.shape(value), device]}
    return _no(value)


def _no(value: Any) -> Any:
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _found(entry: Mapping[str, Any], blobs: list[bytes]) -> Any:
    ((kind, value),) = entry.items()
    if kind == "plain":
        return value
    if kind in ("list", "tuple"):
        parts = [_found(part, blobs) for part in value]
        return parts if kind == "list" else tuple(parts)
    if kind == "dict":
        return {_found(key, blobs): _found(part, blobs) for key, part in value}
    number, dtype, shape, device = value
    array = np.frombuffer(blobs[number], dtype=np.dtype(dtype)).reshape(shape).copy()
    if kind == "scalar":
        return array.reshape(())[()]
    if not device:
        return array
    import torch

    return torch.from_numpy(array).to(device)
