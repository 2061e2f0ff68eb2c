"""The parts of a network that methods ask for, found by name or given: decoder, head, features, batch norm, dropout.

A name is a regular expression on the names of ``named_modules``, for example ``decoder`` or ``model\\.2|up_\\d``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from medeval_models.adaptation.base import AdaptationError

DECODER = re.compile(r"(aux_)?dec(oder)?s?\d*|up\w*|expand\w*")
HEAD = re.compile(r"last|final\w*|out\w*|conv_final|classifier|seg\w*|\w*heads?\d*")


def adaptable(model: nn.Module, method: str) -> nn.Module:
    """A copy of the model that can learn. Raises ``AdaptationError`` for TorchScript and for a model without parameters."""
    if isinstance(model, torch.jit.ScriptModule):
        raise AdaptationError(
            f"{method}: the model is a TorchScript program, whose parts cannot be changed; give the network's class "
            "(builder) and its weights"
        )
    if not any(True for _ in model.parameters()):
        raise AdaptationError(f"{method}: the model ({type(model).__name__}) has no parameters to adapt")
    found = copy.deepcopy(model)
    for parameter in found.parameters():
        parameter.requires_grad_(True)
    return found


# -- batch norm and dropout -------------------------------------------------------------------------------------


def batch_norms(model: nn.Module, method: str = "") -> list[_BatchNorm]:
    """Every batch norm layer. method: when given, having none is an ``AdaptationError`` in its name."""
    found = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if method and not found:
        others = sorted({type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__})
        has = f"it has {', '.join(others)}" if others else "it has no normalisation at all"
        raise AdaptationError(
            f"{method} adapts batch norm layers, and this {type(model).__name__} has none ({has}); "
            "a method that changes other weights fits it: upl-sfda, shot, mean-teacher, cotta"
        )
    return found


def use_batch_statistics(model: nn.Module) -> nn.Module:
    """Batch norm by the statistics of each batch, also in evaluation mode; running ones are dropped. Returns the model."""
    for layer in batch_norms(model):
        layer.track_running_stats = False
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    return model


def dropouts(model: nn.Module) -> list[_DropoutNd]:
    """Every dropout layer with a rate above 0."""
    return [module for module in model.modules() if isinstance(module, _DropoutNd) and module.p > 0]


def train_mode(model: nn.Module, dropout: bool) -> nn.Module:
    """Training mode, with or without dropout. Returns the model."""
    model.train()
    for layer in dropouts(model):
        layer.train(dropout)
    return model


# -- decoder and head -------------------------------------------------------------------------------------------


def decoder_of(model: nn.Module, pattern: str = "") -> list[str]:
    """Names of the modules that make up the prediction head that is copied: the decoder with its last layers.

    pattern: regular expression on full names; "" looks for usual ones (``decoder``, ``up_...``, ``final...``) among the
    model's children, and behind the skip connections of MONAI's ``UNet``. Raises ``AdaptationError`` when there is none.
    """
    if pattern:
        found = [name for name, _ in model.named_modules() if name and re.fullmatch(pattern, name)]
        if not found:
            raise AdaptationError(f"decoder {pattern!r} matches no module; {_names(model)}")
        return _outermost(found)
    found = _behind_skips(model)
    children = _children(model)
    if not found and any(DECODER.fullmatch(name.rpartition(".")[2]) for name in children):
        rule = re.compile(f"{DECODER.pattern}|{HEAD.pattern}")
        found = [name for name in children if rule.fullmatch(name.rpartition(".")[2])]
    if not found:
        raise AdaptationError(
            f"no decoder found in this {type(model).__name__}; name it by `decoder`: {_names(model)}"
        )
    return found


def copies_sharing_encoder(model: nn.Module, decoder: list[str], count: int) -> nn.ModuleList:
    """The model and ``count - 1`` copies of it that own their decoder and share everything else with it."""
    own = {id(m) for name in decoder for m in model.get_submodule(name).modules()}
    shared: dict[int, object] = {}
    for module in model.modules():
        if id(module) in own:
            continue
        if not any(id(inner) in own for inner in module.modules()):
            shared[id(module)] = module
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            shared[id(tensor)] = tensor
    return nn.ModuleList([model, *(copy.deepcopy(model, dict(shared)) for _ in range(count - 1))])


def head_of(model: nn.Module, pattern: str = "") -> tuple[str, nn.Module]:
    """Name and module of the last layer, which takes features and gives logits.

    pattern: regular expression on full names, the last match counts; "" is the convolution that was made last.
    """
    named = [(name, module) for name, module in model.named_modules() if name]
    if pattern:
        found = [item for item in named if re.fullmatch(pattern, item[0])]
        problem = f"head {pattern!r} matches no module"
    else:
        found = [item for item in named if isinstance(item[1], _ConvNd)]
        problem = f"no convolution in this {type(model).__name__}; name its last layer by `head`"
    if not found:
        raise AdaptationError(f"{problem}; {_names(model)}")
    return found[-1]


@contextmanager
def tapped(head: nn.Module) -> Iterator[list[Tensor]]:
    """While inside, every forward appends what comes into ``head``: the features."""
    taken: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    try:
        yield taken
    finally:
        handle.remove()


def features_and_logits(model: nn.Module, head: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, F, *spatial) that come into the head and (N, C, *spatial) that the model gives, on one grid."""
    with tapped(head) as taken:
        out = logits(model, x)
    if not taken or taken[-1].shape[2:] != out.shape[2:]:
        shape = tuple(taken[-1].shape) if taken else "nothing"
        raise AdaptationError(
            f"the head ({type(head).__name__}) gets {shape} where the logits are {tuple(out.shape)}; name by `head` a last "
            "layer that works at full resolution"
        )
    return taken[-1], out


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """(N, C, *spatial) with C >= 2: one channel becomes the two of a binary softmax. The first of several outputs.

    Raises ``AdaptationError`` for other outputs, and where batch norm in training mode gets a single value a channel.
    """
    try:
        out = model(x)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise AdaptationError(
            f"a batch of shape {tuple(x.shape)} leaves batch norm one value a channel at its deepest level; give larger "
            "images or several a step (batch_size)"
        ) from error
    out = out[0] if isinstance(out, list | tuple) else out
    if not isinstance(out, Tensor) or out.ndim < 3:
        raise AdaptationError(f"the model gave {type(out).__name__}; logits (N, C, *spatial) are needed")
    out = out.float()
    return torch.cat([torch.zeros_like(out), out], dim=1) if out.shape[1] == 1 else out


def _behind_skips(model: nn.Module) -> list[str]:
    """In MONAI's ``UNet`` a level is Sequential(down, SkipConnection(level below), up)."""
    found = []
    for name, module in model.named_modules():
        children = list(module.named_children()) if isinstance(module, nn.Sequential) else []
        kinds = [type(child).__name__ for _, child in children]
        if "SkipConnection" in kinds:
            behind = children[kinds.index("SkipConnection") + 1 :]
            found += [f"{name}.{child}" if name else child for child, _ in behind]
    return found


def _children(model: nn.Module) -> list[str]:
    """Names of the children, below wrappers of a single child."""
    prefix, module = "", model
    while len(children := list(module.named_children())) == 1:
        prefix, module = f"{prefix}{children[0][0]}.", children[0][1]
    return [f"{prefix}{name}" for name, _ in children]


def _outermost(names: list[str]) -> list[str]:
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]


def _names(model: nn.Module) -> str:
    names = [name for name, _ in model.named_modules() if name and name.count(".") < 2][:12]
    return f"its modules begin with {', '.join(names)}"
