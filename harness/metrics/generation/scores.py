"""All metrics of one set of generated images beside its reference, from the features of one extractor."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from harness.metrics.generation.estimates import IntervalEstimate, matrix, same_dimension
from harness.metrics.generation.kernel import kid
from harness.metrics.generation.memorisation import memorised
from harness.metrics.generation.moments import frechet, frechet_infinity, moments
from harness.metrics.generation.neighbours import neighbours
from harness.metrics.intervals import Undefined
from harness.types import HarnessError, Metric

CONDITION = "generated"
"""Condition of the metrics, unless the caller names another."""

UNITS = {
    "fd": ("squared distance", False),
    "fd_infinity": ("squared distance", False),
    "kid": ("squared MMD", False),
    "precision": ("fraction", True),
    "recall": ("fraction", True),
    "density": ("balls / k", True),
    "coverage": ("fraction", True),
    "memorised": ("fraction", False),
}
"""Unit of every metric, and whether higher is better; density is best at 1."""

DISTANCES = ("fd", "fd_infinity", "kid")
"""Metrics that carry the extractor in their name: their scale is the extractor's."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a set of images.

    values: (N, D), finite. extractor: name of the network and layer that made them.
    """

    values: NDArray[Any]
    extractor: str

    def __post_init__(self) -> None:
        matrix(self.values, f"Features of {self.extractor}")


def score(
    generated: Features, reference: Features, *, seed: int, extractor: str, condition: str = CONDITION
) -> list[Metric]:
    """Metrics in the order of `UNITS`, each with interval, n, unit and direction.

    `fd_infinity` is left out below 2 (D + 1) samples, where it is not defined; `frechet_infinity` says so.

    generated: (M, D). reference: (N, D), the training images where `memorised` is to mean something. Raises
    HarnessError for different dimensions, and for fewer than D + 1 samples in either set.
    seed: of the subsets of `fd_infinity`. extractor: the name that metrics show; both sets must come from it.
    """
    for name, features in (("generated set", generated), ("reference", reference)):
        if features.extractor != extractor:
            raise HarnessError(
                f"Features of the {name} come from {features.extractor!r}, not from {extractor!r}: "
                "extract those of both sets with the same network."
            )
    same_dimension(generated.values.shape[1], reference.values.shape[1])
    estimates = _estimates(generated.values, reference.values, seed)
    return [
        estimate.metric(f"{name}[{extractor}]" if name in DISTANCES else name, condition, *UNITS[name])
        for name, estimate in estimates.items()
    ]


def _estimates(generated: NDArray[Any], reference: NDArray[Any], seed: int) -> dict[str, IntervalEstimate]:
    target = moments(reference)
    distances = {"fd": frechet(generated, target)}
    with suppress(Undefined):  # too few samples for its subsets
        distances["fd_infinity"] = frechet_infinity(generated, target, seed)
    near = neighbours(generated, reference)
    return {
        **distances,
        "kid": kid(generated, reference),
        "precision": near.precision,
        "recall": near.recall,
        "density": near.density,
        "coverage": near.coverage,
        "memorised": memorised(near),
    }
