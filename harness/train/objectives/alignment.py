"""Alignment of a classifier's features with those of a frozen diffusion model (DRA: Huang, Chen & Lin 2026).

The paper's hyper-parameters could not be had (arXiv:2602.19931 was read in its abstract alone). The loss is that of its
nearest relative, REPA (Yu et al., ICLR 2025, eq. 8, where the two networks have changed places); layer, time, pooling,
images, weight and projection are this project's choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.base import noise
from harness.diffusion.analysis.layer_features import MIDDLE, layer_features
from harness.diffusion.denoiser import Denoiser
from harness.models.tiles import Tiles
from harness.train.objectives.adversarial import NAME as ADVERSARIAL
from harness.train.objectives.protocol import CurrentNetwork, TermResponse
from harness.train.step import Step

CLEAN = "ce"
"""Name of the term whose responses are those of the clean images; `ADVERSARIAL` is that of the attacked ones."""

TILE = 64
"""Images per call of the diffusion model: of one size, so that a target does not depend on the batch around it."""


def projection(width: int, hidden: int, target: int) -> nn.Sequential:
    """The head: features (B, `width`) to (B, `target`) by three linear layers with SiLU between (REPA, appendix A)."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, target)
    )


def alignment_loss(projected: Tensor, target: Tensor) -> Tensor:
    """One minus the mean cosine between projected features and targets, (B, C) each: 0 to 2."""
    return 1 - F.cosine_similarity(projected, target, dim=1, eps=1e-12).mean()


@dataclass(frozen=True, eq=False)
class Alignment:
    """weight (1 - mean cos(h(f), g)), the mean over the responses that are aligned.

    f: penultimate features of the classifier, for the images of the terms `on`. h: the projection, which is trained
    beside the classifier and then discarded. g: the mean over positions of a layer of the diffusion model at
    sqrt(abar) x + sqrt(1 - abar) eps, where x is the augmented, unattacked image; it gets no gradient.

    The noise is keyed by (seed, sample) and is the same in every epoch, so g is a function of the image.

    on: names of terms whose responses are aligned; the term's own name adds the clean images to the joint forward.
    unaltered: the augmentation leaves every image as it is; each g is then computed once.
    """

    wants_features: ClassVar[bool] = True

    denoiser: Denoiser
    projection: nn.Module
    time: int
    weight: float = 0.5
    on: tuple[str, ...] = (ADVERSARIAL,)
    layer: str = MIDDLE
    unaltered: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    name: str = "align"
    _targets: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _tiles: list[Tiles] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._tiles.append(Tiles(TILE, self.device, self.dtype))

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        images = step.augmented.images
        self._remember(step)
        return images if self.name in self.on else images[:0]

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        target = torch.stack([self._targets[key] for key in self._keys(step)]).to(self.device)
        losses = [alignment_loss(self._projected(responses[name].features), target) for name in self.on]
        return self.weight * torch.stack(losses).mean()

    def targets(self, images: Tensor, ids: tuple[str, ...], seed: int) -> Tensor:
        """g, (B, C) on the CPU, of images (B, 3, H, W) in [0, 1] with these ids."""
        eps = noise.gaussian(images.shape[1:], purpose="align-noise", seed=seed, samples=ids)

        def features(x: Tensor, eps: Tensor) -> Tensor:
            t = torch.full((len(x),), self.time, device=x.device)
            return layer_features(self.denoiser, self.layer, x, t, eps)

        return self._tiles[0](features, images, eps)

    def _projected(self, features: Tensor) -> Tensor:
        parameter: Any = next(self.projection.parameters())
        projected: Tensor = self.projection(features.to(parameter.dtype))
        return projected.to(features.dtype)

    def _remember(self, step: Step) -> None:
        """Compute the targets that are missing; those of altered images are kept for the step alone."""
        if not self.unaltered:
            self._targets.clear()
        keys = self._keys(step)
        lacking = [place for place, key in enumerate(keys) if key not in self._targets]
        if lacking:
            ids = tuple(step.augmented.ids[place] for place in lacking)
            rows = self.targets(step.augmented.images[lacking], ids, step.seed)
            self._targets.update(zip([keys[place] for place in lacking], rows, strict=True))

    def _keys(self, step: Step) -> list[str]:
        """Keys of the step's targets: sample ids, or places where a sample may be there twice, differently altered."""
        return list(step.augmented.ids) if self.unaltered else [f"{place}" for place in range(len(step.augmented))]
