"""Losses that attacks maximise: logits (B, K) and labels (B,) int64 to values (B,), one image's from its row alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.types import HarnessError

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, K) and labels (B,) to values (B,)."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(z)_y (Goodfellow et al., ICLR 2015; Madry et al., ICLR 2018); not negative.

    Its gradient vanishes in float32 where the prediction is certain.
    """
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{i != y} z_i - z_y (Carlini & Wagner, S&P 2017, f_6 with kappa = 0, not cut off); above 0 for an error.

    Needs two classes or more.
    """
    return _strongest_other(logits, labels) - _true(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio, -(z_y - max_{i != y} z_i) / (z_(1) - z_(3)) (Croce & Hein, ICML 2020, eq. 6).

    z_(1) >= z_(2) >= ... are the sorted logits; invariant to shifts and scalings of the logits. The denominator has
    1e-12 more, as in the authors' code. Constant at 1, with gradient zero, where the true class ranks third.
    Raises HarnessError for fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise HarnessError(
            f"The DLR loss compares the largest logit with the third: it needs 3 classes or more, not {logits.shape[1]}"
            ". Take the margin loss."
        )
    largest = logits.topk(3, 1).values
    return margin(logits, labels) / (largest[:, 0] - largest[:, 2] + 1e-12)


def _true(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0]


def _strongest_other(logits: Tensor, labels: Tensor) -> Tensor:
    true = F.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(true, -torch.inf).amax(1)


LOSSES: dict[str, LossFunction] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}
"""By the name that attacks take as a setting."""


def loss_named(name: str) -> LossFunction:
    """The loss of a name in `LOSSES`; raises HarnessError for others."""
    if name not in LOSSES:
        raise HarnessError(f"loss={name!r} must be one of {', '.join(LOSSES)}.")
    return LOSSES[name]
