"""DeepAugment with the published compressive autoencoder (Theis et al., ICLR 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.models.checkpoint import load_published
from harness.plugins import distorter
from harness.train.augment.deepaugment import (
    ACTIVATIONS,
    CODE,
    WEIGHTS,
    AutoencoderDistorter,
    Option,
    Rng,
    pick,
    uniform,
)
from harness.train.augment.deepaugment.filters import drop_or_sign, filters
from harness.types import HarnessError, Weights


def downsample(inputs: int, outputs: int) -> nn.Sequential:
    """Half the side."""
    return nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(inputs, outputs, 5, stride=2), nn.LeakyReLU())


def block() -> nn.Sequential:
    """The convolutions of a residual block."""
    convolution = (nn.ZeroPad2d(1), nn.Conv2d(128, 128, 3))
    return nn.Sequential(*convolution, nn.LeakyReLU(), nn.ZeroPad2d(1), nn.Conv2d(128, 128, 3))


def upsample(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Twice the side."""
    widen = nn.ConvTranspose2d(hidden, outputs, 2, stride=2)
    return nn.Sequential(nn.Conv2d(inputs, hidden, 3), nn.LeakyReLU(), nn.ZeroPad2d(1), widen)


class CompressiveAutoencoder(nn.Module):
    """Images to a code of 32 channels at a quarter of the side, and back; names are those of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.e_conv_1, self.e_conv_2 = downsample(3, 64), downsample(64, 128)
        self.e_block_1, self.e_block_2, self.e_block_3 = block(), block(), block()
        self.e_conv_3 = nn.Sequential(nn.Conv2d(128, 32, 5, padding=2), nn.Tanh())
        self.d_up_conv_1 = upsample(32, 64, 128)
        self.d_block_1, self.d_block_2, self.d_block_3 = block(), block(), block()
        self.d_up_conv_2 = upsample(128, 32, 256)
        out = (nn.Conv2d(256, 16, 3), nn.LeakyReLU(), nn.ReflectionPad2d(2), nn.Conv2d(16, 3, 3), nn.Tanh())
        self.d_up_conv_3 = nn.Sequential(*out)

    def forward(self, images: Tensor, change: Callable[[Tensor], Tensor] = lambda code: code) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to (B, 3, 4 [H / 4], 4 [W / 4]) in [-1, 1]; `change` acts on the code."""
        x = self.e_conv_2(self.e_conv_1(images))
        for residual in (self.e_block_1, self.e_block_2, self.e_block_3):
            x = x + residual(x)
        x = self.d_up_conv_1(change(self.e_conv_3(x)))
        for residual in (self.d_block_1, self.d_block_2, self.d_block_3):
            x = x + residual(x)
        output: Tensor = self.d_up_conv_3(self.d_up_conv_2(x))
        return output


BLOCKS = [f"d_block_{k}.{layer}" for k in (1, 2, 3) for layer in (1, 4)]
CENTRE = ["e_conv_3.0", "d_up_conv_1.0", "d_up_conv_1.3", *BLOCKS[:3]]
OPTIONS = (
    # The program flips a second layer's weights twice, and so not at all.
    Option(BLOCKS[:5], {"": WEIGHTS["flip"]}),
    Option(CENTRE, {"": WEIGHTS["negate"]}),
    Option(CENTRE, {"": WEIGHTS["zero"]}),
    Option(CENTRE[2:], {"": WEIGHTS["gelu"]}),
    Option(CENTRE, {"": WEIGHTS["scale"]}, times=2),
    Option(CENTRE, {"": drop_or_sign}),
    Option(CENTRE, {"": WEIGHTS["rotate"]}),
    Option(CENTRE, {"": filters(torch.neg, 0.2, bias=False)}),
    # A ninth, ``strongest``, is written down in the program but never drawn.
)
"""Published layers and counts."""


@distorter("cae")
@dataclass(frozen=True)
class Cae(AutoencoderDistorter):
    """The compressive autoencoder of DeepAugment, from the published weights: cae:weights=FILE.

    weights: the authors' file ``model_final.state``.
    """

    size: ClassVar = 512
    weights: str = ""

    def load(self) -> tuple[nn.Module, Weights]:
        """The file, checked."""
        origin = "Take DeepAugment/CAE_Weights/model_final.state from github.com/hendrycks/imagenet-r."
        if not self.weights:
            raise HarnessError(f"cae comes without weights: write cae:weights=FILE. {origin}")
        return load_published(Path(self.weights), CompressiveAutoencoder(), "compressive autoencoder", origin)

    def options(self) -> Sequence[Option]:
        """The eight that the published program draws from."""
        return OPTIONS

    def change(self, code: Tensor, rng: Rng) -> Tensor:
        """The code under one family of nine, as bits."""
        return bits(code, pick(rng, CODE), rng)


def bits(code: Tensor, name: str, rng: Rng) -> Tensor:
    """The code under a family of changes, each number 1 with probability (1 + code) / 2, else -1 (Theis et al., 2.1).

    ``amplify`` acts on the bits, the others on the code before. Images of a call share the random thresholds.
    """
    family = ACTIVATIONS[name]
    late = name == "amplify"
    code = code if late else family(code, rng)
    thresholds = uniform(rng, code.shape[1:]).to(code.device)
    drawn = torch.where(thresholds <= (1 + code) / 2, 1.0, -1.0)
    return family(drawn, rng) if late else drawn
