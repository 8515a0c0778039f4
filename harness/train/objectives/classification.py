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
    """The sum of its terms, from one forward pass over all their images (one set of batch statistics).

    Terms that ask for it have their images in a pass apart, in the same call of the network.
    """

    terms: Sequence[Term]

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        current = ReadOnlyNetwork(network)
        images = {}
        for term in self.terms:
            with timer(term.name):
                images[term.name] = term.images(step, current)
        with_features = any(getattr(term, "wants_features", False) for term in self.terms)
        passes = self._passes()
        # Without the empty ones, which would decide on the memory layout of all.
        batches = [torch.cat([images[name] for name in names if len(images[name])]) for names in passes]
        responses: dict[str, TermResponse] = {}
        for names, response in zip(passes, respond(network, batches, with_features), strict=True):
            responses |= _shares(response, {name: len(images[name]) for name in names})
        return {term.name: term.loss(responses, step) for term in self.terms}

    def _passes(self) -> list[list[str]]:
        """Names of the terms in the joint pass, and of each term that is passed alone."""
        apart = [term.name for term in self.terms if getattr(term, "apart", False)]
        return [[term.name for term in self.terms if term.name not in apart], *([name] for name in apart)]


def _shares(response: TermResponse, sizes: Mapping[str, int]) -> dict[str, TermResponse]:
    """Each term's rows of the response to a pass, by the term's name."""
    rows = list(sizes.values())
    logits = response.logits.split(rows)
    hidden = response.hidden.split(rows) if response.hidden is not None else [None] * len(rows)
    return {name: TermResponse(*share) for name, *share in zip(sizes, logits, hidden, strict=True)}
