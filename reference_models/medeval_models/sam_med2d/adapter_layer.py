"""The adapter layer that SAM-Med2D puts beside each block's MLP.

The paper's figure draws it after the attention; the code, and so the released weights, have it parallel to the MLP,
both reading the second norm's output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AdapterLayer(nn.Module):
    """Channel attention, then a strided convolution and its transpose, a skip from the input, and a norm.

    ``z = x + relu(convT(relu(conv(s(x) * x))))`` with ``s`` a squeeze-and-excite gate; the result is ``LayerNorm(z)``.
    Both convolutions are dense, so the layers of a ViT-B hold 180 M parameters, twice the ViT's own.
    """

    def __init__(self, embed_dim: int, squeeze: float = 0.25) -> None:
        super().__init__()
        # Unlike the block's own norms, this one has PyTorch's eps of 1e-5.
        self.norm = nn.LayerNorm(embed_dim)
        hidden = int(embed_dim * squeeze)
        self.channel = nn.Sequential(
            nn.Linear(embed_dim, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, embed_dim, bias=False),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(embed_dim, embed_dim, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(embed_dim, embed_dim, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape. ``ValueError`` when H or W is odd: the two strides would not meet."""
        if x.shape[1] % 2 or x.shape[2] % 2:
            raise ValueError(
                f"adapter layers need an even number of patches along each side, got {x.shape[1]} x {x.shape[2]}; "
                "choose image_size and patch_size accordingly"
            )
        gate = self.channel(x.mean(dim=(1, 2)))
        gated = torch.movedim(x * gate[:, None, None], -1, 1)
        return self.norm(x + torch.movedim(self.spatial(gated), 1, -1))
