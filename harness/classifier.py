"""The standard classifier: a timm body with its normalisation inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn


class ImageClassifier(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to logits (B, K).

    body: a network with timm's ``forward_features`` and ``forward_head``.
    mean, std: per-channel normalisation of the training recipe; buffers, so that they travel with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3) -> None:
        super().__init__()
        self.body: Any = body
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.body((images - self.mean) / self.std))

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layer (B, D), after pooling: what `head` maps to logits."""
        hidden = self.body.forward_features((images - self.mean) / self.std)
        return cast(Tensor, self.body.forward_head(hidden, pre_logits=True))

    def head(self, features: Tensor) -> Tensor:
        """The last linear layer: (B, D) to (B, K)."""
        return cast(Tensor, self.body.get_classifier()(features))
