"""Attacks on certificates of randomized smoothing: a certificate that holds withstands every one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from harness.evaluation.attacked.judging import JUDGED
from harness.metrics import certification
from harness.types import Attack, GradientClassifier, HarnessError, Noise, Smoother, ThreatModel


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
        return (
            f"{int(self.broken.sum())} of {len(self.broken)} attacked certificates are broken; by chance up to "
            f"{self.expected:.2g} are expected."
        )


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
) -> AttackedCertificates:
    """Attack every certificate of a radius above eps, and vote again.

    images: (B, 3, H, W) in [0, 1]. prediction, radius: (B,) of `certification.certify`.
    classifier: what the attack differentiates; `smooth-pgd` adds the noise itself.
    noise: from places (M,) in the batch to the noise of these samples.
    votes: from attacked images (M, 3, H, W) and their places to votes (M, K): see `smoothed_votes`.
    Raises HarnessError unless the threat model is an l2 ball, in which such certificates hold.
    """
    if threat.norm != "l2":
        raise HarnessError(f"Certificates of Gaussian smoothing hold in l2 balls, not under {threat}: norm=l2.")
    rows = ((prediction != certification.ABSTAIN) & (radius > threat.eps)).nonzero()[:, 0]
    if not len(rows):
        empty = np.zeros(0, dtype=bool)
        return AttackedCertificates(rows, images[rows], torch.zeros(0, 1, dtype=torch.int64), empty, 0.0)
    claimed = prediction[rows]
    attacked = attack(images[rows], claimed, classifier.of(rows.tolist()), noise(rows), threat)
    counts = votes(attacked, rows)
    broken = other_answers(counts.numpy(), claimed.numpy(), alpha)
    return AttackedCertificates(rows, attacked, counts, broken, expected_breaks(len(rows), alpha, certified_at))


def smoothed_votes(
    views: Any, classifier: Callable[[Tensor], Tensor], smoother: Smoother, sigma: float, draws: int, classes: int
) -> Tensor:
    """Votes (B, K) int64 of a smoothed classifier, from draws that neither certification nor an attack has seen.

    views: of the attacked images, see `harness.types.SuiteViews`. draws: their number. classes: K.
    """
    count, chunk = len(views.original()), 100
    counts = torch.zeros(count, classes, dtype=torch.int64)
    for start in range(JUDGED, JUDGED + draws, chunk):
        numbers = torch.arange(start, min(start + chunk, JUDGED + draws))
        rows = torch.arange(count).repeat_interleave(len(numbers))
        answers = [
            classifier(views.smoothed(smoother, sigma, rows, numbers.repeat(count), vote)).argmax(1)
            for vote in range(smoother.votes)
        ]
        winners = one_hot(torch.stack(answers), classes).sum(0).argmax(1)
        counts += one_hot(winners.reshape(count, -1), classes).sum(1)
    return counts
