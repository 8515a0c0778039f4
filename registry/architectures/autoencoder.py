"""The network behind DeepAugment on small images: a convolutional autoencoder.

An architecture of kind "autoencoder" is built without arguments. The network maps images (B, 3, H, W) in [0, 1], and
what is done to their code (B, C, h, w) in [-1, 1], to images; `layers` names the convolutions whose weights DeepAugment
may change, and `bypassed` those of them that a residual connection leads around.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from harness.plugins import architecture


class Residual(nn.Module):
    """x plus two 3x3 convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x + self.second(F.leaky_relu(self.first(x)))


class Autoencoder(nn.Module):
    """Strided convolutions, residual blocks and a tanh code, then their inverse.

    After the compressive autoencoder of Theis et al. (ICLR 2017) that DeepAugment uses, without its rounding of the
    code to bits.
    """

    bypassed: ClassVar = ("decoder.1.first", "decoder.1.second", "decoder.2.first", "decoder.2.second")
    layers: ClassVar = ("encoder.5", "decoder.0", *bypassed)

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, width // 2, 4, stride=2, padding=1), nn.LeakyReLU()),
            *(nn.Conv2d(width // 2, width, 4, stride=2, padding=1), nn.LeakyReLU()),
            Residual(width),
            *(nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            *(Residual(width), Residual(width)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.LeakyReLU(), nn.PixelShuffle(2)),
            *(nn.Conv2d(width // 2, 12, 3, padding=1), nn.PixelShuffle(2)),
        )

    def forward(self, images: Tensor, change: Callable[[Tensor], Tensor] = lambda code: code) -> Tensor:
        """Images in [0, 1] to their reconstruction, around [0, 1]."""
        reconstruction: Tensor = self.decoder(change(self.encoder(images)))
        return reconstruction


@architecture(
    "autoencoder",
    kind="autoencoder",
    image_size=32,
    recipe={"batch_size": 64, "lr": 2e-3, "weight_decay": 0.01, "warmup": 2, "augment": "none"},
    recipes={"digits": {"epochs": 60}},
)
def compact_autoencoder() -> nn.Module:
    """Autoencoder with a code of 16x8x8, 0.2 M parameters: DeepAugment's network for small images."""
    return Autoencoder(width=48, channels=16)
