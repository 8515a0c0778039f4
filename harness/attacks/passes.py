"""Passes of an attack through the classifier: outputs and gradients checked, noise drawn afresh where asked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.attacks.losses import AnyLoss
from harness.models.tiles import TiledClassifier, finite
from harness.types import GradientClassifier, HarnessError

SUM_TOLERANCE = 1e-5
"""Distance from 1 within which outputs in [0, 1] count as summing to 1, AutoAttack's own (its checks.py)."""


class Passes:
    """Looks of `harness.attacks.apgd.apgd` at a classifier: losses, gradients and verdicts from the same passes.

    With `draws`, look number n averages losses and gradients over the fresh noise draws 1 + n draws + k of a stochastic
    defence, k below `draws` (expectation over transformation, Athalye et al., ICML 2018). AutoAttack takes the loss of
    the last draw instead, and its verdict. Here no verdict is given: that is the judge's, on draws never attacked.

    labels: (B,) int64. others: what else the loss takes per image, (B, ...) each. first: number of the first look.
    """

    def __init__(
        self,
        classifier: GradientClassifier,
        loss: AnyLoss,
        labels: Tensor,
        *others: Tensor,
        draws: int = 0,
        first: int = 0,
    ) -> None:
        self._classifier = classifier
        self._loss = loss
        self._rows = (labels, *others)
        self._draws = draws
        self._first = first

    def __call__(self, images: Tensor, places: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (b,), gradients (b, 3, H, W) and errors (b,) bool of some of the batch; raises for NaN gradients."""
        part = of_rows(self._classifier, places)
        if not self._draws:
            return self._look(part, images, places)
        first = 1 + (self._first + number) * self._draws
        looks = [self._look(part.drawn(first + k), images, places) for k in range(self._draws)]
        loss, gradient = (torch.stack(values).mean(0) for values in list(zip(*looks, strict=True))[:2])
        return loss, gradient, torch.zeros(len(images), dtype=torch.bool)

    def _look(self, part: GradientClassifier, images: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wrong = torch.zeros(len(images), dtype=torch.bool)

        def watched(logits: Tensor, rows: Tensor, labels: Tensor, *others: Tensor) -> Tensor:
            # The row that pads a tile is written more than once, with one value.
            wrong[rows.cpu()] = (logits.detach().argmax(1) != labels).cpu()
            return self._loss(logits, labels, *others)

        rows = [row[places] for row in self._rows]
        loss, gradient = part.gradient(images, watched, torch.arange(len(images)), *rows)
        return loss, checked_gradient(gradient), wrong


def of_rows(classifier: GradientClassifier, places: Tensor | Sequence[int]) -> GradientClassifier:
    """The classifier of some images of its batch: a method's noise belongs to samples."""
    of = getattr(classifier, "of", None)
    if of is None:
        return classifier
    part: GradientClassifier = of(places.tolist() if isinstance(places, Tensor) else places)
    return part


def keys_noise(classifier: GradientClassifier) -> bool:
    """Whether the classifier's outputs depend on which samples the images are, as those of test-time methods do."""
    return of_rows(classifier, [0]) is not classifier


def query(classifier: GradientClassifier, images: Tensor) -> Tensor:
    """Logits (B, K), not kept, and the caller's to change: a classifier is asked in the small tiles of its gradients.

    A few images then do not pay for a whole tile of the evaluation. In other precision than float32, the evaluation's
    own tiles answer.
    """
    if isinstance(classifier, TiledClassifier) and classifier.tiles.dtype == classifier.gradient_tiles.dtype:
        return classifier.gradient_tiles(classifier.network, images)
    return classifier(images).clone()


def clean_logits(classifier: GradientClassifier, images: Tensor, draws: int = 0) -> Tensor:
    """Logits (B, K) of images before the attack, checked; those of draw 1 for an attack that averages `draws`.

    Raises HarnessError for NaN and infinity, and for probabilities.
    """
    logits = finite((classifier.drawn(1) if draws else classifier)(images), "The classifier under attack")
    return refuse_probabilities(logits)


def refuse_probabilities(logits: Tensor) -> Tensor:
    """The logits (B, K); raises HarnessError if all of them are probability vectors, as AutoAttack's check finds them.

    A softmax over probabilities flattens losses and gradients, so that an attack on these overstates robustness.
    """
    inside = (logits > -SUM_TOLERANCE).all() and (logits < 1 + SUM_TOLERANCE).all()
    if len(logits) and inside and ((logits.sum(1) - 1).abs() < SUM_TOLERANCE).all():
        raise HarnessError(
            "The classifier under attack gives probabilities, not logits: its outputs lie in [0, 1] and sum to 1. "
            "Losses of attacks are flat on these. Remove the softmax from the network, or return its logarithm."
        )
    return logits


def checked_gradient(gradient: Tensor) -> Tensor:
    """The gradient (B, ...); raises HarnessError for NaN and infinity."""
    bad = int((~gradient.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise HarnessError(
            f"The gradient of the loss by the images is NaN or infinite for {bad} of {len(gradient)} images. Look for "
            "a square root or a logarithm at 0 in the network, or attack by queries: --attack square."
        )
    return gradient
