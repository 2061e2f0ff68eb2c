"""A volume's slices as a 2D model has encoded them: each when a prompt first touches it, the next one beside this one's prompts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any

from medeval.tasks.context import blame
from medeval.types import Image, InfrastructureFailure, Prompt
from medeval_adapters.slicewise_planes import Planes

_KEPT = 64  # encoded slices


@dataclass(eq=False)
class Stack:
    """An encoded volume. beside: a thread in which the model may encode a slice while it is asked about another, or None."""

    image: Image
    planes: Planes
    model: Any
    beside: Executor | None = None
    _encoded: OrderedDict[int, Any] = field(default_factory=OrderedDict)
    _begun: tuple[int, Future] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, index: int, prompts: Sequence[Prompt], following: int | None = None) -> Any:
        """The model's answers on one slice; the encoding of slice ``following`` is begun meanwhile.

        Out of memory, they are asked for again with nothing begun.
        """
        encoded = self.encoded(index, following)
        try:
            return self.model.segment(encoded, prompts)
        except Exception as error:
            if not isinstance(blame(error, "segment"), InfrastructureFailure) or not self._drop():
                raise
        return self.model.segment(encoded, prompts)

    def encoded(self, index: int, following: int | None = None) -> Any:
        """The 2D model's encoding of one slice; the last ones used are kept. Then that of ``following`` is begun."""
        self.settle()
        with self._lock:
            if index not in self._encoded:
                self._encoded[index] = self._encode(index)
            self._encoded.move_to_end(index)
            found = self._encoded[index]
            self._trim()
            if self.beside is not None and following is not None and following not in self._encoded:
                self._begun = following, self.beside.submit(self._encode, following)
            return found

    def settle(self) -> None:
        """Wait for what was begun. What failed is done again when it is asked for, and fails there."""
        with self._lock:
            begun, self._begun = self._begun, None
            if begun is not None and begun[1].exception() is None:
                self._encoded[begun[0]] = begun[1].result()
                self._trim()

    def _encode(self, index: int) -> Any:
        return self.model.encode(self.planes.image(self.image, index))

    def _trim(self) -> None:
        while len(self._encoded) > _KEPT:
            self._encoded.popitem(last=False)

    def _drop(self) -> bool:
        """Let go of what was begun, and begin nothing more on this volume. False where nothing was."""
        with self._lock:
            begun, self._begun, self.beside = self._begun, None, None
        if begun is not None and not begun[1].cancel():
            wait([begun[1]])
        return begun is not None
