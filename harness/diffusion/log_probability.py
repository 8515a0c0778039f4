"""Log-probability that a classifier gives a class, for guides, for judges and for gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probability (B,), in nats, of the labels under the softmax of logits (B, K). labels: (B,) int64 in [0, K).

    Its gradient is zero where the probability rounds to 1, as in guided-diffusion's program: such a classifier no
    longer guides. `log_probability_by_odds` keeps it.
    """
    return logits.log_softmax(1).gather(1, labels[:, None])[:, 0]


def log_probability_by_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """The same from the odds against the label, -log(1 + the sum of exp(z_k - z_y) over the other classes); K > 1.

    Its gradient keeps its direction where the probability rounds to 1. It agrees with `log_probability` to rounding
    only, so a number that was made with one is never made again with the other.
    """
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return -F.softplus(others - logits.gather(1, labels[:, None])[:, 0])
