"""``--devices``: which worker works where. What ``device: auto`` in a suite means is said by ``medeval.plugins.devices``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from medeval.plugins.devices import ASSIGNED, assigned_device, is_device
from medeval.suite import Suite
from medeval.types import UserError


def parse_devices(text: str) -> tuple[str, ...]:
    """``"cuda:0,cuda:1"`` as names, which ``check_names`` checks; "" is ()."""
    return tuple(word.strip() for word in text.split(",")) if text.strip() else ()


def check_names(devices: Sequence[str]) -> None:
    """Raises ``UserError`` for what is no device's name."""
    for name in devices:
        if not is_device(name):
            raise UserError(f"--devices: expected names such as cuda:0,cuda:1 or cpu, got {name!r}")


def check_devices(devices: Sequence[str]) -> None:
    """Raises ``UserError`` for a GPU that is not there."""
    if all(name == "cpu" for name in devices):
        return
    count = _gpus()
    for name in devices:
        if name != "cpu" and int(name.partition(":")[2] or 0) >= count:
            there = f"there are cuda:0 to cuda:{count - 1}" if count > 1 else "there is cuda:0 alone"
            raise UserError(f"--devices: {name} is not there; {there if count else 'PyTorch sees no GPU'}")


def _gpus() -> int:
    try:
        import torch
    except ModuleNotFoundError:
        raise UserError(
            "--devices names GPUs, and PyTorch, which would use them, is not installed: pip install 'medeval-bench[torch]'"
        ) from None
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def disagreements(suite: Suite, devices: Sequence[str]) -> list[str]:
    """A line on each model whose suite names a device, where ``--devices`` says otherwise: the suite wins."""
    asked = ",".join(devices)
    return [
        f"model {name!r}: device: {own} stands in the suite and wins over --devices {asked}"
        for name, spec in suite.model_specs.items()
        if (own := _own_device(spec.options)) and not all(_means(own, device) for device in devices)
    ]


def _means(own: str, device: str) -> bool:
    return own == device or (own == "cuda" and device.startswith("cuda:"))


def _own_device(options: Any) -> str | None:
    own = options.get("device")
    return own if isinstance(own, str) and own != "auto" else None


@contextmanager
def assigned(device: str | None) -> Iterator[None]:
    """While inside, ``device: auto`` of this process is ``device``; None leaves it as it is."""
    if device is None:
        yield
        return
    before = os.environ.get(ASSIGNED)
    os.environ[ASSIGNED] = device
    try:
        with _current(device):
            yield
    finally:
        if before is None:
            del os.environ[ASSIGNED]
        else:
            os.environ[ASSIGNED] = before


def settle() -> None:
    """Make the assigned GPU PyTorch's current one for good: a model that moves itself to plain ``cuda`` comes to it too."""
    device = assigned_device()
    if device is not None and ":" in device:
        import torch

        torch.cuda.set_device(device)


def _current(device: str) -> AbstractContextManager[Any]:
    if ":" not in device:
        return nullcontext()
    import torch

    return torch.cuda.device(device)
