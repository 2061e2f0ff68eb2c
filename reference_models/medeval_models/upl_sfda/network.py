"""An encoder with prediction heads: the source model (one head) and the grown one (four, each with its transform)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medeval_models.upl_sfda.transforms import Spatial, fixed_transforms

HEADS = 4


class SourceUNet(nn.Module):
    """Encoder ``enc`` and head ``aux_dec1``: a plain segmentation network that gives logits."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.enc = encoder
        self.aux_dec1 = head

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, n_classes, *spatial) of the image as it is."""
        return self.aux_dec1(*self.enc(x))


class UPLUNet(nn.Module):
    """The official network: ``enc`` and ``aux_dec1`` to ``aux_dec4``.

    pl_threshold: the data set's tau.
    """

    def __init__(self, encoder: nn.Module, heads: Sequence[nn.Module], pl_threshold: float) -> None:
        super().__init__()
        self.enc = encoder
        for number, head in enumerate(heads, start=1):
            self.add_module(f"aux_dec{number}", head)
        self.pl_threshold = pl_threshold

    @property
    def heads(self) -> list[nn.Module]:
        """The four decoders."""
        return [self.get_submodule(f"aux_dec{number}") for number in range(1, HEADS + 1)]

    def forward(self, x: Tensor) -> Tensor:
        """Mean probability of the heads, (N, n_classes, *spatial).

        x: (N, C, H, W), or for the 2D network also (N, C, D, H, W), taken as N * D slices; 3D: (N, C, D, H, W).
        """
        return self.head_probabilities(x).mean(dim=0)

    def head_probabilities(self, x: Tensor, transforms: Sequence[Spatial] | None = None) -> Tensor:
        """(K, N, n_classes, *spatial) softmax of each head under its transform, undone. Default: the official quarter turns."""
        x = self._slices(x)
        views = fixed_transforms(HEADS) if transforms is None else transforms
        return torch.stack(
            [
                view.undo(head(*self.enc(view.apply(x))).softmax(dim=1))
                for head, view in zip(self.heads, views, strict=True)
            ]
        )

    def source(self) -> SourceUNet:
        """Encoder and first head as a network of one head; its weights are these, not copies."""
        return SourceUNet(self.enc, self.heads[0])

    @torch.no_grad()
    def grow(self) -> UPLUNet:
        """Target-domain growing: every head becomes a copy of the first. Returns itself."""
        for head in self.heads[1:]:
            head.load_state_dict(self.heads[0].state_dict())
        return self

    def _slices(self, x: Tensor) -> Tensor:
        flat = next(p for p in self.enc.parameters() if p.ndim > 1).ndim == 4
        return x.transpose(1, 2).flatten(0, 1) if flat and x.ndim == 5 else x
