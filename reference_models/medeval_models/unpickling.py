"""Checkpoints that hold more than tensors, read by PyTorch's restricted unpickler with stand-ins for the rest.

Training scripts save an optimiser object or their parsed arguments beside the weights; ``weights_only`` refuses such a
file. Here each of those classes, by name, becomes ``Inert``: an object whose construction and state do nothing. No code
from the file, and none that it names, is run.
"""

from __future__ import annotations

import pickletools
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class Inert:
    """Takes the place of any class or function that a checkpoint names and that is not needed."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """An empty object, whatever it is called with."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Does nothing."""

    def __setstate__(self, state: Any) -> None:
        """Forgets the state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Forgets the item: stand-ins of dictionaries are filled item by item."""

    def append(self, value: Any) -> None:
        """Forgets the value: stand-ins of lists are filled so."""

    def extend(self, values: Any) -> None:
        """Forgets the values."""


def _ordered_dict(*_: Any) -> OrderedDict[Any, Any]:
    """In the place of ``defaultdict``, whose factory would be code."""
    return OrderedDict()


_OPTIMISERS = (
    "adadelta.Adadelta", "adagrad.Adagrad", "adam.Adam", "adamax.Adamax", "adamw.AdamW", "asgd.ASGD", "nadam.NAdam",
    "radam.RAdam", "rmsprop.RMSprop", "rprop.Rprop", "sgd.SGD",
)  # fmt: skip
_SCHEDULERS = (
    "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LambdaLR", "LinearLR",
    "MultiStepLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
)  # fmt: skip

HARMLESS: tuple[str, ...] = (
    *(f"torch.optim.{name}" for name in _OPTIMISERS),
    *(f"torch.optim.lr_scheduler.{name}" for name in _SCHEDULERS),
    "torch.cuda.amp.grad_scaler.GradScaler",
    "torch.amp.grad_scaler.GradScaler",
    "argparse.Namespace",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray",
    "easydict.EasyDict", "yacs.config.CfgNode",
)  # fmt: skip
"""What published training checkpoints are known to hold beside their tensors."""

DANGEROUS = frozenset(
    {"builtins", "importlib", "nt", "os", "posix", "runpy", "shutil", "socket", "subprocess", "sys"}
)
"""Modules that no checkpoint has a use for: a file that names them means harm."""

_lock = threading.RLock()  # PyTorch's list of safe globals belongs to the process


@contextmanager
def stand_ins(ignore: Sequence[str] = ()) -> Iterator[None]:
    """While inside, ``torch.load(weights_only=True)`` meets ``Inert`` for ``HARMLESS`` and the names in ``ignore``.

    ignore: full names such as ``my_project.config.Config``; those of ``DANGEROUS`` modules are refused all the same.
    """
    import torch

    wanted = [name for name in ignore if name.partition(".")[0] not in DANGEROUS]
    inert: list[tuple[Callable[..., Any], str]] = [(Inert, name) for name in (*HARMLESS, *wanted)]
    containers: list[Any] = [(_ordered_dict, "collections.defaultdict"), dict, list, set]
    with _lock, torch.serialization.safe_globals([*inert, *containers]):
        yield


def is_program(path: Path) -> bool:
    """True for a zip that ``torch.jit.save`` wrote."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def objects_in(path: Path, ignore: Sequence[str] = ()) -> list[str]:
    """Full names of the classes and functions that a checkpoint's pickles name and that would not be read, sorted.

    Found by looking through the pickle's instructions, without following them.
    """
    from torch import _weights_only_unpickler as restricted

    with stand_ins(ignore):
        known = {*restricted._get_allowed_globals(), *restricted._get_user_allowed_globals()}
    return sorted({name for name in _named(path) if name not in known})


def _named(path: Path) -> Iterator[str]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(5):  # before PyTorch 1.6: magic number, protocol, system, content, storages
                yield from _globals(file)
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("data.pkl"):
                with archive.open(name) as file:
                    yield from _globals(file)


def _globals(file: IO[bytes]) -> Iterator[str]:
    """The names in one pickle, up to its end or to what is no pickle."""
    texts: list[str] = []  # protocol 4 takes module and name from the stack
    try:
        for code, value, _ in pickletools.genops(file):
            if code.name in ("GLOBAL", "INST"):
                yield str(value).replace(" ", ".", 1)
            elif code.name == "STACK_GLOBAL":
                yield ".".join(texts[-2:])
            elif isinstance(value, str):
                texts.append(value)
    except ValueError:
        return
