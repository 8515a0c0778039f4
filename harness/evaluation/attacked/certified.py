"""Attacks on certificates of randomized smoothing: a certificate that holds withstands every one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn.functional import one_hot

from harness.evaluation.attacked.allowed import within
from harness.evaluation.attacked.judging import JUDGED
from harness.metrics import certification
from harness.models.tiles import finite
from harness.types import Attack, GradientClassifier, HarnessError, Noise, Smoother, SuiteViews, ThreatModel

IMPLAUSIBLE = 0.01
"""Probability below which so many broken certificates count as no chance."""

DRAWS_AT_ONCE, IMAGES_AT_ONCE = 100, 4
"""Draws of an image, and images, that vote together: as many as a certification holds in memory."""


@dataclass(frozen=True, eq=False)
class AttackedCertificates:
    """Certificates at one radius under attack.

    rows: (M,) int64, places of the images that are certified beyond the attack's eps. images: (M, 3, H, W), attacked.
    counts: (M, K) int64, votes for these. broken: (M,) bool, see `other_answers`.
    expected: expected number of broken ones at most, if every certificate is what it says.
    """

    rows: Tensor
    images: Tensor
    counts: Tensor
    broken: NDArray[np.bool_]
    expected: float

    @property
    def sentence(self) -> str:
        """What happened, in words."""
        return sentence_on(int(self.broken.sum()), len(self.broken), self.expected)


def sentence_on(broken: int, attacked: int, expected: float) -> str:
    """What happened, in words. expected: see `expected_breaks`."""
    return f"{broken} of {attacked} attacked certificates are broken; by chance up to {expected:.2g} are expected."


def other_answers(counts: NDArray[np.integer[Any]], prediction: NDArray[Any], alpha: float) -> NDArray[np.bool_]:
    """(M,) bool: the smoothed classifier answers significantly, at alpha, with another class than the certificate's.

    The answer is PREDICT of Cohen et al., ICML 2019: wrong with probability at most alpha, and an abstention breaks
    nothing. counts: (M, K) votes from draws that the attack never saw. prediction: (M,) classes of the certificates.
    """
    answers = certification.predict(counts, alpha)
    return np.asarray((answers != certification.ABSTAIN) & (answers != prediction))


def expected_breaks(certificates: int, alpha: float, certified_at: float) -> float:
    """Expected number, at most, of certificates that look broken although the procedure is right.

    alpha: of the answers under attack. certified_at: alpha of the certificates, each wrong with that probability.
    """
    return certificates * (alpha + certified_at)


def chance_of(broken: int, certificates: int, alpha: float, certified_at: float) -> float:
    """Probability, at most, that so many or more certificates look broken although the procedure is right.

    The tail of the binomial distribution with the probability of `expected_breaks`: images draw their noise
    independently. Below `IMPLAUSIBLE`, the certificates do not hold what they say.
    """
    return float(stats.binom.sf(broken - 1, certificates, min(1.0, expected_breaks(1, alpha, certified_at))))


def check_draws(draws: int, alpha: float) -> None:
    """Raise HarnessError for so few draws that even unanimous votes are not significant at alpha."""
    if not 0 < alpha < 1:
        raise HarnessError(
            f"alpha={alpha:g} is not the probability of a wrong answer: give one between 0 and 1, such as 0.001."
        )
    if certification.predict(np.array([[draws, 0]]), alpha)[0] == certification.ABSTAIN:
        least = int(np.ceil(1 - np.log2(alpha)))
        raise HarnessError(
            f"{draws} draws can break no certificate: none of their answers is significant at alpha={alpha:g}. "
            f"Take at least {least}."
        )


def attack_certificates(
    images: Tensor,
    prediction: Tensor,
    radius: Tensor,
    *,
    classifier: GradientClassifier,
    attack: Attack,
    threat: ThreatModel,
    noise: Callable[[Tensor], Noise],
    votes: Callable[[Tensor, Tensor], Tensor],
    alpha: float,
    certified_at: float,
    who: str = "The attack",
) -> AttackedCertificates:
    """Attack every certificate of a radius above eps, and vote again.

    images: (B, 3, H, W) in [0, 1]. prediction, radius: (B,) of `certification.certify`.
    classifier: what the attack differentiates; `smooth-pgd` adds the noise itself.
    noise: from places (M,) in the batch to the noise of these samples.
    votes: from attacked images (M, 3, H, W) and their places to votes (M, K): see `smoothed_votes`.
    who: names the attack in messages.
    Raises HarnessError unless the threat model is an l2 ball, in which such certificates hold, and for an attack that
    leaves it, or [0, 1]. Larger perturbations of one that looks for the smallest count as none.
    """
    if threat.norm != "l2":
        raise HarnessError(f"Certificates of Gaussian smoothing hold in l2 balls, not under {threat}: norm=l2.")
    rows = ((prediction != certification.ABSTAIN) & (radius > threat.eps)).nonzero()[:, 0]
    if not len(rows):
        empty = np.zeros(0, dtype=bool)
        return AttackedCertificates(rows, images[rows], torch.zeros(0, 1, dtype=torch.int64), empty, 0.0)
    claimed = prediction[rows]
    clean = images[rows]
    attacked = attack(clean, claimed, classifier.of(rows.tolist()), noise(rows), threat).detach().float()
    _, allowed = within(attacked, clean, threat, who, bool(getattr(attack, "minimal", False)))
    attacked = torch.where(allowed[:, None, None, None], attacked, clean)
    counts = votes(attacked, rows)
    broken = other_answers(counts.numpy(), claimed.numpy(), alpha)
    return AttackedCertificates(rows, attacked, counts, broken, expected_breaks(len(rows), alpha, certified_at))


def smoothed_votes(
    views: SuiteViews,
    classifier: Callable[[Tensor], Tensor],
    smoother: Smoother,
    sigma: float,
    draws: int,
    classes: int,
    report: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """Votes (B, K) int64 of a smoothed classifier, from draws that neither certification nor an attack has seen.

    views: of the attacked images. draws: their number. classes: K. report: takes the share that is done.
    Raises HarnessError for NaN and infinite outputs.
    """
    count = len(views.original())
    counts = torch.zeros(count, classes, dtype=torch.int64)
    for images in torch.arange(count).split(IMAGES_AT_ONCE):
        for start in range(0, draws, DRAWS_AT_ONCE):
            numbers = torch.arange(JUDGED + start, JUDGED + min(start + DRAWS_AT_ONCE, draws))
            rows = images.repeat_interleave(len(numbers))
            shown = (
                views.smoothed(smoother, sigma, rows, numbers.repeat(len(images)), k) for k in range(smoother.votes)
            )
            answers = [finite(classifier(noisy), "A smoothed classifier").argmax(1) for noisy in shown]
            winners = one_hot(torch.stack(answers), classes).sum(0).argmax(1)
            counts[images] += one_hot(winners.reshape(len(images), -1), classes).sum(1)
            report((int(images[0]) * draws + len(images) * (start + len(numbers))) / (count * draws))
    return counts
