"""DeepAugment with the published super-resolution network EDSR (Lim et al., CVPR workshops 2017)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.models.checkpoint import load_published
from harness.plugins import distorter
from harness.train.augment.deepaugment import ACTIVATIONS, WEIGHTS, Distortion, Option, Rng, TrainedDistorter, on, pick
from harness.train.augment.deepaugment.activations import ActivationChange, spots
from harness.train.augment.deepaugment.filters import filters, laplacian, minus_gelu, rotate, scale
from harness.types import HarnessError, Weights


class Block(nn.Module):
    """x plus two 3x3 convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.body = nn.Sequential(next(convolutions), nn.ReLU(), next(convolutions))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x + self.body(x)


class Edsr(nn.Module):
    """The baseline network for four times the side: 16 blocks of 64 channels, named as in the published file."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.head = nn.Sequential(nn.Conv2d(3, width, 3, padding=1))
        self.body = nn.Sequential(*(Block(width) for _ in range(16)), nn.Conv2d(width, width, 3, padding=1))
        grow = [part for _ in range(2) for part in (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))]
        self.tail = nn.Sequential(nn.Sequential(*grow), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, images: Tensor, before: Callable[[Tensor], Tensor], through: Callable[..., Tensor]) -> Tensor:
        """Images (B, 3, H, W) in [0, 255] to (B, 3, 4 H, 4 W).

        before: what happens to the features ahead of the blocks. through: the way of features through the blocks.
        """
        x = before(self.head(self.sub_mean(images)))
        output: Tensor = self.add_mean(self.tail(x + through(self.body, x)))
        return output


def unchanged(x: Tensor, rng: Rng) -> Tensor:
    """The features themselves."""
    return x


def after_five(change: ActivationChange) -> Callable[[nn.Sequential, Tensor, Rng], Tensor]:
    """Through all blocks, with a change between the fifth and the sixth."""

    def go(body: nn.Sequential, x: Tensor, rng: Rng) -> Tensor:
        changed: Tensor = body[5:](change(body[:5](x), rng))
        return changed

    return go


def skip(body: nn.Sequential, x: Tensor, rng: Rng) -> Tensor:
    """Through one layer only.

    The program means to leave out up to three of the last 15 layers; but it hands its input to each of the others, so
    that only the last of these counts.
    """
    left_out = set(rng.integers(2, 17, size=3).tolist())
    last = max(set(range(len(body))) - left_out)
    result: Tensor = body[last](x)
    return result


BEFORE = (
    ACTIVATIONS["copy"],
    partial(spots, share=0.05, channelwise=True),
    partial(spots, value=-1.0, share=0.025, channelwise=True),
    unchanged,
)
THROUGH = (*(after_five(ACTIVATIONS[name]) for name in ("negate", "activate", "reverse")), skip, after_five(unchanged))

EARLY = [f"body.{k}.body." for k in (0, 3, 6, 9)]
SPREAD = [f"body.{k}.body." for k in (1, 5, 9)]
BLOCKS = [f"body.{k}.body." for k in range(15)]
CONVOLUTIONS = [f"{block}{layer}" for block in BLOCKS for layer in (0, 2)]
ALL_GELU = filters(minus_gelu, bias=False)
OPTIONS = (
    Option(EARLY, {"0": WEIGHTS["flip"], "2": WEIGHTS["flip"]}),
    Option([f"body.{k}.body." for k in (1, 4, 7)], {"0": filters(torch.neg)}),
    Option(EARLY, {"0": filters(torch.zeros_like)}),
    Option(EARLY, {"0": ALL_GELU, "2": ALL_GELU}),
    Option(EARLY, {"0": laplacian}),
    Option(EARLY, {"0": partial(laplacian, neighbours=8)}),
    Option(EARLY, {"2": partial(scale, spread=4.0)}),
    Option(EARLY, {"0": WEIGHTS["mirror"], "2": filters(torch.neg, bias=False)}),
    Option(SPREAD, {"0": WEIGHTS["shift"]}),
    Option(EARLY, {"0": WEIGHTS["uniform"]}),
    Option(SPREAD, {"2": WEIGHTS["dirichlet"]}),
    Option(BLOCKS, {"2": WEIGHTS["noise"]}),
    Option(CONVOLUTIONS, {"": partial(rotate, channels=True)}, times=5),
    Option(BLOCKS, {"0": WEIGHTS["sign"]}, times=5),
    Option(BLOCKS, {"0": WEIGHTS["drop"]}, times=5),
    Option(BLOCKS, {"0": filters(torch.neg, 32, bias=False)}, times=5),
    Option(CONVOLUTIONS, {"": WEIGHTS["strongest"]}, times=5),
)
"""Published layers and counts; three options are drawn."""


@distorter("edsr")
@dataclass(frozen=True)
class EdsrDistorter(TrainedDistorter):
    """The super-resolution network of DeepAugment, from the published weights: edsr:weights=FILE.

    weights: the file ``edsr_baseline_x4.pt``.
    """

    size: ClassVar = 128
    weights: str = ""

    def load(self) -> tuple[nn.Module, Weights]:
        """The file, checked."""
        origin = "Take DeepAugment/EDSR_Weights/edsr_baseline_x4.pt from github.com/hendrycks/imagenet-r."
        if not self.weights:
            raise HarnessError(f"edsr comes without weights: write edsr:weights=FILE. {origin}")
        return load_published(Path(self.weights), Edsr(), "baseline EDSR network for x4", origin)

    def perturbed(self, rng: Rng, device: str = "cpu") -> Distortion:
        """Three changes of the weights, one after the other."""
        state = self.network.state_dict()
        for _ in range(3):
            state = pick(rng, OPTIONS)(state, rng)
        state = on(device, state)

        def distort(images: Tensor, rng: Rng) -> Tensor:
            before, through = pick(rng, BEFORE), pick(rng, THROUGH)
            output = self.apply(state, 255 * images, partial(before, rng=rng), partial(through, rng=rng))
            return output.clamp(0, 255) / 255

        return distort
