"""Any object with SAM's predictor interface as an adapter, in one line of YAML.

    mine: {adapter: sam-predictor, predictor: "my_package.models:make_predictor", options: {size: base}}
    mine: {adapter: sam-predictor, file: my_sam.py, predictor: make_predictor, checkpoint: weights.pth}

``make_predictor(**options)`` is a class or a function; what it returns has ``set_image(rgb)`` and
``predict(point_coords, point_labels, box, mask_input, multimask_output) -> masks, scores, low_res_logits``, as SAM's and
MedSAM's ``SamPredictor``, ``SAM2ImagePredictor`` and SAM-Med2D's ``SammedPredictor`` have.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.plugins import resolve
from medeval.types import Capabilities, Image, ModelFailure, PluginError, Prompt, Segmentation
from medeval_adapters.rgb import to_rgb
from medeval_adapters.sam_prompts import Feedback, check, points_of


@dataclass(frozen=True, eq=False)
class Picture:
    """An encoded image: the picture itself, for the predictor holds only the last one that it was given."""

    rgb: NDArray[np.uint8]


class SAMPredictor:
    """A stateful predictor behind the functional protocol: an image is set again only when another came between.

    Prompts are asked one by one, as the interface has it. Points and boxes are x, y in the image's own pixels.
    """

    takes: ClassVar[Capabilities] = Capabilities(dimensions=frozenset({2}))
    baseline: ClassVar[bool] = False
    description: ClassVar[str] = "any object with SAM's set_image and predict"

    def __init__(
        self,
        predictor: str,
        file: Path | None = None,
        checkpoint: Path | None = None,
        options: dict[str, Any] | None = None,
        multimask: bool = True,
        mask_feedback: Feedback = "logits",
        prompts: tuple[Literal["box", "points", "mask"], ...] = ("box", "points", "mask"),
        channels: tuple[int, ...] | None = None,
        window: tuple[float, float] | None = None,
    ) -> None:
        """predictor: ``package.module:name``, ``path/file.py:name``, or a name in ``file``.

        checkpoint: passed on as ``checkpoint=``; named here its bytes identify the model. options: keywords passed on.
        multimask: ask for several masks and take the best by score. mask_feedback: what goes back as ``mask_input``.
        prompts: kinds that the predictor takes. channels, window: see ``rgb.to_rgb``.
        Raises ``PluginError`` when there is no such object, or what it makes is no predictor.
        """
        reference = f"{file}:{predictor}" if file else predictor
        make = resolve("medeval.predictors", reference)
        self.predictor = _made(
            make, reference, {**(options or {}), **({"checkpoint": str(checkpoint)} if checkpoint else {})}
        )
        self.takes = Capabilities(frozenset(prompts), frozenset({2}))  # type: ignore[misc]  # narrows the class's
        self.multimask = multimask
        self.mask_feedback = mask_feedback
        self.channels = channels
        self.window = window
        self._current: Picture | None = None
        self._lock = threading.Lock()

    def encode(self, image: Image) -> Picture:
        """Give the predictor the image. Raises ``DataError``, see ``to_rgb``."""
        picture = Picture(to_rgb(image, self.channels, self.window))
        with self._lock:
            self._set(picture)
        return picture

    def segment(self, encoded: Picture, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One answer a prompt. Raises ``EvaluatorFailure`` for what cannot be meant, ``ModelFailure`` for a strange answer."""
        with self._lock:
            self._set(encoded)
            return [self._ask(encoded, prompt) for prompt in prompts]

    def _set(self, picture: Picture) -> None:
        if self._current is not picture:
            self._current = None  # should set_image fail, nothing is set
            self.predictor.set_image(picture.rgb)
            self._current = picture

    def _ask(self, picture: Picture, prompt: Prompt) -> Segmentation:
        shape = picture.rgb.shape[:2]
        check(prompt, shape)
        points, labels = points_of(prompt)
        answer = self.predictor.predict(
            point_coords=points[:, ::-1].astype(np.float32) if len(points) else None,
            point_labels=labels.astype(np.int32) if len(points) else None,
            box=None if prompt.box is None else np.asarray(prompt.box)[:, ::-1].reshape(4).astype(np.float32),
            mask_input=self._fed_back(prompt),
            multimask_output=self.multimask,
        )
        masks, scores, low = (_unbatched(part, dims) for part, dims in zip(answer, (3, 1, 3), strict=True))
        best = int(np.argmax(scores))
        # SAM-Med2D's predictor answers only its best mask, with several scores or one.
        mask, logits = (part[best if len(part) > best else 0] for part in (masks, low))
        return Segmentation(_binary(mask, shape), float(scores[best]), np.asarray(logits, dtype=np.float32))

    def _fed_back(self, prompt: Prompt) -> NDArray[np.float32] | None:
        """The last logits; a mask without logits cannot be asked with, for its size is the predictor's own secret."""
        if prompt.logits is None:
            return None
        from scipy.special import expit

        logits: NDArray[np.float32] = np.asarray(prompt.logits, dtype=np.float32)[None]
        return (
            np.asarray(expit(logits), dtype=np.float32) if self.mask_feedback == "probabilities" else logits
        )


def _made(make: Any, reference: str, options: dict[str, Any]) -> Any:
    try:
        made = make(**options) if callable(make) else make
    except TypeError as error:
        raise PluginError(
            f"predictor: {reference} does not take {', '.join(options) or 'no options'}: {error}"
        ) from error
    lacking = [name for name in ("set_image", "predict") if not callable(getattr(made, name, None))]
    if lacking:
        raise PluginError(
            f"predictor: {reference} made a {type(made).__name__} without {' and '.join(lacking)}; "
            "SAM's interface is set_image(image) and predict(point_coords, point_labels, box, mask_input, multimask_output)"
        )
    return made


def _unbatched(value: Any, dims: int) -> NDArray:
    """A tensor or array without leading axes of one beyond ``dims``. Raises ``ModelFailure`` for any other shape."""
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    while array.ndim > dims and len(array) == 1:
        array = array[0]
    if array.ndim != dims or not len(array):
        raise ModelFailure(f"predict answered an array of shape {array.shape} where {dims} axes are expected")
    return array


def _binary(mask: NDArray, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask.shape != shape:
        raise ModelFailure(f"predict answered a mask of shape {mask.shape}; the image is {shape}")
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ModelFailure("predict answered a mask with values beyond 0 and 1; it must threshold")
    return mask.astype(bool)
