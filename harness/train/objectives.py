"""What a network is asked to do: losses, each a small part that the one loop adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import noise
from harness.diffusion.denoiser import Denoiser
from harness.networks import autocast
from harness.types import Batch


@dataclass(frozen=True)
class Step:
    """What one training step has to work with.

    raw: the images as the data set has them; augmented: the same after the recipe's augmentation.
    """

    raw: Batch
    augmented: Batch
    seed: int
    epoch: int


class Key(TypedDict):
    """What training noise is keyed by."""

    seed: int
    samples: Sequence[str]
    draw: int


class Objective(Protocol):
    """A network and a step to named loss terms, which the loop adds up."""

    def __call__(self, network: nn.Module, step: Step, /) -> dict[str, Tensor]: ...


class Term(Protocol):
    """One part of a classification objective: the images it wants classified and the loss on their logits."""

    @property
    def name(self) -> str: ...

    def images(self, step: Step) -> Tensor: ...

    def loss(self, logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """`logits` holds every term's, by name: a consistency term may look at those of another."""


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy on the augmented images."""

    smoothing: float = 0.0
    name: str = "ce"

    def images(self, step: Step) -> Tensor:
        return step.augmented.images

    def loss(self, logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        return F.cross_entropy(logits[self.name], labels, label_smoothing=self.smoothing)


@dataclass(frozen=True, eq=False)
class DiffAug:
    """Cross-entropy on the image denoised in one step from a uniformly random time (Sastry et al., NeurIPS 2024).

    As in the authors' recipes the denoised branch starts from the unaugmented image, t is uniform over the integers in
    `times`, and the denoiser gets no gradient. Time and noise are keyed by (seed, sample, epoch).
    """

    denoiser: Denoiser
    times: tuple[int, int] = (0, 1000)
    device: str = "cpu"
    dtype: str = "float32"
    smoothing: float = 0.0
    name: str = "diffaug"

    def images(self, step: Step) -> Tensor:
        key: Key = {"seed": step.seed, "samples": step.raw.ids, "draw": step.epoch}
        t = noise.integers(*self.times, purpose="diffaug-time", **key).to(self.device)
        eps = noise.gaussian(step.raw.images.shape[1:], purpose="diffaug-noise", **key).to(self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            return self.denoiser.predict_x0(self.denoiser.diffuse(step.raw.images, t, eps), t)

    def loss(self, logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        return F.cross_entropy(logits[self.name], labels, label_smoothing=self.smoothing)


@dataclass(frozen=True)
class Classification:
    """The sum of its terms, from one forward pass over all their images (one set of batch statistics)."""

    terms: Sequence[Term]

    def __call__(self, network: nn.Module, step: Step) -> dict[str, Tensor]:
        images = [term.images(step) for term in self.terms]
        pieces = network(torch.cat(images)).float().split([len(i) for i in images])
        logits = {term.name: piece for term, piece in zip(self.terms, pieces, strict=True)}
        return {term.name: term.loss(logits, step.raw.labels) for term in self.terms}


@dataclass(frozen=True, eq=False)
class NoisePrediction:
    """Mean squared error of the predicted noise at a uniformly random time (Ho et al., NeurIPS 2020, eq. 14)."""

    denoiser: Denoiser

    def __call__(self, network: nn.Module, step: Step) -> dict[str, Tensor]:
        batch = step.augmented
        key: Key = {"seed": step.seed, "samples": batch.ids, "draw": step.epoch}
        t = noise.integers(0, len(self.denoiser.schedule.betas), purpose="ddpm-time", **key).to(batch.images.device)
        eps = noise.gaussian(batch.images.shape[1:], purpose="ddpm-noise", **key).to(batch.images.device)
        predicted = network(self.denoiser.diffuse(batch.images, t, eps), t, return_dict=False)[0].float()
        return {"mse": F.mse_loss(predicted, eps)}
