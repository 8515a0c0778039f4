"""AugMix's consistency term: equal class probabilities for several views of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.train.objectives.protocol import CurrentNetwork, TermResponse
from harness.train.step import Step


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """AugMix's consistency loss (eq. 2): the Jensen-Shannon divergence of the views' class probabilities, in nats.

    logits: (B, K) for each view of the same B images. The mean over images and views of KL(p_view || mean of the p),
    the mean being held in [1e-7, 1] as in the authors' code: from 0 (-K 1e-7 at worst, by that bound) to log(views).
    """
    views = torch.stack([x.log_softmax(-1) for x in logits])
    mixture = views.exp().mean(0).clamp(1e-7, 1).log()
    # By logarithms, for probabilities that underflow to 0: there the gradient of p log p, written as such, is NaN.
    return torch.stack([F.kl_div(mixture, p, reduction="batchmean", log_target=True) for p in views]).mean()


@dataclass(frozen=True)
class Consistency:
    """Jensen-Shannon consistency of the augmented images and other views of them (AugMix: Hendrycks et al., 2020)."""

    weight: float = 12.0
    clean: str = "ce"
    name: str = "jsd"

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        return torch.cat(step.views)

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        views = responses[self.name].logits.chunk(len(step.views))
        return self.weight * jensen_shannon([responses[self.clean].logits, *views])
