"""SAM and SAM-Med2D as medeval's functional protocol: encode an image once, answer batches of prompts on it."""

# No `from __future__ import annotations`: subclasses in other modules inherit the fields' types as they are.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from medeval.types import Capabilities, Image, PluginError, Prompt, Segmentation
from medeval_adapters.rgb import to_picture
from medeval_adapters.sam_frames import Frame, Preparation
from medeval_adapters.sam_loading import load_sized
from medeval_adapters.sam_prompts import Batch, Feedback, batches
from medeval_adapters.torch_common import (
    Device,
    Precision,
    beside,
    import_torch,
    inference,
    pick_device,
    pick_precision,
    sent,
    side_stream,
    used_here,
)

if TYPE_CHECKING:
    from torch import Tensor

_PIXELS_AT_ONCE = 2**25  # of logits at original size: 128 MiB


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded image. embedding: (1, C, grid, grid) on the model's device."""

    embedding: "Tensor"
    frame: Frame


@dataclass(kw_only=True, eq=False)
class PromptableSAM:
    """A network with SAM's three parts, built from its checkpoint's own sizes; the options of ``sam`` and ``sam-med2d``.

    checkpoint: .pth or .safetensors; read without running what it holds.
    image_size: side of the square that the network sees; default the checkpoint's. Other sizes resize its positions.
    encoder_adapter: use the adapter layers; default: where the checkpoint has them. False drops them.
    device, precision: see ``torch_common``. Autocast covers the image encoder; prompts and masks stay in float32.
    batch_size: most prompts in one call of the decoder.
    compile: run the image encoder through ``torch.compile`` (the first image then takes a minute).
    encode_ahead: encode the next image while prompts are answered on this one; default: on a GPU, where it has a stream of
        its own. On a CPU the encoder's threads fill the cores already.
    preparation: how an image becomes the square, see ``sam_frames``.
    channel_order: of the colours that the network sees.
    mask_feedback: what the mask input is made of, the last logits or their sigmoid.
    multimask: choose by predicted IoU among three masks ``always``, ``never`` (the single-mask output), or, as SAM's paper
        has it, only for a single point (``ambiguous``).
    channels, window: see ``rgb.to_picture``.
    probabilities: return them too, for calibration metrics.
    decoder_num_heads: attention heads of the decoder, the one size that no checkpoint shows.
    Building raises ``PluginError`` for a checkpoint that cannot be used and for a GPU that is not there.
    """

    takes: ClassVar[Capabilities] = Capabilities(dimensions=frozenset({2}))
    baseline: ClassVar[bool] = False

    checkpoint: Path
    image_size: Annotated[int, Field(ge=1)] | None = None
    encoder_adapter: bool | None = None
    device: Device = "auto"
    precision: Precision = "auto"
    batch_size: Annotated[int, Field(ge=1)] = 64
    compile: bool = False
    encode_ahead: bool | None = None
    preparation: Preparation = "longest-side"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    mask_feedback: Feedback = "logits"
    multimask: Literal["always", "never", "ambiguous"] = "always"
    channels: tuple[int, ...] | None = None
    window: tuple[float, float] | None = None
    probabilities: bool = False
    decoder_num_heads: Annotated[int, Field(ge=1)] = 8

    def __post_init__(self) -> None:
        """Build the network and load its weights."""
        torch = import_torch()
        self._device = pick_device(self.device)
        self._dtype = pick_precision(self.precision, self._device)
        self.network = load_network(
            self.checkpoint,
            image_size=self.image_size,
            encoder_adapter=self.encoder_adapter,
            decoder_num_heads=self.decoder_num_heads,
        ).to(self._device)
        encoder = self.network.image_encoder
        self._encoder = torch.compile(encoder) if self.compile else encoder
        self._stream = side_stream(self._device)
        self.encodes_ahead = self._stream is not None if self.encode_ahead is None else self.encode_ahead

    def encode(self, image: Image) -> Encoded:
        """The image's embedding; the one pass through the image encoder. Raises ``DataError``, see ``to_picture``.

        May be called in another thread than ``segment``, and at the same time.
        """
        torch = import_torch()
        picture = to_picture(image, self.channels, self.window)
        frame = Frame.fit(picture.shape[:2], self.network.image_size, self.preparation)
        # The official script reads BGR and normalises it by RGB constants, so released weights expect that.
        colours = frame.resize(picture)[..., :: -1 if self.channel_order == "bgr" else 1]
        pixels = torch.from_numpy(np.moveaxis(colours, -1, 0).astype(np.float32))
        with beside(self._stream), inference(self._device, self._dtype):
            square = frame.place(self.network.normalise(sent(pixels, self._device)))[None]
            embedding = self._encoder(square).float()
        return Encoded(embedding, frame)

    def segment(self, encoded: Encoded, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One answer a prompt: mask at original size, predicted IoU, low-resolution logits for the next round.

        Raises ``EvaluatorFailure`` for a prompt that cannot be meant, see ``sam_prompts.check``.
        """
        answers: dict[int, Segmentation] = {}
        size = self.network.prompt_encoder.mask_input_size
        for batch in batches(prompts, encoded.frame, size, self.mask_feedback, self._device, self.batch_size):
            answers.update(zip(batch.at, self._answer(encoded, batch), strict=True))
        return [answers[position] for position in range(len(prompts))]

    def _answer(self, encoded: Encoded, batch: Batch) -> list[Segmentation]:
        several = self.multimask == "always" or (self.multimask == "ambiguous" and batch.ambiguous)
        with inference(self._device, None):
            used_here(encoded.embedding)
            found = self.network.decode(encoded.embedding, batch.points, batch.boxes, batch.masks, several)
            low, scores = found.logits[:, 0].cpu().numpy(), found.iou.tolist()
            masks, probabilities = self._restore(found.logits, encoded.frame)
        return [
            Segmentation(mask, score, logits, probability)
            for mask, score, logits, probability in zip(masks, scores, low, probabilities, strict=True)
        ]

    def _restore(self, logits: "Tensor", frame: Frame) -> tuple[list[Any], list[Any]]:
        """Masks, and probabilities where they are wanted, at original size; a few at once where images are large."""
        masks: list[Any] = []
        probabilities: list[Any] = []
        at_once = max(1, _PIXELS_AT_ONCE // max(frame.side**2, frame.original[0] * frame.original[1]))
        for part in logits.split(at_once):
            whole = frame.restore(part)
            masks.extend((whole > 0).cpu().numpy())  # sigmoid > 0.5
            probabilities.extend(whole.sigmoid().cpu().numpy() if self.probabilities else [None] * len(part))
        return masks, probabilities


def load_network(
    checkpoint: Path,
    *,
    image_size: int | None = None,
    encoder_adapter: bool | None = None,
    decoder_num_heads: int = 8,
) -> Any:
    """A ``Sam`` of the checkpoint's own sizes, or at another ``image_size``, in evaluation mode on the CPU.

    encoder_adapter: False drops the checkpoint's adapter layers. Raises ``PluginError`` naming the file and what is wrong.
    """
    import_torch()
    from medeval_models import sam_med2d

    def load(state: dict[str, Any], sizes: dict[str, Any]) -> Any:
        if encoder_adapter and not sizes["encoder_adapter"]:
            raise PluginError(
                f"{checkpoint}: encoder_adapter: true, but it has no adapter layers (SAM or FT-SAM)"
            )
        wanted = {
            "image_size": image_size,
            "encoder_adapter": encoder_adapter,
            "decoder_num_heads": decoder_num_heads,
        }
        sizes |= {name: value for name, value in wanted.items() if value is not None}
        network = sam_med2d.build(**sizes)
        drop = () if sizes["encoder_adapter"] else (".Adapter.",)
        sam_med2d.load_checkpoint(network, state, drop=drop, source=str(checkpoint))
        return network

    return load_sized(checkpoint, sam_med2d.sizes_of, load, whose="SAM's or SAM-Med2D's")
