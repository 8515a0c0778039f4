"""Noise2Net (Hendrycks et al., ICCV 2021, appendix): DeepAugment without a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.base import noise
from harness.plugins import distorter
from harness.train.augment.deepaugment import Distorter, Distortion, Rng, pick, uniform
from harness.types import HarnessError

BLOCKS, SCALES = 4, 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Statistics of ImageNet's channels: the network sees normalised images, which sets the size of its additions."""

Structure = Sequence[tuple[int, int]]
"""Kernel side and dilation of a block's inner convolutions."""


def draw_structure(rng: Rng) -> Structure:
    """Sides of 1 or 3, dilations of 1, 2 or 3."""
    return [(pick(rng, (1, 3)), pick(rng, (1, 2, 3))) for _ in range(SCALES - 1)]


def draw_weights(rngs: Sequence[Rng], structure: Structure, planes: int) -> list[Tensor]:
    """A block's parameters, (B, *shape) each: first, weight and bias of every inner convolution, last.

    Uniform within 1 / sqrt(fan-in), torch's initialisation of a convolution; each image's from its own generator.
    """
    shapes: list[tuple[int, ...]] = [(SCALES * planes, 3)]
    fans = [3]
    for side, _ in structure:
        shapes += [(planes, planes, side, side), (planes,)]
        fans += 2 * [planes * side * side]
    shapes.append((3, SCALES * planes))
    fans.append(SCALES * planes)
    sizes = [prod(shape) for shape in shapes]
    numbers = torch.stack([uniform(rng, (sum(sizes),), -1, 1) for rng in rngs])
    pieces = zip(numbers.split(sizes, 1), shapes, fans, strict=True)
    return [piece.view(-1, *shape) * fan**-0.5 for piece, shape, fan in pieces]


def normalise(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 of every channel over its own pixels: the original's batch statistics of one image."""
    return F.group_norm(x, x.shape[1])


def block(x: Tensor, weights: Sequence[Tensor], structure: Structure) -> Tensor:
    """(B, 3, H, W) through each image's own Res2Net block (Gao et al., TPAMI 2021)."""
    images, plane = len(x), x.shape[2:]
    first, *inner, last = weights
    pieces = normalise((first @ x.flatten(2)).unflatten(2, plane)).relu_().chunk(SCALES, 1)
    outputs: list[Tensor] = []
    for k, (side, dilation) in enumerate(structure):
        seen = (pieces[k] + outputs[-1] if outputs else pieces[k]).reshape(1, -1, *plane)
        weight, bias = (tensor.flatten(0, 1) for tensor in inner[2 * k : 2 * k + 2])
        padding = (side - 1) // 2 * dilation
        seen = F.conv2d(seen, weight, bias, padding=padding, dilation=dilation, groups=images)
        outputs.append(normalise(seen.view(images, -1, *plane)).relu_())
    joined = torch.cat([*outputs, pieces[-1]], 1)
    return normalise((last @ joined.flatten(2)).unflatten(2, plane))


@distorter("noise2net")
@dataclass(frozen=True)
class Noise2Net(Distorter):
    """A small residual network with random weights for every image; needs no weights.

    max_eps: what a block makes of an image is added with a strength drawn uniformly from [max_eps / 2, max_eps].
    planes: channels per scale.

    Kernel sides and dilations are drawn with what images share (by the authors once an epoch), weights and strength for
    every image (by the authors the strength for every batch).
    """

    max_eps: float = 0.75
    planes: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.max_eps < float("inf") or self.planes < 1:
            raise HarnessError(f"noise2net: max_eps={self.max_eps} must be >= 0 and planes={self.planes} at least 1.")

    def perturbed(self, rng: Rng, device: str = "cpu") -> Distortion:
        """The networks' structures."""
        structures = [draw_structure(rng) for _ in range(BLOCKS)]

        def distort(images: Tensor, rng: Rng) -> Tensor:
            mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
            rngs = noise.children(rng, len(images))
            eps = images.new_tensor([child.uniform(self.max_eps / 2, self.max_eps) for child in rngs])
            x = (images - mean) / std
            for structure in structures:
                weights = [tensor.to(device) for tensor in draw_weights(rngs, structure, self.planes)]
                x = x + eps[:, None, None, None] * block(x, weights, structure)
            return (x * std + mean).clamp(0, 1)

        return distort
