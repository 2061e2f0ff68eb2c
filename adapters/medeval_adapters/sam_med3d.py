"""SAM-Med3D (arXiv 2310.15161) as medeval's functional protocol: volumes, clicks, and answers on the volume's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Option

from medeval.types import Capabilities, DataError, Image, Prompt, Segmentation
from medeval_adapters.sam_loading import load_sized
from medeval_adapters.sam_med3d_field import Restore
from medeval_adapters.sam_med3d_plan import Ask, Clicks, Dialogue, Patch, open_dialogue
from medeval_adapters.sam_med3d_volume import Begin, Volume, open_volume
from medeval_adapters.torch_common import (
    Device,
    Precision,
    import_torch,
    inference,
    pick_device,
    pick_precision,
)

if TYPE_CHECKING:
    from torch import Tensor

_NOTHING = -10.0  # logits of a tile without tissue: it is not asked


@dataclass(kw_only=True, eq=False)
class SAMMed3D:
    """``sam_med3d_turbo.pth`` or any other checkpoint of its parts; sizes are read from it.

    checkpoint: .pth or .safetensors; read without running what it holds.
    device, precision: see ``torch_common``. Autocast covers the image encoder; clicks and masks stay in float32.
    patch: where the network looks, see ``sam_med3d_plan``. ``target`` takes the box of ``box + N clicks`` prompts for its
        crop alone, which tells the model where the target is: say so beside the numbers. A box before the first click is
        asked as a click in its middle.
    batch_size: most prompts in one call of the decoder, and most patches in one of the encoder.
    clicks: show the decoder ``all`` clicks so far, as the official inference script, or only the ``newest``, as training.
    restore: ``nearest``, as the official script, cuts the mask at 1.5 mm and takes the nearest voxel: on finer grids this
        alone costs small structures several points of Dice. ``linear`` interpolates the logits instead.
    channel: of a volume with several.
    decoder_num_heads: attention heads of the decoder, the one size that no checkpoint shows.
    Building raises ``PluginError`` for a checkpoint that cannot be used and for a GPU that is not there.
    """

    takes: ClassVar[Capabilities] = Capabilities(frozenset({"points", "mask"}), frozenset({3}))
    description: ClassVar[str] = "SAM-Med3D: one click a volume, 128^3 patches at 1.5 mm"
    baseline: ClassVar[bool] = False
    trained_on: ClassVar[tuple[str, ...]] = ("SA-Med3D-140K",)

    checkpoint: Path
    device: Device = "auto"
    precision: Precision = "auto"
    patch: Patch = "clicks"
    batch_size: Annotated[int, Option(ge=1)] = 8
    clicks: Clicks = "all"
    restore: Restore = "nearest"
    channel: Annotated[int, Option(ge=0)] | None = None
    decoder_num_heads: Annotated[int, Option(ge=1)] = 8

    def __post_init__(self) -> None:
        """Build the network and load its weights."""
        if self.patch == "target":
            self.takes = Capabilities(self.takes.prompts | {"box"}, frozenset({3}))  # type: ignore[misc]  # the class's, widened
        self._device = pick_device(self.device)
        self._dtype = pick_precision(self.precision, self._device)
        self.network = load_network(self.checkpoint, self.decoder_num_heads).to(self._device)

    def encode(self, image: Image) -> Volume:
        """Check the volume; patches are embedded when the first prompt asks for them. Raises ``DataError``."""
        return open_volume(image, self.network.image_size, self.channel)

    def segment(self, encoded: Volume, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One answer a prompt: the mask on the volume's grid, and logits to feed back; there is no score, for the
        network's own was never trained.

        Raises ``EvaluatorFailure`` for a prompt that cannot be meant, ``DataError`` for a patch without intensities.
        """
        low = self.network.low_res_size
        dialogues = [open_dialogue(encoded, prompt, self.patch, self.clicks, low) for prompt in prompts]
        while asked := [(dialogue, ask) for dialogue in dialogues for ask in dialogue.asks()]:
            answers = self._answers(encoded, [ask for _, ask in asked])
            for (dialogue, ask), logits in zip(asked, answers, strict=True):
                dialogue.answered(ask.begin, _nothing_there(dialogue, ask) if logits is None else logits)
        return [
            Segmentation(d.known.restored(encoded.grid, self._upscale, self.restore), logits=d.known.kept())
            for d in dialogues
        ]

    def _answers(self, volume: Volume, asks: Sequence[Ask]) -> list[NDArray[np.float32] | None]:
        """Low-resolution logits of each, None for a patch that cannot be normalised.

        Those with as many clicks go together: padding with "no point" would change the answer.
        """
        alike: dict[int, list[int]] = {}
        for position, ask in enumerate(asks):
            alike.setdefault(len(ask.points), []).append(position)
        found: dict[int, NDArray[np.float32]] = {}
        for positions in alike.values():
            for start in range(0, len(positions), self.batch_size):
                at = positions[start : start + self.batch_size]
                known = volume.embeddings([asks[position].begin for position in at], self._embed)
                at = [position for position in at if asks[position].begin in known]
                found |= zip(at, self._decode(known, [asks[position] for position in at]), strict=True)
        return [found.get(position) for position in range(len(asks))]

    def _decode(self, known: Mapping[Begin, Tensor], batch: Sequence[Ask]) -> Sequence[NDArray[np.float32]]:
        """Questions with as many clicks each, at patches whose embeddings are known."""
        torch = import_torch()
        if not batch:
            return []
        begins = [ask.begin for ask in batch]
        # One patch for all stays one until the decoder tells its prompts apart.
        embedding = (
            known[begins[0]] if len(set(begins)) == 1 else torch.cat([known[begin] for begin in begins])
        )
        points = None
        if len(batch[0].points):
            coords = self._stack([ask.points.astype(np.float32) for ask in batch])
            points = (coords, self._stack([ask.labels for ask in batch]))
        masks = self._stack([ask.mask for ask in batch])[:, None]
        with inference(self._device, None):
            logits = self.network.decode(embedding, points, masks).logits[:, 0].float().cpu().numpy()
        return list(logits)

    def _embed(self, patches: list[NDArray]) -> Tensor:
        torch = import_torch()
        # On a CPU a batch gains nothing and costs memory.
        at_once = 1 if self._device.type == "cpu" else self.batch_size
        parts = []
        with inference(self._device, self._dtype):
            for start in range(0, len(patches), at_once):
                parts.append(
                    self.network.image_encoder(self._stack(patches[start : start + at_once])[:, None]).float()
                )
        return torch.cat(parts)

    def _upscale(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        with inference(self._device, None):
            upscaled: NDArray[np.float32] = (
                self.network.upscale(self._stack([logits])[None])[0, 0].cpu().numpy()
            )
        return upscaled

    def _stack(self, arrays: Sequence[NDArray]) -> Tensor:
        return import_torch().from_numpy(np.stack(arrays)).to(self._device)


def load_network(checkpoint: Path, decoder_num_heads: int = 8) -> Any:
    """A ``Sam3D`` of the checkpoint's own sizes, in evaluation mode on the CPU.

    Raises ``PluginError`` naming the file and what is wrong.
    """
    import_torch()
    from medeval_models import sam_med3d
    from medeval_models.weights import load_weights

    def load(state: dict[str, Any], sizes: dict[str, Any]) -> Any:
        network = sam_med3d.build(**sizes, decoder_num_heads=decoder_num_heads)
        load_weights(network, state, source=str(checkpoint))
        return network

    hint = "; 2D weights belong to `sam` and `sam-med2d`"
    return load_sized(checkpoint, sam_med3d.sizes_of, load, whose="SAM-Med3D's", hint=hint)


def _nothing_there(dialogue: Dialogue, ask: Ask) -> NDArray[np.float32]:
    """The answer for a patch that cannot be normalised. Raises ``DataError`` where the user clicked into it."""
    if len(ask.points):
        raise DataError(
            f"{dialogue.structure}: the patch at {ask.begin} (1.5 mm voxels) around the click cannot be normalised: it has no "
            "differing voxels above 0, which SAM-Med3D takes for foreground; shift intensities stored with a negative offset"
        )
    return np.full((dialogue.known.low,) * 3, _NOTHING, dtype=np.float32)
