"""The hardest images, from sample tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import ROOT

from harness.evaluation.records.record import RunRecord
from harness.report.boards import readable
from harness.report.gallery.hard import hardest_images, of_one_method
from harness.types import HarnessError

IDS, CONDITIONS = ["a", "a", "b", "c"], ["fog", "snow", "fog", "fog"]


class Entry:
    """As much of a record as is read. answers: a class and a probability per row."""

    def __init__(self, answers: list[tuple[int, float]], ids: list[str] = IDS) -> None:
        self.model, self.method = type("M", (), {"name": "m"}), "default"
        self._answers, self._ids = answers, ids

    def rows(self, *needed: str) -> dict[str, Any]:
        prediction, confidence = map(np.array, zip(*self._answers, strict=True))
        label = np.zeros(len(self._ids), int)
        rows = {"id": self._ids, "condition": CONDITIONS, "label": label}
        return {name: np.array(values) for name, values in rows.items()} | {
            "prediction": prediction,
            "confidence": confidence,
        }


def test_images_come_by_the_mean_confidence_of_wrong_answers() -> None:
    one = Entry([(1, 0.9), (1, 0.6), (2, 1.0), (0, 1.0)])
    two = Entry([(1, 0.7), (1, 0.5), (2, 0.9), (3, 1.0)])
    images: Any = hardest_images([one, two], 9)  # type: ignore[list-item]
    # c is wrong for one of two, which is not most; a comes under its harder condition alone.
    assert [(image.id, image.condition, image.confidence, image.wrong) for image in images] == [
        ("b", "fog", 0.95, 2),
        ("a", "fog", 0.8, 2),
    ]
    assert images[0].says == [(2, 1.0), (2, 0.9)]


def test_records_of_different_samples_are_refused() -> None:
    answers = [(1, 0.9)] * 4
    with pytest.raises(HarnessError, match="different samples"):
        hardest_images([Entry(answers), Entry(answers, ["a", "a", "b", "d"])], 3)  # type: ignore[list-item]


def test_one_record_per_classifier_by_itself_is_read() -> None:
    records: list[RunRecord] = list(readable(sorted((ROOT / "results" / "digits").glob("*vit*.json"))))
    assert [entry.model.name for entry in of_one_method(records)] == ["digits/vit", "digits/vit+diffaug"]
    assert {entry.method for entry in of_one_method(records)} == {"default"}
