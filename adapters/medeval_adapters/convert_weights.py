"""``medeval weights convert``: a checkpoint as safetensors."""

from __future__ import annotations

from pathlib import Path

from medeval.types import PluginError
from medeval_adapters.torch_common import import_torch


def convert_weights(source: Path, target: Path) -> str:
    """Write the weights of ``source`` as ``target``; nothing that the file holds is run. Raises ``PluginError``."""
    import_torch()
    from medeval_models.weights import WeightsError, convert

    try:
        state = convert(source, target)
    except WeightsError as error:
        raise PluginError(str(error)) from error
    return f"{target}: {len(state)} tensors, {sum(t.numel() for t in state.values()):,} values"
