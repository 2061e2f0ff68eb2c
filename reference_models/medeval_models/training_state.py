"""All that a training needs to go on, as one safetensors file: weights, optimisers, history. Nothing is pickled.

network/<name>            parameters and buffers; a tensor that two modules share is written once
best/<name>               the best state so far, where a criterion chooses
optimiser/<i>/<j>/<key>   state of parameter j of optimiser i
metadata                  JSON: counters, history, hyper-parameters of the groups, numbers of optimiser states
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class TrainingError(ValueError):
    """A training that cannot begin or go on; the message says what to change."""


class Checkpoint(Protocol):
    """Where a training keeps its state."""

    def read(self) -> bytes | None:
        """The last state written, or None."""

    def write(self, state: bytes) -> None:
        """Keep a state; on return it survives a kill."""


class FileCheckpoint:
    """One file, replaced as a whole."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> bytes | None:
        """The file's bytes, or None when there is none."""
        return self.path.read_bytes() if self.path.is_file() else None

    def write(self, state: bytes) -> None:
        """Write beside, then rename."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)


def unique_state(network: nn.Module) -> dict[str, Tensor]:
    """Name -> parameter or buffer, each tensor under its first name alone. The tensors are the network's own."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A copy of ``unique_state``."""
    return {name: tensor.detach().clone() for name, tensor in unique_state(network).items()}


@torch.no_grad()
def restore(network: nn.Module, state: Mapping[str, Tensor], source: str = "the saved state") -> None:
    """Copy a snapshot back, in place. Raises ``TrainingError`` when names or shapes differ."""
    own = unique_state(network)
    odd = sorted(set(own) ^ set(state)) or [n for n, t in own.items() if t.shape != state[n].shape]
    if odd:
        raise TrainingError(f"{source} does not fit this {type(network).__name__}: {', '.join(odd[:6])}")
    for name, tensor in own.items():
        tensor.copy_(state[name])


def digest_of(network: nn.Module) -> str:
    """SHA-256 (hex) of a network's parameters and buffers."""
    found = hashlib.sha256()
    for name, tensor in sorted(unique_state(network).items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def pack(tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> bytes:
    """Tensors and JSON notes as the bytes of a safetensors file."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return save(plain, metadata={"notes": json.dumps(notes, sort_keys=True)})


def unpack(data: bytes, source: str = "the checkpoint") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Back from ``pack``. Raises ``TrainingError`` for bytes that are not one."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return tensors, json.loads(header["__metadata__"]["notes"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise TrainingError(f"{source} is no whole checkpoint: {error}; delete it to begin anew") from error


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix/``, without it."""
    return {n.removeprefix(f"{prefix}/"): t for n, t in tensors.items() if n.startswith(f"{prefix}/")}


def optimiser_tensors(optimisers: Sequence[Optimizer]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The tensors of all optimisers' states, and what else is in them as plain data."""
    tensors: dict[str, Tensor] = {}
    plain = []
    for number, optimiser in enumerate(optimisers):
        state = optimiser.state_dict()
        numbers: dict[str, Any] = {}
        for parameter, key, value in _entries(state["state"]):
            if isinstance(value, Tensor):
                tensors[f"optimiser/{number}/{parameter}/{key}"] = value
            else:
                numbers[f"{parameter}/{key}"] = value
        plain.append({"groups": state["param_groups"], "numbers": numbers})
    return tensors, plain


def restore_optimisers(
    optimisers: Sequence[Optimizer], tensors: Mapping[str, Tensor], plain: Sequence[Mapping[str, Any]]
) -> None:
    """Back from ``optimiser_tensors``."""
    for number, (optimiser, notes) in enumerate(zip(optimisers, plain, strict=True)):
        state: dict[int, dict[str, Any]] = {}
        entries: dict[str, Any] = {**notes["numbers"], **below(tensors, f"optimiser/{number}")}
        for name, value in entries.items():
            parameter, _, key = name.partition("/")
            state.setdefault(int(parameter), {})[key] = value
        groups = [_tuples(group) for group in notes["groups"]]
        optimiser.load_state_dict({"state": state, "param_groups": groups})


def _entries(state: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[int, str, Any]]:
    for parameter, entries in state.items():
        for key, value in entries.items():
            yield parameter, key, value


def _tuples(group: Mapping[str, Any]) -> dict[str, Any]:
    """JSON made lists of the betas; optimisers compare and unpack them as tuples."""
    return {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in group.items()}
