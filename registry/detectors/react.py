"""ReAct (Sun, Guo & Li, NeurIPS 2021)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.plugins import detector
from harness.types import Bank, HarnessError, Response


@detector("react")
@dataclass(frozen=True)
class ReAct:
    """Energy of the features cut off above a percentile of the validation features; signed ones are not cut below."""

    percentile: float = 90.0
    sweep: ClassVar[Mapping[str, Sequence[float]]] = {"percentile": (85.0, 90.0, 95.0, 99.0)}

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise HarnessError(f"react: percentile={self.percentile:g} must lie in (0, 100].")

    def fit(self, bank: Bank) -> Callable[[Response], Tensor]:
        def learn() -> dict[str, Tensor]:
            features = torch.cat(list(bank.validation_features.chunks()))
            return {"threshold": torch.tensor(np.percentile(features.numpy(), self.percentile), dtype=torch.float64)}

        threshold = float(bank.remember(learn, of=self)["threshold"])
        return lambda seen: seen.head(seen.features.clamp(max=threshold)).logsumexp(1)
