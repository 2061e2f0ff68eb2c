"""Which device ``device: auto`` means in this process: where a run has several, each worker is assigned one.

An adapter of yours asks ``assigned_device() or (its own choice)`` where its option says ``auto``.
"""

from __future__ import annotations

import os
import re

from medeval.types import PluginError

ASSIGNED = "MEDEVAL_DEVICE"


def is_device(name: str) -> bool:
    """True for ``cpu``, ``cuda`` and ``cuda:N``."""
    return re.fullmatch(r"cpu|cuda(:\d+)?", name) is not None


def assigned_device() -> str | None:
    """The device that this process was given (``medeval run --devices``, or the variable ``MEDEVAL_DEVICE``); None: any.

    Raises ``PluginError`` when the variable holds no device's name.
    """
    name = os.environ.get(ASSIGNED, "")
    if name and not is_device(name):
        raise PluginError(f"{ASSIGNED}={name!r}: expected cpu, cuda or cuda:N (N a number from 0)")
    return name or None
