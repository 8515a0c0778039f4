"""The test images that most classifiers get wrong with confidence, from the sample tables of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.base.errors import HarnessError
from harness.evaluation.records.record import RunRecord
from harness.report.names import label

METHOD = "default"
"""The method whose records are read: classifiers by themselves."""


@dataclass(frozen=True)
class HardImage:
    """An image, as `harness.report.gallery.contents.Hard` has it, before it is drawn.

    says: one class and probability per record.
    """

    id: str
    label: int
    condition: str
    confidence: float
    wrong: int
    says: Sequence[tuple[int, float]]


def of_one_method(board: Sequence[RunRecord]) -> list[RunRecord]:
    """The records of a board that classifiers have by themselves, one per classifier, by name."""
    by_model: dict[str, RunRecord] = {}
    for entry in sorted(board, key=lambda entry: (entry.model.name, entry.variant != entry.method, entry.key)):
        if entry.method == METHOD:
            by_model.setdefault(entry.model.name, entry)
    return list(by_model.values())


def hardest_images(records: Sequence[RunRecord], count: int) -> list[HardImage]:
    """The images that more than half of the records get wrong, by the mean confidence where wrong, greatest first.

    An image that is right counts with confidence 0. Each image comes under its hardest condition only. Raises
    HarnessError for records of different samples, and for sample tables without confidences.
    """
    tables = [_sorted(entry) for entry in records]
    first = tables[0]
    for entry, rows in zip(records, tables, strict=True):
        if not all(np.array_equal(rows[name], first[name]) for name in ("id", "condition", "label")):
            raise HarnessError(f"{label(entry)} and {label(records[0])} are of different samples: compare neither.")
    wrong = np.stack([rows["prediction"] != rows["label"] for rows in tables])
    confidence = np.stack([rows["confidence"].astype(float) for rows in tables])
    score = (wrong * confidence).mean(0)
    most = np.flatnonzero(wrong.mean(0) > 0.5)
    images: dict[str, HardImage] = {}
    # Stable: images of one score come by id and condition.
    for row in most[np.argsort(-score[most], kind="stable")]:
        if len(images) == count:
            break
        name = str(first["id"][row])
        says = [(int(rows["prediction"][row]), round(float(rows["confidence"][row]), 4)) for rows in tables]
        image = HardImage(
            name,
            int(first["label"][row]),
            str(first["condition"][row]),
            round(float(score[row]), 4),
            int(wrong[:, row].sum()),
            says,
        )
        images.setdefault(name, image)
    return list(images.values())


def _sorted(entry: RunRecord) -> dict[str, Any]:
    """The sample table of a record by id and condition."""
    rows = entry.rows("prediction", "confidence")
    order = np.lexsort((rows["condition"], rows["id"]))
    return {name: rows[name][order] for name in ("id", "condition", "label", "prediction", "confidence")}
