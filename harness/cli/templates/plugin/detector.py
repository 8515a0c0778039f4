"""A detector: a score that is higher for images like those of the training data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.plugins import detector
from harness.types import Bank, Response


@detector("my-name")
@dataclass(frozen=True)
class MyName:
    """Minus the distance to the nearest class mean of the training features."""

    # Settings are fields: --detector my-name:power=1.
    power: float = 2.0

    # A detector that learns nothing has no fit: it is the scoring function itself, __call__(self, seen).
    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        """The scoring function, learnt from the training features."""
        features, labels = torch.cat(list(bank.train_features.chunks())), bank.train_features.labels
        means = torch.stack([features[labels == k].mean(0) for k in labels.unique()])

        def score(seen: Response) -> Tensor:  # (B,)
            # The score of an image must not depend on the other images of the batch.
            distances = (seen.features[:, None] - means.to(seen.features)).norm(dim=2)
            return -(distances.min(dim=1).values ** self.power)

        return score
