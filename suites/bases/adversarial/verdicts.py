"""Verdicts on adversarial images: allowed by the threat model, and taken for another class?

A classifier that draws noise is judged on draws that no attack saw: ten decide which of several attacks' images is the
strongest, ten others give the number that is reported, so that the choice does not flatter the attacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.evaluation.attacked.judging import JUDGED, judged_logits
from harness.models.tiles import finite
from harness.types import GradientClassifier, HarnessError, ThreatModel

KNOWN, UNSEEN = "known", "unseen"
"""Ways to judge: on the classifier as it is, or on noise that the attack never saw."""


def slack(threat: ThreatModel) -> float:
    """Distance beyond eps that float32 may add to an image within the ball."""
    return 1e-6 + 1e-5 * threat.eps


def distances(images: Tensor, clean: Tensor, norm: str) -> Tensor:
    """Norms (B,) float64 of the perturbations of images (B, 3, H, W)."""
    delta = (images.double() - clean.double()).flatten(1)
    return delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)


def within(images: Tensor, clean: Tensor, threat: ThreatModel, who: str, minimal: bool) -> tuple[Tensor, Tensor]:
    """Norms (B,) of perturbations, and (B,) bool, those that the threat model allows.

    minimal: the attack looks for the smallest perturbation, which may be too large. Raises HarnessError for images
    that are none, and for larger perturbations of any other attack. who: names the attack in messages.
    """
    if images.shape != clean.shape or not bool(((images >= 0) & (images <= 1)).all()):
        raise HarnessError(
            f"{who} returned something else than images of shape {tuple(clean.shape)} in [0, 1]. It must clamp its "
            "results, and must not return NaN."
        )
    norms = distances(images, clean, threat.norm)
    allowed = norms <= threat.eps + slack(threat)
    if not minimal and not bool(allowed.all()):
        raise HarnessError(
            f"{who} left the threat model {threat}: a perturbation has norm {float(norms.max()):g}. It must project "
            "its results, or state minimal = True."
        )
    return norms, allowed


@dataclass(frozen=True, eq=False)
class Verdict:
    """The classifier's answers to images.

    prediction: (B,) int64, the class; of several draws the one with the largest mean probability.
    loss: (B,) float32, cross-entropy of the labels, averaged over draws.
    right: (B,) int64, draws with the right answer, of one or of `JUDGES`.
    """

    prediction: Tensor
    loss: Tensor
    right: Tensor


def judged(classifier: GradientClassifier, images: Tensor, labels: Tensor, way: str, first: int = JUDGED) -> Verdict:
    """The answers to images (B, 3, H, W) in `KNOWN` or `UNSEEN` noise; raises HarnessError for answers of NaN.

    first: number of the first of `JUDGES` draws.
    """
    logits = classifier(images)[None] if way == KNOWN else judged_logits(classifier, images, first=first)
    finite(logits.flatten(0, 1), "A classifier under attack")
    losses = torch.stack([F.cross_entropy(one, labels, reduction="none") for one in logits])
    right = (logits.argmax(2) == labels).sum(0)
    prediction = logits[0].argmax(1) if way == KNOWN else logits.softmax(2).mean(0).argmax(1)
    return Verdict(prediction, losses.mean(0).float(), right)
