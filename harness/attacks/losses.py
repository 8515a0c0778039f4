"""Losses that attacks maximise: logits (B, K) and labels (B,) int64 to values (B,), one image's from its row alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.types import HarnessError

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, K) and labels (B,) to values (B,)."""

AnyLoss = Callable[..., Tensor]
"""From logits (B, K), labels (B,) and what else it takes per image, such as targets (B,), to values (B,)."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(z)_y (Goodfellow et al., ICLR 2015; Madry et al., ICLR 2018); not negative.

    Its gradient vanishes in float32 where the prediction is certain.
    """
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{i != y} z_i - z_y (Carlini & Wagner, S&P 2017, f_6 with kappa = 0, not cut off); above 0 for an error.

    Needs two classes or more.
    """
    return _strongest_other(logits, labels) - _of_class(logits, labels)


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


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """DLR towards a class t, -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) (Croce & Hein, ICML 2020, eq. 7).

    targets: (B,) int64, the classes t. The denominator has 1e-12 more, as in the authors' code. Raises HarnessError for
    fewer than four classes.
    """
    if logits.shape[1] < 4:
        raise HarnessError(
            "The targeted DLR loss compares the largest logit with the third and the fourth: it needs 4 classes or "
            f"more, not {logits.shape[1]}."
        )
    largest = logits.topk(4, 1).values
    scale = largest[:, 0] - 0.5 * (largest[:, 2] + largest[:, 3]) + 1e-12
    return -(_of_class(logits, labels) - _of_class(logits, targets)) / scale


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """z_t - z_y, the difference of logits towards a class t (Carlini & Wagner, S&P 2017); targets: (B,) int64."""
    return _of_class(logits, targets) - _of_class(logits, labels)


def targeted_dlr_of_three(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_(1) - z_(3)): towards a class t, over the denominator of the untargeted DLR; for 3 classes."""
    largest = logits.topk(3, 1).values
    return targeted_margin(logits, labels, targets) / (largest[:, 0] - largest[:, 2] + 1e-12)


def _of_class(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


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
