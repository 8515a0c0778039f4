"""Repeated attempts of APGD, from other starts and towards other classes, at images that still stand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness.attacks import losses
from harness.attacks.apgd import apgd, unit
from harness.attacks.losses import AnyLoss, LossFunction
from harness.attacks.passes import Passes, clean_logits, of_rows
from harness.base.errors import Notice
from harness.types import GradientClassifier, HarnessError, Noise, ThreatModel


@dataclass(frozen=True)
class Attempt:
    """One ascent of all standing images. purpose: of the noise of its start. others: (B, ...) rows of the loss."""

    purpose: str
    loss: AnyLoss
    others: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Ascents:
    """Settings that the attempts of an attack share: see `harness.attacks.apgd.apgd` and `Passes`."""

    steps: int = 100
    draws: int = 0
    until_falls: bool = True

    def run(
        self,
        attempts: Iterator[Attempt],
        images: Tensor,
        labels: Tensor,
        classifier: GradientClassifier,
        noise: Noise,
        threat: ThreatModel,
    ) -> Tensor:
        """Adversarial images (B, 3, H, W): a misclassified iterate if there is one, else the one of the highest loss.

        Images that are wrong from the start come back as they are, unless fresh draws are attacked. Each attempt sees
        the images that those before it left correct.
        """
        logits = clean_logits(classifier, images, self.draws)
        standing = torch.ones(len(images), dtype=torch.bool) if self.draws else logits.argmax(1) == labels
        adversarial, strongest = images.clone(), torch.full((len(images),), -torch.inf)
        for number, attempt in enumerate(attempts):
            places = standing.nonzero()[:, 0]
            if not len(places):
                break
            rows = labels[places], *(other[places] for other in attempt.others)
            first = number * (self.steps + 1)
            passes = Passes(of_rows(classifier, places), attempt.loss, *rows, draws=self.draws, first=first)
            start = random_start(images, noise(attempt.purpose), threat)[places]
            x, loss, fell = self._ascend(passes, images[places], start, labels[places], classifier, places, threat)
            taken = fell | (loss > strongest[places])
            adversarial[places[taken]] = x[taken]
            strongest[places[taken]] = loss[taken]
            standing[places[fell]] = False
        return adversarial

    def _ascend(
        self,
        passes: Passes,
        images: Tensor,
        start: Tensor,
        labels: Tensor,
        classifier: GradientClassifier,
        places: Tensor,
        threat: ThreatModel,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Iterates, their losses, and whether the evaluation takes them for another class."""
        ascend = partial(apgd, norm=threat.norm, eps=threat.eps, steps=self.steps)
        outcome = ascend(passes, images, start, until_falls=self.until_falls)
        x = torch.where(outcome.fell[:, None, None, None], outcome.adversarial, outcome.best)
        loss = outcome.loss
        if not outcome.fell.any():
            return x, loss, outcome.fell
        fell = outcome.fell & (of_rows(classifier, places)(x).argmax(1) != labels)
        doubtful = (outcome.fell & ~fell).nonzero()[:, 0]
        if len(doubtful):
            # The evaluation computes in other tiles, perhaps in half precision: what it takes back goes on to the end.
            def rest(y: Tensor, rows: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
                return passes(y, doubtful[rows], number)

            again = ascend(rest, images[doubtful], start[doubtful], until_falls=False)
            x[doubtful], loss[doubtful] = again.best, again.loss
            fell[doubtful] = of_rows(classifier, places[doubtful])(again.best).argmax(1) != labels[doubtful]
        return x, loss, fell


def random_start(images: Tensor, noise: Tensor, threat: ThreatModel) -> Tensor:
    """Random points (B, 3, H, W) of the ball around images, which fill it from end to end, cut to [0, 1].

    As AutoAttack starts: linf, uniform numbers in [-1, 1] over their largest magnitude; l2, a direction of length eps.
    noise: (B, 3, H, W), standard normal; its distribution function makes it uniform.
    """
    spread = 2 * torch.special.ndtr(noise) - 1 if threat.norm == "linf" else noise
    return (images + threat.eps * unit(spread, threat.norm)).clamp(0, 1)


def restarted(name: str, loss: LossFunction, restarts: int) -> Iterator[Attempt]:
    """Attempts with one loss, from starts of their own."""
    return (Attempt(f"{name}/start/{restart}", loss) for restart in range(restarts))


def towards(name: str, logits: Tensor, labels: Tensor, targets: int, restarts: int) -> Iterator[Attempt]:
    """Attempts with the targeted DLR loss towards the classes of the highest logits, the true one aside.

    logits: (B, K), of the clean images. targets: number of classes; K - 1 at most are there.
    """
    loss = targeted_loss(logits.shape[1])
    ranked = logits.scatter(1, labels[:, None], torch.inf).sort(dim=1, descending=True, stable=True).indices
    for rank in range(1, min(targets + 1, logits.shape[1])):
        for restart in range(restarts):
            yield Attempt(f"{name}/start/{rank}/{restart}", loss, (ranked[:, rank],))


def dlr_loss(classes: int) -> LossFunction:
    """The DLR loss, or the form of it that is defined for two classes: the margin."""
    _need_two(classes)
    if classes < 3:
        _say("With 2 classes the DLR loss has no third logit to divide by: the attack takes the margin instead.")
        return losses.margin
    return losses.dlr


def targeted_loss(classes: int) -> AnyLoss:
    """The targeted DLR loss, or the form of it that is defined for two or three classes."""
    _need_two(classes)
    if classes == 3:
        _say("With 3 classes the targeted DLR loss has no fourth logit: the attack divides by z_(1) - z_(3) instead.")
        return losses.targeted_dlr_of_three
    if classes == 2:
        _say("With 2 classes the targeted DLR loss has no third logit: the attack takes the margin instead.")
        return losses.targeted_margin
    return losses.targeted_dlr


def _need_two(classes: int) -> None:
    if classes < 2:
        raise HarnessError(f"An attack needs 2 classes or more to choose from; the classifier has {classes}.")


def _say(sentence: str) -> None:
    warnings.warn(Notice(sentence), stacklevel=4)
