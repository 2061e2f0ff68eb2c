"""``medeval weights convert``: a checkpoint as safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medeval.types import PluginError
from medeval_adapters.torch_common import import_torch


def convert_weights(source: Path, target: Path, *, key: str | None = None, ignore: Sequence[str] = ()) -> str:
    """Write the weights of ``source`` as ``target``; nothing that the file holds is run. Raises ``PluginError``.

    key, ignore: as ``medeval_models.weights.read_weights`` takes them.
    """
    import_torch()
    from medeval_models.weights import WeightsError, convert

    try:
        state = convert(source, target, key=key, ignore=ignore)
    except WeightsError as error:
        raise PluginError(str(error)) from error
    return f"{target}: {len(state)} tensors, {sum(t.numel() for t in state.values()):,} values"
