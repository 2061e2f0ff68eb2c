"""What every adapter of a PyTorch model shares: PyTorch itself, its device, its precision. Nothing here imports it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator

from medeval.plugins.devices import assigned_device, is_device
from medeval.types import PluginError

if TYPE_CHECKING:
    import torch


def _device_name(name: str) -> str:
    if name != "auto" and not is_device(name):
        raise ValueError(f"expected auto, cpu, cuda or cuda:N (N a number from 0), got {name!r}")
    return name


Device = Annotated[str, AfterValidator(_device_name)]
"""``auto`` (the one this process was assigned, else a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""``auto``: on a GPU bf16 where it has it, else fp16; on a CPU fp32."""


def import_torch() -> Any:
    """The module ``torch``. Raises ``PluginError`` with the extra that brings it."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise PluginError(
            f"this adapter needs {error.name}, which is not installed: pip install 'medeval-bench[torch]'"
        ) from error
    return torch


def pick_device(device: str) -> torch.device:
    """The device that ``device`` names. Raises ``PluginError`` when it is a GPU that is not there."""
    torch = import_torch()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = assigned_device() or ("cuda" if count else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    if device == "cuda" and count:
        return torch.device("cuda")
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        there = f"there are {count}, cuda:0 to cuda:{count - 1}" if count else "PyTorch sees none"
        built = "" if torch.version.cuda else ", and is built without CUDA"
        raise PluginError(
            f"device: {device!r} was asked for, but {there} (PyTorch {torch.__version__}{built}); "
            "`device: auto` takes a GPU where there is one, `device: cpu` needs none"
        )
    return torch.device("cuda", index)


def pick_precision(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The dtype of autocast; None for plain float32. Raises ``PluginError`` for fp16 on a CPU."""
    torch = import_torch()
    on_gpu = device.type == "cuda"
    if precision == "auto":
        half = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float16
        return half if on_gpu else None
    if precision == "fp16" and not on_gpu:
        raise PluginError("precision: fp16 is for GPUs; on a CPU take fp32, or bf16 where it is fast there")
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


@contextmanager
def inference(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """No gradients, and autocast to ``dtype`` where there is one."""
    torch = import_torch()
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        yield


def side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """A CUDA stream for work beside the device's other work; None on a CPU, which has no streams."""
    return import_torch().cuda.Stream(device) if device.type == "cuda" else None


@contextmanager
def beside(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Work on ``stream``, after all that the caller's own stream was given so far; done when the block ends.

    What other streams are given meanwhile runs at the same time. Tensors that were made here and are used on another stream
    must be told so (``used_here``) before they are let go.
    """
    if stream is None:
        yield
        return
    torch = import_torch()
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    with torch.cuda.stream(stream):
        yield
        # Blocking: a host that spins while it waits takes a core from whoever works meanwhile.
        done = torch.cuda.Event(blocking=True)
        done.record(stream)
    done.synchronize()


def used_here(tensor: torch.Tensor) -> None:
    """Its memory is not given away before the caller's stream has done with it, whichever stream it was made on."""
    if tensor.is_cuda:
        tensor.record_stream(import_torch().cuda.current_stream(tensor.device))


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU tensor on the device; to a GPU by way of pinned memory, so that the host need not wait for the copy."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
