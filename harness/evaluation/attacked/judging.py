"""Judging of adversarial images on noise draws that no attack has seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.types import GradientClassifier

JUDGED = 2**20
"""Number of the first draw that judges; attacks average over draws from 1 upwards and never come as far."""

JUDGES = 10
"""Draws that judge an image; Lee & Kim (ICCV 2023) evaluate with as many."""


def judged_logits(classifier: GradientClassifier, images: Tensor, draws: int = JUDGES, first: int = JUDGED) -> Tensor:
    """Logits (draws, B, K) of images (B, 3, H, W) under draws `first`, `first` + 1, ...

    A classifier that draws nothing looks once, and its logits are repeated.
    """
    if classifier.drawn(JUDGED) is classifier:
        return classifier(images).expand(draws, -1, -1)
    return torch.stack([classifier.drawn(first + draw)(images) for draw in range(draws)])


def attacker(classifier: Any) -> GradientClassifier:
    """The classifier as attacks see it: one that draws noise refuses the numbers of draws that judge."""
    limited: GradientClassifier = replace(classifier, limit=JUDGED) if hasattr(classifier, "limit") else classifier
    return limited
