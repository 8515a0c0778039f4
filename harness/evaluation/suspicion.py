"""Notes on results that look as if something were wrong: answers at chance, outputs that do not depend on the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.evaluation.records.rows import Rows
from harness.models.probe import Probe
from harness.types import Condition

CLEAN = ("clean", "id")
"""Groups of conditions that show undisturbed images, beside one that is called like the data set."""
ENOUGH = 30
"""Images below which chance would explain too much."""
LEVEL = 0.05
"""Chance that guessing answers so many images correctly, above which accuracy is not told from chance."""
FLAT = 1e-6
"""Spread of logits below which they count as equal, relative to the largest of them."""
CAUSES = "Look at the architecture, the classes and their order, mean and std."


def of_rows(rows: Rows, conditions: Sequence[Condition], dataset: str, classes: int) -> list[str]:
    """A note where accuracy cannot be told from guessing; none for tables without predictions, and for few images.

    dataset: the suite's. Undisturbed images count, or where a suite has none, corrupted ones; no others, since
    classifiers may well fail on what was chosen to deceive them.
    The test is one-sided and exact: the binomial chance of as many correct answers at one in `classes`.
    """
    clean = {condition.name for condition in conditions if condition.group in (*CLEAN, dataset)}
    judged = clean or {condition.name for condition in conditions if condition.severity}
    if "prediction" not in rows or classes < 2:
        return []
    asked = (rows["label"] >= 0) & np.isin(rows["condition"], list(judged))
    # The same images under many conditions are no independent guesses.
    images = len(np.unique(rows["id"][asked]))
    if images < ENOUGH:
        return []
    accuracy = float((rows["prediction"][asked] == rows["label"][asked]).mean())
    if not _guessed(round(accuracy * images), images, 1 / classes):
        return []
    return [
        f"Accuracy {accuracy:.1%} on {images} {'clean' if clean else 'corrupted'} images cannot be told from guessing "
        f"among {classes} classes. {CAUSES}"
    ]


def _guessed(correct: int, images: int, chance: float) -> bool:
    from scipy.stats import binom

    return bool(binom.sf(correct - 1, images, chance) > LEVEL)


def of_probe(probe: Probe) -> list[str]:
    """A note where the classifier gives all classes, or all probe images, the same logits."""
    logits: Any = probe.outputs.get("model")
    if logits is None or logits.ndim != 2 or logits.shape[1] < 2 or not np.isfinite(logits).all():
        return []
    tolerance = FLAT * max(float(np.abs(logits).max()), FLAT)
    for axis, what in ((1, "each class the same logit"), (0, "different images the same logits")):
        if float(np.ptp(logits, axis).max()) <= tolerance:
            return [f"The classifier gives {what}: nothing can follow from its outputs. {CAUSES}"]
    return []
