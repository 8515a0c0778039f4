"""Adversarial images of a record, classified again and held against its threat model and its sample table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.api.rerun.origins import check_loaded
from harness.api.rerun.records import other_inputs, prepared, repeated
from harness.api.rerun.verdict import DIFFERS, IDENTICAL, ROUNDING, Verdict
from harness.base.errors import HarnessError
from harness.evaluation.job import Job
from harness.evaluation.kept import images as kept
from harness.evaluation.records.record import RunRecord
from harness.evaluation.records.rows import KEYS, Rows
from harness.evaluation.request import Request
from harness.evaluation.views.batch import BatchViews
from harness.models.published.locate import WeightFiles
from harness.types import BatchTask

BATCH = 100
"""Images that are classified at a time."""


def rescore(record: RunRecord, out: Path, weight_files: WeightFiles, *, data: str = "") -> Verdict:
    """Classify a record's adversarial images again, and check that the threat model allows every one.

    out: an empty folder. data: folder of the data, where it has moved.
    Raises HarnessError for a record without images, and for one whose classifier or data are not here.
    """
    assert record.path is not None
    if not record.images:
        raise HarnessError(f"{record.path}: its run kept no images. Run it again with --keep-images.")
    check_loaded(str(record.path), record.plugins)
    rows = record.rows("adversarial", "fallen", "distance", "loss")
    arrays = kept.read(record.path.with_name(record.images["file"]), record.images)
    if any(not np.array_equal(arrays[name], rows[name]) for name in KEYS):
        return Verdict(DIFFERS, [f"{record.images['file']} is of other samples, or of another order, than the table."])
    spec = repeated(record.spec, data, 1, 0)
    job = prepared(Request.of(spec), out, weight_files, skip_bad=True)
    if inputs := list(other_inputs(record, job)):
        return Verdict(DIFFERS, ["Nothing was classified, since other inputs give other numbers.", *inputs])
    if faults := list(_faults(job, rows, arrays[kept.COLUMN])):
        return Verdict(DIFFERS, faults)
    count = len(rows["id"])
    return Verdict(IDENTICAL, [f"{count:,} images lie in [0, 1] and within their eps, and are classified as recorded."])


def _faults(job: Job, rows: Rows, images: Any) -> Iterator[str]:
    """Sentences on images that the threat model forbids, or that are classified otherwise than the table says."""
    for condition in job.suite.conditions():
        cells = np.flatnonzero(rows["condition"] == condition.name)
        data = job.datasets[condition.name]
        places = {name: place for place, name in enumerate(data.ids)}
        found: dict[str, list[str]] = {}
        for start in range(0, len(cells), BATCH):
            some = cells[start : start + BATCH]
            batch = data.read([places[name] for name in rows["id"][some]])
            views = BatchViews(batch, job.denoiser, job.tiles, job.spec.seed)
            task = BatchTask(condition, views, batch.labels, job.pairs[:1], [None], ids=batch.ids)
            columns = {name: values[some] for name, values in rows.items()}
            suite: Any = job.suite
            for words, wrong in _checks(suite.rescored(task, torch.from_numpy(images[some])), columns).items():
                found.setdefault(words, []).extend(rows["id"][some][wrong].tolist())
        for words, names in found.items():
            if names:
                yield f"{condition.name}: {len(names)} of {len(cells)} images {words}, such as {names[0]!r}."


def _checks(again: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, Any]:
    """By what is wrong, (n,) bool. again: what the suite's `rescored` gives. rows: of the table."""
    checks = {
        "do not lie in [0, 1]": ~again["inside"],
        "lie beyond their eps": ~again["allowed"],
        "are classified otherwise than recorded": again["prediction"] != rows["adversarial"],
        "have another loss than recorded": ~np.isclose(again["loss"], rows["loss"], rtol=ROUNDING, atol=ROUNDING),
        "were classified otherwise without an attack than recorded": again["clean"] != rows["prediction"],
    }
    if "right" in rows:
        checks["have another number of right draws than recorded"] = again["right"] != rows["right"][:, -1]
    else:
        checks["are recorded as robust or as fallen against their class"] = (again["right"] == 1) != (
            rows["fallen"] == -1
        )
        # Of those that fell, the kept image is the one whose norm was noted.
        same = np.isclose(again["norm"], rows["distance"], rtol=1e-6, atol=0)
        checks["lie at another distance than recorded"] = (rows["fallen"] >= 0) & ~same
    return checks
