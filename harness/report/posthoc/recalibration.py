"""Temperature scaling and prediction sets of a record that kept logits: fitted on half of its images, judged on others.

The halves are drawn by a hash of each source image's id, so that they are the same for every record, and an image is
on one side under all conditions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import plugins
from harness.evaluation.records.record import RunRecord
from harness.metrics.calibration import ece, nll
from harness.metrics.confidence import conformal
from harness.metrics.confidence.logits import brier, fit_temperature, softmax
from harness.metrics.intervals import Bools, Floats
from harness.report.names import label, spell, title
from harness.report.table import Table
from harness.types import HarnessError, Metric

NAMES = {"nll": "NLL (nats)", "ece": "ECE (%)", "brier": "Brier score"}
"""Metrics of the table of temperature scaling."""


@dataclass(frozen=True)
class Halves:
    """Rows of a record by (image, condition), and the images to fit on; the others are to judge on.

    condition: name of the mean, the pool or the only condition. ids: (n,). cells: (n, n_conditions) row numbers.
    """

    rows: dict[str, Any]
    condition: str
    cells: Any
    fitting: Bools

    @property
    def test(self) -> Any:
        """The cells to judge on."""
        return self.cells[~self.fitting]


def halves(entry: RunRecord) -> Halves:
    """The halves of a record. Raises HarnessError for one that kept no logits, or has fewer than two images a half."""
    if not entry.spec.keep_logits:
        raise HarnessError(f"{label(entry)} on {entry.suite} kept no logits: run it again with --keep-logits.")
    rows = entry.rows("logits")
    suite = plugins.suite.configure(entry.suite).plugin
    places = suite.places(rows)
    condition = suite.overall(places)
    cells = places[condition]
    fitting = keyed(rows["id"][cells[:, 0]], "half") < 0.5
    if min(fitting.sum(), (~fitting).sum()) < 2:
        raise HarnessError(
            f"{label(entry)}: {len(cells)} images are too few to fit on one half and judge on the other."
        )
    return Halves(rows, condition, cells, fitting)


def keyed(texts: Iterable[str], purpose: str) -> Floats:
    """Uniform numbers in [0, 1), one per text, the same on every machine."""
    digests = (hashlib.blake2b(f"{purpose}\0{text}".encode(), digest_size=8).digest() for text in texts)
    return np.array([(int.from_bytes(digest, "little") >> 11) / 2**53 for digest in digests])


def temperature_table(entry: RunRecord, split: Halves) -> Table:
    """Log-likelihood, calibration error and Brier score before and after temperature scaling."""
    logits, labels = split.rows["logits"], split.rows["label"]
    fitted = fit_temperature(logits[split.cells[split.fitting].ravel()], labels[split.cells[split.fitting].ravel()])
    columns = [_judged(split, temperature) for temperature in (1.0, fitted.value)]
    rows = [[NAMES[m.name], spell(m), spell(n)] for m, n in zip(*columns, strict=True)]
    caption = (
        f"{title(entry)}, {split.condition}. Temperature fitted by likelihood on {int(split.fitting.sum())} images"
    )
    caption += f", judged on the other {len(split.test)}."
    caption += " The best temperature lies beyond the limits of the search." if fitted.limited else ""
    both = zip((1.0, fitted.value), columns, strict=True)
    data = [{"temperature": temperature, **_numbers(m)} for temperature, column in both for m in column]
    header = ["metric", "as it is", f"at temperature {fitted.value:g}"]
    return Table(f"Temperature scaling of {label(entry)}", header, rows, caption, data=data)


def _judged(split: Halves, temperature: float) -> list[Metric]:
    scaled = split.rows["logits"][split.test].astype(np.float64) / temperature
    labels, probabilities = split.rows["label"][split.test], softmax(scaled)
    true = np.take_along_axis(probabilities, labels[..., None], axis=-1)[..., 0]
    correct = probabilities.argmax(axis=-1) == labels
    return [
        nll(true, split.condition),
        ece(correct, probabilities.max(axis=-1), split.condition),
        brier(scaled, labels, split.condition),
    ]


def conformal_table(entry: RunRecord, split: Halves) -> Table:
    """Coverage and mean size of conformal prediction sets, at `conformal.LEVEL`."""
    labels = split.rows["label"]
    names = np.char.add(np.char.add(split.rows["condition"].astype(str), "\0"), split.rows["id"].astype(str))
    uniform = keyed(names.tolist(), "aps")
    fitting, test = split.cells[split.fitting].ravel(), split.test
    probabilities = softmax(split.rows["logits"])
    rows, data = [], []
    for name in conformal.SCORES:
        calibration = probabilities[fitting], labels[fitting], uniform[fitting]
        judged = probabilities[test.ravel()], uniform[test.ravel()]
        members = conformal.sets(name, calibration, judged, int(split.fitting.sum()))
        metrics = conformal.judge(members.reshape(*test.shape, -1), labels[test], split.condition)
        rows.append([name, *map(spell, metrics)])
        data += [{"score": name, **_numbers(m)} for m in metrics]
    caption = f"{title(entry)}, {split.condition}. Sets for a coverage of {conformal.LEVEL:.0%}, from "
    caption += f"{int(split.fitting.sum())} images, judged on the other {len(test)}."
    return Table(f"Prediction sets of {label(entry)}", ["score", "coverage (%)", "mean size"], rows, caption, data=data)


def _numbers(metric: Metric) -> dict[str, Any]:
    low, high = metric.interval
    return {"metric": metric.name, "value": metric.value, "low": low, "high": high, "n": metric.n}
