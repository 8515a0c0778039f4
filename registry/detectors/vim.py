"""Virtual-logit matching (Wang et al., CVPR 2022)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness.evaluation.features import linear_head
from harness.plugins import detector
from harness.types import Bank, HarnessError, Response


@detector("vim")
@dataclass(frozen=True)
class ViM:
    """Energy minus the scaled length of the feature outside the training data's principal space.

    The origin is the point at which the head gives zero logits; the principal space has `dim` dimensions. OpenOOD's
    default, 256, is for 2,048 features: with no more features than `dim`, the principal space takes half of them.
    """

    dim: int = 256
    sweep: ClassVar[Mapping[str, Sequence[int]]] = {"dim": (256, 1000)}

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise HarnessError(f"vim: dim={self.dim} must be at least 1.")

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        def learn() -> dict[str, Tensor]:
            head = linear_head(bank).double()
            origin = -torch.linalg.pinv(head.weight) @ head.bias
            scatter = torch.zeros(len(origin), len(origin), dtype=torch.float64)
            for chunk in bank.train_features.chunks():
                centred = chunk.double() - origin
                scatter += centred.T @ centred
            dim = self.dim if self.dim < len(origin) else len(origin) // 2
            # Eigenvalues rise: the residual space belongs to the first ones.
            residual = torch.linalg.eigh(scatter / len(bank.train_features.labels))[1][:, : len(origin) - dim]
            lengths = [((chunk.double() - origin) @ residual).norm(dim=1) for chunk in bank.train_features.chunks()]
            logits = [bank.head(chunk).double().amax(1) for chunk in bank.train_features.chunks()]
            alpha = torch.cat(logits).mean() / torch.cat(lengths).mean()
            return {"origin": origin, "residual": residual, "alpha": alpha}

        learnt = bank.remember(learn, of=self)

        def score(seen: Response) -> Tensor:
            origin, residual, alpha = (learnt[key].to(seen.features.device) for key in ("origin", "residual", "alpha"))
            outside = ((seen.features.double() - origin) @ residual).norm(dim=1)
            return seen.logits.double().logsumexp(1) - alpha * outside

        return score
