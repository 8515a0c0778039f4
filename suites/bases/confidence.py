"""Quality of a classifier's confidence: metrics of one condition or mean, and the logits that some of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from harness.metrics import selective
from harness.metrics.calibration import LEAST, adaptive_ece
from harness.metrics.intervals import Undefined
from harness.metrics.probabilities import brier
from harness.metrics.smooth_calibration import smooth_ece
from harness.types import BatchTask, Columns, Metric


def kept_logits(task: BatchTask, probabilities: Tensor) -> Columns:
    """The column of logits for a run that keeps them, (B, K) float16: the logarithms of a method's probabilities.

    They are the classifier's logits up to a constant per image where the method is one softmax. For a method that
    averages probabilities they are the only logits there are. No probability counts as less than `LEAST`.
    """
    return {"logits": probabilities.float().clamp_min(LEAST).log().half()} if task.keep_logits else {}


def summary(
    rows: Mapping[str, Any], correct: Any, places: Mapping[str, Any], condition: str
) -> tuple[list[Metric], list[str]]:
    """Selective classification and calibration without bins of equal width, and the Brier score where logits are.

    correct: (N,) bool, of the rows. places: by condition, row numbers (n_images, n_conditions).
    condition: the one of these to judge, "" for none. Returns metrics, and notes on those that are undefined.
    """
    cells = places.get(condition)
    if cells is None or "confidence" not in rows:
        return [], []
    right, confidence = correct[cells], rows["confidence"][cells]
    metrics: list[Callable[[], list[Metric]]] = [
        lambda: selective.summary(right, confidence, condition),
        lambda: [adaptive_ece(right, confidence, condition)],
        lambda: [smooth_ece(right, confidence, condition)],
    ]
    if "logits" in rows:
        metrics.append(lambda: [brier(rows["logits"][cells], rows["label"][cells], condition)])
    results: list[Metric] = []
    notes: dict[str, None] = {}
    for metric in metrics:
        try:
            results += metric()
        except Undefined as reason:
            notes[str(reason)] = None
    return results, list(notes)
