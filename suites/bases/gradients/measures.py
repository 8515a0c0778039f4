"""Measures of one gradient per image, as the sample table has them, and their means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.metrics.accuracy import accuracy
from harness.metrics.gradients.means import mean_over_images
from harness.metrics.intervals import Interval
from harness.types import Metric

RELATIVE = 1e-3
"""A gradient vanishes if a guide of scale 1 would move the predicted noise by less than this share of its norm."""

VANISHING = "vanishing"
"""Share of gradients that do."""


@dataclass(frozen=True)
class Measure:
    """Unit of a mean over images, limits of its interval, and its better direction."""

    unit: str
    limits: Interval
    higher: bool = True


COSINE = Measure("cosine", (-1.0, 1.0))

PRIMARY = {
    "cosine_score": COSINE,
    "cosine_mean": COSINE,
    "gain": Measure("log p", (-np.inf, np.inf)),
    "low_frequency": Measure("fraction", (0.0, 1.0)),
}
"""Columns of a classifier's gradients; with `_random` those of its architecture with random weights."""

MEASURES = {
    **PRIMARY,
    "cosine_wrong": replace(COSINE, higher=False),
    **{f"{name}_random": measure for name, measure in PRIMARY.items()},
}
"""All columns that have a mean."""

NONVANISHING = {f"{name}_nonvanishing": name for name in ("cosine_score", "cosine_mean")}
"""Means over the gradients that do not vanish alone, whose n says how many: by name, their column.

A classifier that is certain has gradients that guide nothing, whatever their direction.
"""

MEANS = (*MEASURES, VANISHING, *NONVANISHING)
"""Names of all means."""


def vanishing(rows: Mapping[str, Any]) -> Any:
    """Rows (N,) bool whose gradient vanishes: see `RELATIVE`."""
    return rows["norm"] < RELATIVE


def selected(rows: Mapping[str, Any], cells: Any, name: str) -> tuple[Any, Any]:
    """Values (N,) of a mean's column, and those of the rows `cells` (N,) bool that it averages."""
    if name == VANISHING:
        return vanishing(rows), cells
    if name in NONVANISHING:
        return rows[NONVANISHING[name]], cells & ~vanishing(rows)
    return rows[name], cells


def mean_of(rows: Mapping[str, Any], cells: Any, name: str, condition: str) -> Metric:
    """The mean of a measure over some rows. Raises `Undefined` where an interval has no basis."""
    values, cells = selected(rows, cells, name)
    if name == VANISHING:
        return replace(accuracy(values[cells], condition, VANISHING), higher_is_better=False)
    measure = MEASURES[NONVANISHING.get(name, name)]
    return mean_over_images(values[cells], name, condition, measure.unit, measure.limits, measure.higher)
