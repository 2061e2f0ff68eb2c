"""A network of SAM's parts, built at the sizes that its checkpoint's shapes show; what cannot be used is told by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medeval.types import PluginError
from medeval_adapters.torch_common import import_torch


def load_sized(
    checkpoint: Path,
    sizes_of: Callable[[Mapping[str, Any]], dict[str, Any]],
    load: Callable[[dict[str, Any], dict[str, Any]], Any],
    *,
    whose: str,
    hint: str = "",
) -> Any:
    """What ``load(state, sizes)`` builds from the checkpoint's tensors and the sizes that ``sizes_of`` reads from them.

    whose: the models that such a checkpoint belongs to, possessive, for messages. hint: what else it may be.
    Raises ``PluginError`` naming the file and what is wrong.
    """
    import_torch()
    from medeval_models.weights import WeightsError, read_weights

    try:
        state = read_weights(checkpoint)
        return load(state, _sizes(state, sizes_of, checkpoint, whose, hint))
    except (WeightsError, ValueError) as error:
        raise PluginError(f"checkpoint: {error}") from error


def _sizes(
    state: dict[str, Any], sizes_of: Callable[..., dict[str, Any]], checkpoint: Path, whose: str, hint: str
) -> dict[str, Any]:
    try:
        return sizes_of(state)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        why = f"no usable {error}" if isinstance(error, KeyError) else str(error)
        names = ", ".join(sorted(state)[:4])
        raise PluginError(
            f"checkpoint: {checkpoint}: is not {whose}: {why}; its {len(state)} tensors begin with {names}{hint}"
        ) from error
