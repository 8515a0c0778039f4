"""Results that look wrong are said: accuracy at chance, logits that do not depend on the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.evaluation import suspicion
from harness.models.probe import Probe
from harness.types import Condition

CLEAN, SHIFTED = Condition("clean", "clean"), Condition("fog/5", "fog", severity=5)


def rows(correct: int, images: int, condition: str = "clean") -> dict[str, Any]:
    labels = np.zeros(images, int)
    ids = np.array([f"{k}" for k in range(images)])
    return {
        "id": ids,
        "condition": np.full(images, condition),
        "label": labels,
        "prediction": (np.arange(images) >= correct).astype(int),
    }


@pytest.mark.parametrize(
    ("correct", "images", "classes", "suspicious"),
    [(10, 100, 10, True), (16, 100, 10, False), (0, 100, 1000, True), (2, 100, 1000, False), (0, 29, 10, False)],
)
def test_clean_accuracy_that_guessing_explains_is_said(
    correct: int, images: int, classes: int, suspicious: bool
) -> None:
    notes = suspicion.of_rows(rows(correct, images), [CLEAN, SHIFTED], "digits", classes)
    assert bool(notes) is suspicious
    assert not notes or f"{correct / images:.1%} on {images} clean images cannot be told from guessing" in notes[0]


def test_only_undisturbed_or_corrupted_images_are_judged() -> None:
    wrong = rows(0, 50, "fog/5")
    assert "corrupted images" in suspicion.of_rows(wrong, [SHIFTED], "digits", 10)[0]
    assert suspicion.of_rows(wrong, [CLEAN, SHIFTED], "digits", 10) == []
    assert suspicion.of_rows(rows(0, 50, "a"), [Condition("a", "a")], "digits", 10) == []
    assert suspicion.of_rows(rows(0, 50, "digits"), [Condition("digits", "digits")], "digits", 10)
    unlabelled = rows(0, 50) | {"label": np.full(50, -1)}
    assert suspicion.of_rows(unlabelled, [CLEAN], "digits", 10) == []
    assert suspicion.of_rows({"id": wrong["id"]}, [CLEAN], "digits", 10) == []


def test_logits_without_spread_are_said() -> None:
    def notes(logits: Any) -> list[str]:
        return suspicion.of_probe(Probe((), "cpu", {}, {"model": np.asarray(logits, np.float32)}))

    assert "each class the same logit" in notes([[1, 1, 1], [2, 2, 2]])[0]
    assert "different images the same logits" in notes([[1, 2, 3], [1, 2, 3]])[0]
    assert notes([[1, 2, 3], [1, 2, 3.001]]) == [] and suspicion.of_probe(Probe((), "cpu", {}, {})) == []
