"""AugMix: an image mixed with random chains of simple operations. Its loss is in `objectives.consistency`.

Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty", ICLR 2020. Constants
and operations are those of google-research/augmix (augmentations.py, cifar.py, imagenet.py), which the DiffAug authors'
scripts share. As there, what overlaps with the test corruptions (brightness, contrast, colour, sharpness) is left out.

Each operation is timm's, equal to the published one in every pixel. The complete AugMix of the libraries is another
augmentation, and neither can draw for each image separately:

- timm's `AugMixAugment` has the four overlapping operations. By default levels are uniform from 0, translations go up
  to 45 % of the side instead of a third, degrees and pixels are fractional, filters bilinear or bicubic at random, and
  grey comes in from outside. It cuts the mixture to 8 bits twice.
- torchvision's `AugMix` has the overlapping operations unless `all_ops=False`. Levels come from a grid of `severity`
  values that starts at 0, so that severity 1, the authors' for ImageNet, moves nothing. Rotation and shear interpolate
  otherwise, one chain serves a whole batch, and the mixture is cut to 8 bits.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.base import noise
from harness.train.step import Step
from harness.types import HarnessError

LOWEST, FULL = 0.1, 10.0
"""The lowest level that is drawn, and the level at which an operation is as strong as it gets."""

DEEPEST = 3
"""Operations in the longest chain of random depth."""

Operation = Callable[[Image.Image, float, int], Image.Image]


@cache
def operations() -> dict[str, Operation]:
    """The published operations by name: (8-bit RGB picture, level in [0, 10), sign) to a picture of the same size.

    Towards level 10: rotation by 30 degrees, shear by 0.3, translation by a third of the side along which it moves, in
    the direction of the sign, bilinear, black where nothing was; posterisation from 4 bits down to 1; solarisation from
    a threshold of 256 (no pixel inverted) down to 0 (all).
    """
    from timm.data import auto_augment as timm

    def integer(level: float, most: float) -> int:
        return int(level * most / FULL)

    bilinear = {"resample": Image.Resampling.BILINEAR}
    return {
        "autocontrast": lambda x, level, sign: timm.auto_contrast(x),
        "equalize": lambda x, level, sign: timm.equalize(x),
        "posterize": lambda x, level, sign: timm.posterize(x, 4 - integer(level, 4)),
        "rotate": lambda x, level, sign: timm.rotate(x, sign * integer(level, 30), **bilinear),
        "solarize": lambda x, level, sign: timm.solarize(x, 256 - integer(level, 256)),
        "shear_x": lambda x, level, sign: timm.shear_x(x, sign * level * 0.3 / FULL, **bilinear),
        "shear_y": lambda x, level, sign: timm.shear_y(x, sign * level * 0.3 / FULL, **bilinear),
        "translate_x": lambda x, level, sign: timm.translate_x_abs(x, sign * integer(level, x.width / 3), **bilinear),
        "translate_y": lambda x, level, sign: timm.translate_y_abs(x, sign * integer(level, x.height / 3), **bilinear),
    }


class Link(NamedTuple):
    """One operation of a chain, its level in [0.1, severity) and its sign, 1 or -1."""

    operation: str
    level: float
    sign: int


class Mixture(NamedTuple):
    """The random part of one image: chains of operations, their weights (of sum 1), and m, their joint share."""

    chains: list[list[Link]]
    weights: list[float]
    m: float


@dataclass(frozen=True)
class AugMix:
    """(1 - m) image + m sum_i w_i chain_i(image), with w ~ Dirichlet(alpha, ..., alpha) and m ~ Beta(alpha, alpha).

    severity: upper end of the operations' uniform level, in (0.1, 10]: 3 in the authors' CIFAR script; 1 in their
        ImageNet script and in those of DiffAug.
    width: chains. depth: operations in each; 0 for a uniformly random number from 1 to 3.

    Raises HarnessError for a setting out of range.
    """

    severity: float = 3.0
    width: int = 3
    depth: int = 0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        for name, fits, remedy in (
            ("severity", LOWEST < self.severity <= FULL, f"above {LOWEST}, up to {FULL:g}"),
            ("width", self.width >= 1, "1 or more"),
            ("depth", self.depth >= 0, "1 or more, or 0 for 1 to 3 at random"),
            ("alpha", 0 < self.alpha < math.inf, "finite and above 0"),
        ):
            if not fits:
                raise HarnessError(f"AugMix has no {name} {getattr(self, name)}. Give a number {remedy}.")

    def __call__(self, images: Tensor, *, seed: int, samples: Sequence[str], epoch: int, view: int) -> Tensor:
        """Augmented images (B, 3, H, W) in [0, 1], of such images with one sample id each.

        An image's augmentation depends on seed, view, its id and epoch, never on the rest of the batch. Chains run on
        the image in 8 bits; the mixture keeps the precision of `images`.
        """
        if len(samples) != len(images):
            raise HarnessError(
                f"AugMix got {len(images)} images and {len(samples)} sample ids. Give each image one id."
            )
        mixtures = [self.draw(rng) for rng in noise.generators(seed, f"augmix/{view}", samples, epoch)]
        pictures = (images * 255).round().byte().cpu().movedim(1, -1).contiguous().numpy()
        chains = run_chains(pictures, [mixture.chains for mixture in mixtures])
        return mix(images, torch.from_numpy(chains).movedim(-1, 2), mixtures)

    def draw(self, rng: np.random.Generator) -> Mixture:
        """One image's chains and weights."""
        names = list(operations())

        def link() -> Link:
            return Link(
                names[rng.integers(len(names))], rng.uniform(LOWEST, self.severity), 1 - 2 * (rng.random() > 0.5)
            )

        weights, m = rng.dirichlet([self.alpha] * self.width), rng.beta(self.alpha, self.alpha)
        depths = [self.depth or int(rng.integers(1, DEEPEST, endpoint=True)) for _ in range(self.width)]
        return Mixture([[link() for _ in range(depth)] for depth in depths], weights.tolist(), m)


def run_chains(pictures: np.ndarray, chains: Sequence[Sequence[Sequence[Link]]]) -> np.ndarray:
    """Pictures (B, H, W, 3) uint8 through equally many chains each: (chains, B, H, W, 3) uint8."""
    done = np.empty((len(chains[0]), *pictures.shape), np.uint8)

    def run(b: int) -> None:
        original = Image.fromarray(pictures[b])
        for i, chain in enumerate(chains[b]):
            done[i, b] = reduce(lambda x, link: operations()[link.operation](x, link.level, link.sign), chain, original)

    if pictures[:1].size < noise.THREADED:
        deque(map(run, range(len(pictures))), maxlen=0)
    else:
        # Pillow turns and shears without the interpreter's lock, which is most of the work on larger pictures.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            deque(pool.map(run, range(len(pictures))), maxlen=0)
    return done


def mix(images: Tensor, chains: Tensor, mixtures: Sequence[Mixture]) -> Tensor:
    """Images (B, 3, H, W) in [0, 1], mixed with their chains (chains, B, 3, H, W) uint8 as the mixtures say."""
    m, *weights = (
        images.new_tensor(numbers).view(-1, 1, 1, 1)
        for numbers in zip(*((x.m, *x.weights) for x in mixtures), strict=True)
    )
    mixed = torch.zeros_like(images)
    for weight, chain in zip(weights, chains, strict=True):
        mixed += weight * (chain.to(images) / 255)
    return ((1 - m) * images + m * mixed).clamp(0, 1)


@dataclass(frozen=True)
class AugMixViews:
    """Two AugMix views of every augmented image, for the consistency term (Hendrycks et al., ICLR 2020)."""

    augmix: AugMix

    def __call__(self, step: Step) -> Step:
        batch = step.augmented

        def view(number: int) -> Tensor:
            return self.augmix(batch.images, seed=step.seed, samples=batch.ids, epoch=step.epoch, view=number)

        return replace(step, views=(view(1), view(2)))
