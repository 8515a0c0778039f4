"""Random draws, on the CPU by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Rng = np.random.Generator
T = TypeVar("T")


def uniform(rng: Rng, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform numbers in [low, high), float32."""
    return torch.from_numpy(rng.random(tuple(shape), dtype=np.float32)) * (high - low) + low


def pick(rng: Rng, options: Sequence[T]) -> T:
    """One of them, all equally likely."""
    return options[int(rng.integers(len(options)))]
