"""Classification: a sum of terms over one joint forward pass, and the terms that compare logits with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.train.objectives.joint import ReadOnlyNetwork, respond
from harness.train.objectives.protocol import Criterion, CurrentNetwork, Term, TermResponse, Timer, untimed
from harness.train.step import Step


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

    criterion: Criterion = CrossEntropy()
    name: str = "ce"

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        return step.augmented.images

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        return self.criterion(
            responses[self.name].logits, step.augmented.labels if step.targets is None else step.targets
        )


@dataclass(frozen=True)
class Copies:
    """The same loss on the samples' images out of extra copies of the data set, summed over the copies."""

    criterion: Criterion = CrossEntropy()
    name: str = "copies"

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        return torch.cat(step.extras)

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        pieces = responses[self.name].logits.split(len(step.raw))
        return torch.stack([self.criterion(piece, step.raw.labels) for piece in pieces]).sum()


@dataclass(frozen=True)
class Classification:
    """The sum of its terms, from one forward pass over all their images (one set of batch statistics)."""

    terms: Sequence[Term]

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        current = ReadOnlyNetwork(network)
        images = []
        for term in self.terms:
            with timer(term.name):
                images.append(term.images(step, current))
        with_features = any(getattr(term, "wants_features", False) for term in self.terms)
        # Without the empty ones, which would decide on the memory layout of all.
        joint = respond(network, torch.cat([i for i in images if len(i)]), with_features)
        responses = self._shares(joint, [len(i) for i in images])
        return {term.name: term.loss(responses, step) for term in self.terms}

    def _shares(self, joint: TermResponse, sizes: Sequence[int]) -> dict[str, TermResponse]:
        """Each term's rows of the joint response, by the term's name."""
        logits = joint.logits.split(list(sizes))
        hidden = joint.hidden.split(list(sizes)) if joint.hidden is not None else [None] * len(sizes)
        return {term.name: TermResponse(*share) for term, *share in zip(self.terms, logits, hidden, strict=True)}
