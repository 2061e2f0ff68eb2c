"""Weights from files that others made: read without running what they hold, loaded by name, told by name what does not fit.

    read_weights(path)                  -> {name: tensor}     .safetensors, or what torch.save wrote
    load_weights(model, state)          names and shapes must agree; whatever does not is named
    convert(source, target)             a checkpoint of any of those kinds as .safetensors

Official training checkpoints nest the weights below a key and carry optimisers or arguments: ``unpickling.py``.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medeval_models.unpickling import DANGEROUS, is_program, objects_in, stand_ins

if TYPE_CHECKING:
    from torch import Tensor, nn

NESTED = ("model", "state_dict", "model_state_dict", "net", "network_weights", "params", "weights")
"""Keys below which training scripts put the weights, in the order in which they are tried."""


class WeightsError(ValueError):
    """A file that holds no usable weights, or weights of another model; the message says which and what to do."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the names. fresh: the model's own that kept their values. dropped: the file's that were left out."""

    loaded: int
    fresh: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def read_weights(
    path: str | Path, *, key: str | None = None, ignore: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Name -> tensor (on the CPU) of a checkpoint file.

    key: where the weights are nested; default: the first of ``NESTED`` that holds tensors, or the file itself.
    ignore: classes in the file to replace by empty stand-ins, by full name; nothing of them is run.
    A ``module.`` that data-parallel training puts before every name is taken off.
    Raises ``WeightsError``: no such file, half a file, no checkpoint, Python objects in it, no weights in it.
    """
    path = Path(path)
    _refuse_non_weights(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, ignore)
    state = _weights_in(content, key, path)
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def load_weights(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    fresh: Sequence[str] = (),
    drop: Sequence[str] = (),
    source: str = "the checkpoint",
) -> LoadReport:
    """Copy ``state`` into the model; every name and shape must agree.

    fresh: parts of names that keep the model's own values, whether the file has them or not.
    drop: parts of names that the file may hold and that are left out.
    source: the file, for messages.
    Raises ``WeightsError`` naming what is missing, unexpected or of another shape; the model is then unchanged.
    """
    own = model.state_dict()
    kept = {name for name in own if any(part in name for part in fresh)}
    dropped = {name for name in state if any(part in name for part in drop)}
    wanted = {name: tensor for name, tensor in own.items() if name not in kept}
    given = {name: state[name] for name in state if name not in dropped and name not in kept}
    problems = [
        _problem("missing", sorted(set(wanted) - set(given))),
        _problem("unexpected", sorted(set(given) - set(wanted))),
        _problem("of another shape", _misshaped(wanted, given)),
    ]
    if told := [problem for problem in problems if problem]:
        raise WeightsError(f"{source} does not fit this {type(model).__name__}: {'; '.join(told)}")
    model.load_state_dict(given, strict=False)
    return LoadReport(len(given), tuple(sorted(kept)), tuple(sorted(dropped)))


def convert(
    source: str | Path, target: str | Path, *, key: str | None = None, ignore: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Write the weights of a checkpoint as ``.safetensors``; the file appears whole or not at all. Returns them.

    key, ignore: as ``read_weights`` takes them. Raises ``WeightsError``, also for a target of another suffix.
    """
    from safetensors.torch import save_file

    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise WeightsError(f"{target}: the target must end with .safetensors")
    # Tensors that share memory (tied weights) are written one by one.
    state = {
        name: tensor.clone().contiguous()
        for name, tensor in read_weights(source, key=key, ignore=ignore).items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        save_file(state, partial, metadata={"format": "pt"})
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return state


def _refuse_non_weights(path: Path) -> None:
    """Files that a failed download leaves, by their first bytes."""
    if not path.is_file():
        raise WeightsError(
            f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; give a checkpoint file"
        )
    with path.open("rb") as file:
        head = file.read(256).lstrip()
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}: is a Git LFS pointer, not the weights; run `git lfs pull` where it came from"
        )
    if head[:15].lower().startswith((b"<!doctype", b"<html")):
        raise WeightsError(f"{path}: is a web page, not the weights; download the file itself")
    if not head:
        raise WeightsError(f"{path}: is empty; download it again")


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(_half(path, error)) from error


def _read_torch(path: Path, ignore: Sequence[str]) -> Any:
    import pickle

    import torch

    zipped = zipfile.is_zipfile(path)
    if zipped and is_program(path):
        raise WeightsError(
            f"{path}: is a TorchScript program, which would have to be run; give the state dict that it was made from"
        )
    try:
        with stand_ins(ignore), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            # Mapped into memory, the moments of an optimiser (two thirds of such a file) are never read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if names := objects_in(path, ignore):
            raise WeightsError(_refused(path, names)) from error
        raise WeightsError(_half(path, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise WeightsError(_half(path, error)) from error


def _half(path: Path, error: Exception) -> str:
    _, _, inner = str(error).partition("WeightsUnpickler error:")  # PyTorch puts its advice before it
    first = ((inner or str(error)).strip().splitlines() or [""])[0].partition(". ")[0].rstrip(".")
    return (
        f"{path}: is no whole checkpoint ({path.stat().st_size:,} bytes; {type(error).__name__}: {first[:160]}); "
        "compare its size with the published one and download it again"
    )


def _refused(path: Path, names: Sequence[str]) -> str:
    harmless = ""
    if not any(name.partition(".")[0] in DANGEROUS for name in names):
        flags = " ".join(f"--ignore {name}" for name in names)
        harmless = (
            f" If they are only bookkeeping, `medeval weights convert {path.name} OUT.safetensors {flags}` puts empty "
            "stand-ins in their place and runs nothing."
        )
    return (
        f"{path}: holds Python objects ({_some(names)}), and reading those as usual would run code that the file chooses. "
        f"Nothing was run.{harmless} Otherwise open it in a sandboxed process, such as a container without network or your "
        'files (`docker run --rm --network none -v "$PWD":/data:ro ...`), with the project that wrote it; save '
        "`model.state_dict()` alone there with torch.save, and give that file to `medeval weights convert`"
    )


def _weights_in(content: Any, key: str | None, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a mapping of names to tensors")
    if key is not None:
        if not _is_state(content.get(key)):
            raise WeightsError(f"{path}: {key!r} holds no weights; its keys: {_some(map(str, content))}")
        return dict(content[key])
    for name in NESTED:
        if _is_state(content.get(name)):
            return dict(content[name])
    if not _is_state(content):
        raise WeightsError(
            f"{path}: no weights found; looked below {', '.join(NESTED)}; its keys: {_some(map(str, content))}; where they "
            "lie below one of these, `medeval weights convert IN OUT.safetensors --key KEY` takes them out"
        )
    return dict(content)


def _is_state(value: Any) -> bool:
    import torch

    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(v, torch.Tensor) for v in value.values())
    )


def _misshaped(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]


def _problem(kind: str, names: Sequence[str]) -> str:
    return f"{len(names)} {kind} ({_some(names)})" if names else ""


def _some(names: Any, most: int = 8) -> str:
    """Names for a message, the first few of many."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
