"""The 15 + 4 common corruptions (Hendrycks & Dietterich, ICLR 2019), at 32, 64, 224 and 299 pixels.

`harness.data.corruptions` has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from harness.data import corruptions
from harness.plugins import corruption
from harness.types import Corruption


def common(name: str) -> Corruption:
    """One of the 15 + 4, with drawn frost."""

    def corrupted(images: Tensor, severity: int, rngs: Sequence[np.random.Generator]) -> Tensor:
        corruptions.check(images, name, severity)
        return corruptions.apply(corruptions.to_levels(images), name, severity, rngs).float() / 255

    corrupted.__doc__ = corruptions.summary(name)
    return corrupted


for name in corruptions.STANDARD + corruptions.EXTRA:
    corruption(name)(common(name))
