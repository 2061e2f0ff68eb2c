"""What of a process a model could change for all others in it: looked at in another process, put back in this one."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from medeval.types import digest

_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "PYTHONHASHSEED",
)


def _torch_switches(torch: Any) -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """name -> how to read it and how to set it."""
    return {
        "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "torch's threads": (torch.get_num_threads, torch.set_num_threads),
        "torch's gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
        "torch's deterministic algorithms": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        "torch's matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    }


def state() -> dict[str, Any]:
    """Name -> value of each."""
    found: dict[str, Any] = {f"np.seterr {kind}": how for kind, how in np.geterr().items()}
    found |= {name: os.environ.get(name, "") for name in _VARIABLES}
    found["the handler of Ctrl-C"] = getattr(signal.getsignal(signal.SIGINT), "__name__", "another")
    torch = sys.modules.get("torch")
    if torch is not None:
        found |= {name: str(read()) for name, (read, _) in _torch_switches(torch).items()}
    return found


@contextmanager
def restored() -> Iterator[None]:
    """Puts all of it back on leaving: one check's question is no part of the next one's."""
    errors, folder, generators = np.geterr(), os.getcwd(), (random.getstate(), np.random.get_state())
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    torch = sys.modules.get("torch")
    before = {} if torch is None else {name: read() for name, (read, _) in _torch_switches(torch).items()}
    drawn = None if torch is None else torch.get_rng_state()
    try:
        yield
    finally:
        np.seterr(**errors)
        os.chdir(folder)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch is not None:
            _put_back(torch, before)
            torch.set_rng_state(drawn)


def _put_back(torch: Any, before: dict[str, Any]) -> None:
    for name, (read, write) in _torch_switches(torch).items():
        if read() != before[name]:
            write(before[name])


def seed(number: int) -> None:
    """Seed every generator of the process."""
    random.seed(number)
    np.random.seed(number)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(number)


def generators() -> dict[str, str]:
    """Name -> a hash of the state of each generator of the process."""
    found = {
        "random": digest(random.getstate()),
        "np.random": digest(np.random.get_state(legacy=False)["state"]["key"].tolist()),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch's generator"] = digest(torch.get_rng_state().tolist())
    return found
