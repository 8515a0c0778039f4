"""Signs that an attack, and not the classifier, is what a robust accuracy measures: obfuscated gradients, weak attacks.

The list follows Athalye et al., ICML 2018 (section 3.1), Carlini et al., 2019 ("On evaluating adversarial robustness",
section 4) and Tramer et al., NeurIPS 2020. Each sign is a measured figure; the thresholds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.types import Columns

LOOKED_AT = 20
"""Images that flags are measured on, the first of a run; those that are wrong without an attack are left out."""


@dataclass(frozen=True)
class Sign:
    """One thing that flags look for.

    threshold: largest value that raises no flag. sentence: with places for the value and for n.
    """

    threshold: float
    sentence: str


SIGNS: Mapping[str, Sign] = {
    "unrepeatable": Sign(1e-4, "two calls on the same {n} images give logits that differ by {value:.2g}"),
    "zero_gradients": Sign(0.01, "the gradient vanishes in float32 on {value:.0%} of {n} images"),
    "loss_falls": Sign(0.1, "the loss falls from one quarter of the ascent to the next by {value:.0%} of its rise"),
    "left_without_bounds": Sign(0.0, "{value:.0%} of {n} images withstand perturbations without bounds"),
    "more_with_larger_eps": Sign(0.05, "a larger eps leaves more images standing, by {value:.0%} of {n}"),
    "random_noise": Sign(0.1, "random noise of the size of the attack costs {value:.0%} of {n} images"),
    "longer_attack": Sign(1.0, "twice the iterations change the verdict on {value:.0f} of {n} images"),
    "black_box": Sign(0.0, "an attack without this gradient fools {value:.0f} more of {n} images"),
}
"""By name, in the order of cost. Values: see `harness.evaluation.attacked.checking`."""


@dataclass(frozen=True)
class Flag:
    """One measured sign. It is raised where the value is above the threshold, or is no number.

    name: of `SIGNS`. n: images that it was measured on.
    """

    name: str
    value: float
    n: int

    @property
    def threshold(self) -> float:
        """Largest value that raises no flag."""
        return SIGNS[self.name].threshold

    @property
    def raised(self) -> bool:
        """True where the value is suspicious."""
        return not self.value <= self.threshold

    @property
    def sentence(self) -> str:
        """The measured figure in words, beside its threshold."""
        sign = SIGNS[self.name]
        return f"{sign.sentence.format(value=self.value, n=self.n)} (threshold {sign.threshold:g})"


UNMEASURED, NO_NUMBER = -1.0, -2.0
"""Values in a sample table, which holds finite numbers alone: not measured, and infinite or NaN."""


def flag_columns(flags: Sequence[Flag], rows: int) -> Columns:
    """Columns (rows,) of the sample table, each with one value throughout, so that a record can be scored again.

    `flag_NAME` float64 holds the value, at least 0, or `UNMEASURED`, or `NO_NUMBER`; `flag_n` int64 the images.
    """
    values = {flag.name: flag.value if math.isfinite(flag.value) else NO_NUMBER for flag in flags}
    count = max((flag.n for flag in flags), default=0)
    columns: dict[str, Tensor] = {
        f"flag_{name}": torch.full((rows,), values.get(name, UNMEASURED), dtype=torch.float64) for name in SIGNS
    }
    columns["flag_n"] = torch.full((rows,), count)
    return columns


def flags_in(rows: Mapping[str, Any]) -> list[Flag]:
    """The flags that `flag_columns` wrote, from a sample table's columns as numpy arrays; of each the first row's."""
    if "flag_n" not in rows or not len(rows["flag_n"]):
        return []
    first = {name: float(rows[f"flag_{name}"][0]) for name in SIGNS if f"flag_{name}" in rows}
    read = {name: math.inf if value == NO_NUMBER else value for name, value in first.items() if value != UNMEASURED}
    return [Flag(name, value, int(rows["flag_n"][0])) for name, value in read.items()]
