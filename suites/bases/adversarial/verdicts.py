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
from harness.types import GradientClassifier

KNOWN, UNSEEN = "known", "unseen"
"""Ways to judge: on the classifier as it is, or on noise that the attack never saw."""


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
