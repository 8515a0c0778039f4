"""What a network is asked to do: losses, each a small part that the one loop adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import noise
from harness.diffusion.denoiser import Denoiser
from harness.networks import autocast
from harness.train.augmix import jensen_shannon
from harness.train.reverse import Reverse
from harness.train.step import Step


class Key(TypedDict):
    """What training noise is keyed by."""

    seed: int
    samples: Sequence[str]
    draw: int


class Timer(Protocol):
    """Times what happens in its context, under a name."""

    def __call__(self, name: str, /) -> AbstractContextManager[Any]: ...


def untimed(name: str) -> AbstractContextManager[Any]:
    """No timing."""
    return nullcontext()


class Objective(Protocol):
    """A network and a step to named loss terms, which the loop adds up."""

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed, /) -> dict[str, Tensor]: ...


class Term(Protocol):
    """One part of a classification objective: the images it wants classified and the loss on their logits."""

    @property
    def name(self) -> str: ...

    def images(self, step: Step) -> Tensor:
        """(n B, 3, H, W): none, one or several images for every sample of the step."""

    def loss(self, logits: Mapping[str, Tensor], step: Step) -> Tensor:
        """`logits` holds every term's, by name: a consistency term looks at those of another."""


class Loss(Protocol):
    """Logits (B, K) and labels, (B,) int64 or soft (B, K), to their mean loss."""

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy."""

    smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.smoothing)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """One sigmoid per class, every class of a mixture being wholly right (Wightman et al., 2021; DeiT III).

    The mean over classes, as the authors have it.
    """

    smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        right = F.one_hot(labels, classes) if labels.ndim == 1 else labels > 0
        targets = right.to(logits.dtype) * (1 - self.smoothing) + self.smoothing / classes
        return F.binary_cross_entropy_with_logits(logits, targets)


@dataclass(frozen=True)
class Clean:
    """The loss on the augmented images."""

    criterion: Loss = CrossEntropy()
    name: str = "ce"

    def images(self, step: Step) -> Tensor:
        return step.augmented.images

    def loss(self, logits: Mapping[str, Tensor], step: Step) -> Tensor:
        return self.criterion(logits[self.name], step.augmented.labels if step.targets is None else step.targets)


@dataclass(frozen=True)
class Copies:
    """The same loss on the samples' images out of extra copies of the data set, summed over the copies."""

    criterion: Loss = CrossEntropy()
    name: str = "copies"

    def images(self, step: Step) -> Tensor:
        return torch.cat(step.extras)

    def loss(self, logits: Mapping[str, Tensor], step: Step) -> Tensor:
        pieces = logits[self.name].split(len(step.raw))
        return torch.stack([self.criterion(piece, step.raw.labels) for piece in pieces]).sum()


@dataclass(frozen=True)
class Consistency:
    """Jensen-Shannon consistency of the augmented images and other views of them (AugMix: Hendrycks et al., 2020)."""

    weight: float = 12.0
    clean: str = "ce"
    name: str = "jsd"

    def images(self, step: Step) -> Tensor:
        return torch.cat(step.views)

    def loss(self, logits: Mapping[str, Tensor], step: Step) -> Tensor:
        return self.weight * jensen_shannon([logits[self.clean], *logits[self.name].chunk(len(step.views))])


@dataclass(frozen=True, eq=False)
class DiffAug:
    """The loss on the image denoised in one step from a uniformly random time (Sastry et al., NeurIPS 2024).

    As in the authors' recipes the denoised branch starts from the unaugmented image, t is uniform over the integers in
    `times`, and the denoiser gets no gradient. Time and noise are keyed by (seed, sample, epoch).
    """

    reverse: Reverse
    times: tuple[int, int] = (0, 1000)
    criterion: Loss = CrossEntropy()
    device: str = "cpu"
    dtype: str = "float32"
    name: str = "diffaug"

    def images(self, step: Step) -> Tensor:
        raw = step.raw
        key: Key = {"seed": step.seed, "samples": step.augmented.ids, "draw": step.epoch}
        t = noise.integers(*self.times, purpose="diffaug-time", **key).to(self.device)
        eps = noise.gaussian(raw.images.shape[1:], purpose="diffaug-noise", **key).to(self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            return self.reverse(raw.images, t, eps, raw.labels)

    def loss(self, logits: Mapping[str, Tensor], step: Step) -> Tensor:
        return self.criterion(logits[self.name], step.raw.labels)


@dataclass(frozen=True)
class Classification:
    """The sum of its terms, from one forward pass over all their images (one set of batch statistics)."""

    terms: Sequence[Term]

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        images = []
        for term in self.terms:
            with timer(term.name):
                images.append(term.images(step))
        joint = network(torch.cat(images))
        # Under autocast logits come in half precision; the losses are computed in float32, or in float64 if all is.
        pieces = (joint if joint.dtype == torch.float64 else joint.float()).split([len(i) for i in images])
        logits = {term.name: piece for term, piece in zip(self.terms, pieces, strict=True)}
        return {term.name: term.loss(logits, step) for term in self.terms}


@dataclass(frozen=True, eq=False)
class NoisePrediction:
    """Mean squared error of the predicted noise at a uniformly random time (Ho et al., NeurIPS 2020, eq. 14).

    conditional: the network also sees the label.
    """

    denoiser: Denoiser
    conditional: bool = False

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        batch = step.augmented
        key: Key = {"seed": step.seed, "samples": batch.ids, "draw": step.epoch}
        t = noise.integers(0, len(self.denoiser.schedule.betas), purpose="ddpm-time", **key).to(batch.images.device)
        eps = noise.gaussian(batch.images.shape[1:], purpose="ddpm-noise", **key).to(batch.images.device)
        given = {"class_labels": batch.labels} if self.conditional else {}
        predicted = network(self.denoiser.diffuse(batch.images, t, eps), t, return_dict=False, **given)[0].float()
        return {"mse": F.mse_loss(predicted, eps)}
