"""Deep nearest neighbours (Sun et al., ICML 2022)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness.plugins import detector
from harness.types import Bank, HarnessError, Response


def normalised(features: Tensor) -> Tensor:
    """Rows of length one, as OpenOOD normalises them."""
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)


@detector("knn")
@dataclass(frozen=True)
class KNN:
    """Minus the squared distance to the k-th nearest training image, in normalised features."""

    k: int = 50
    sweep: ClassVar[Mapping[str, Sequence[int]]] = {"k": (50, 100, 200, 500, 1000)}

    def __post_init__(self) -> None:
        if self.k < 1:
            raise HarnessError(f"knn: k={self.k} must be at least 1.")

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        images = len(bank.train_images.ids)
        if self.k > images:
            raise HarnessError(f"k={self.k} must not exceed the {images} training images.")

        def score(seen: Response) -> Tensor:
            query = normalised(seen.features)
            nearest = query.new_empty(len(query), 0)
            for chunk in bank.train_features.chunks():
                distance = (2 - 2 * query @ normalised(chunk.to(query.device)).T).clamp(min=0)
                nearest = torch.cat([nearest, distance], 1)
                nearest = nearest.topk(min(self.k, nearest.shape[1]), dim=1, largest=False).values
            return -nearest[:, -1]

        return score
