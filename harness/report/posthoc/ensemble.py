"""Ensembles of records: the mean of the members' probabilities on the same images, as another record.

The record is named after its members, whose keys and weights it holds as the provenance of its weights. It can be
ranked, compared and scored again like any other; no command line evaluates it anew, and a note says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from harness import plugins
from harness.base.provenance import key_of
from harness.evaluation.records.journal import Journal
from harness.evaluation.records.keys import identity
from harness.evaluation.records.record import Cost, RunRecord, load
from harness.evaluation.records.rows import Rows
from harness.metrics.calibration import LEAST
from harness.metrics.confidence.logits import softmax
from harness.metrics.paired import holm
from harness.plugins.settings import bare
from harness.report import comparison
from harness.report.names import label, spell, title
from harness.report.table import Table
from harness.types import HarnessError, Weights

COLUMNS = {"id", "condition", "label", "prediction", "confidence", "probability", "logits"}
"""Columns of suites whose prediction is the likeliest class of the logits."""

MIXED = "mixed"
"""The method of an ensemble whose members have different ones."""


SOURCE = "ensemble"
"""Source of the weights of an ensemble; its members stand in their details."""


def method_of(methods: Sequence[str]) -> str:
    """The method of an ensemble of records under these methods."""
    return methods[0] if len(set(methods)) == 1 else MIXED


def digest(provenance: Sequence[Mapping[str, Any]]) -> str:
    """The hash that stands for an ensemble's weights. provenance: keys, weights, methods and tables of its members."""
    return hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()


def write(members: Sequence[RunRecord], out: Path) -> RunRecord:
    """Write the record of an ensemble below the folder `out`, and return it.

    Raises HarnessError for fewer than two members, for one that is there twice, kept no logits or is itself an
    ensemble, for members of different boards or images, and for suites with predictions of another kind.
    """
    members = sorted(members, key=lambda entry: (label(entry), entry.key))
    _check(members)
    rows = _averaged(members)
    bare_record = _without_metrics(members)
    spec = bare_record.spec
    journal = Journal(out, spec.suite, bare_record.model.name, bare_record.method, bare_record.key, "", [])
    journal.file.parent.mkdir(parents=True, exist_ok=True)
    metrics, notes = plugins.suite.configure(spec.suite).plugin.summarise(rows)

    journal.finish(
        rows,
        lambda samples: replace(
            bare_record, metrics=tuple(metrics), notes=(*bare_record.notes, *notes), samples=samples
        ),
    )
    return load(journal.file)


def table(ensemble: RunRecord, members: Sequence[RunRecord]) -> Table:
    """The ensemble beside each member: paired differences of accuracy on the same images."""
    name, condition = ensemble.columns[0]
    results = [comparison.compare(member, ensemble).mean for member in members]
    rows, data = [], []
    for member, result, p in zip(members, results, holm([result.p for result in results]), strict=True):
        low, high = result.interval
        numbers = {"member": label(member), "difference": result.difference, "low": low, "high": high, "p": p}
        data.append(numbers)
        cells = [label(member), spell(member.metric(name, condition)), comparison.spell_difference(numbers, 1)]
        rows.append([*cells, comparison.spell_p(p)])
    rows.append([label(ensemble), spell(ensemble.metric(name, condition)), "", ""])
    caption = f"{title(ensemble)}. Mean of the members' probabilities. Differences are the ensemble's accuracy minus "
    caption += "the member's, paired on the same images" + comparison.several(len(members))
    header = ["record", f"{name.replace('_', ' ')} (%)", "ensemble minus member (points)", "p"]
    return Table(f"Ensemble on {ensemble.suite}", header, rows, caption, data=data)


def _check(members: Sequence[RunRecord]) -> None:
    if len({entry.key for entry in members}) < max(2, len(members)):
        raise HarnessError("An ensemble needs two or more different records.")
    first = members[0]
    for entry in members:
        if entry.model.source == SOURCE:
            raise HarnessError(f"{label(entry)} is itself an ensemble. Give the records of its members instead.")
        if not entry.spec.keep_logits:
            raise HarnessError(f"{label(entry)} on {entry.suite} kept no logits: run it again with --keep-logits.")
        if entry.board != first.board:
            raise HarnessError(
                f"{label(first)} and {label(entry)} are of different leaderboards ({title(first)}; {title(entry)}). "
                "Give records of the same suite, data and images."
            )


def _averaged(members: Sequence[RunRecord]) -> Rows:
    """The sample table of the ensemble, in the order of the first member's."""
    first, *others = members
    rows = first.rows("logits")
    if odd := rows.keys() - COLUMNS:
        raise HarnessError(f"{first.suite} has no ensembles: its predictions depend on {sorted(odd)[0]!r}, too.")
    total = softmax(rows["logits"])
    for other in others:
        left, right = comparison.common_rows(first, other, "logits")
        if len(left["id"]) != len(rows["id"]) or left["logits"].shape != right["logits"].shape:
            raise HarnessError(f"{label(first)} and {label(other)} have other images or classes: run both on the same.")
        total += softmax(right["logits"])
    probabilities = (total / len(members)).astype(np.float32)
    prediction = probabilities.argmax(axis=1)
    keys = {name: rows[name] for name in ("id", "condition", "label")}
    places = np.arange(len(prediction))
    return {
        **keys,
        "prediction": prediction,
        "confidence": probabilities[places, prediction],
        "probability": probabilities[places, rows["label"]],
        "logits": np.log(np.maximum(probabilities, LEAST)).astype(np.float16),
    }


def _without_metrics(members: Sequence[RunRecord]) -> RunRecord:
    """The record but for metrics and sample table. Its time is the newest member's, so that its bytes are the same."""
    first = members[0]
    method = method_of([entry.method for entry in members])
    names = [bare(entry.model.name) + (f"@{entry.method}" if method == MIXED else "") for entry in members]
    denoised = next((entry for entry in members if entry.denoiser), first)
    provenance = [_provenance(entry) for entry in members]
    sha256 = digest(provenance)
    weights = Weights(f"ensemble({','.join(names)})", sha256, SOURCE, {"members": provenance})
    spec = replace(
        first.spec,
        models=(weights.name,),
        methods=(method,),
        denoiser=denoised.spec.denoiser,
        denoiser_dtype=denoised.spec.denoiser_dtype,
    )
    hashes = ("", ""), sha256, denoised.denoiser.sha256 if denoised.denoiser else ""
    deciding = identity(spec, first.suite_version, first.facts, *hashes)
    note = f"Mean of the probabilities of {', '.join(label(m) for m in members)}: harness ensemble makes it from these "
    return replace(
        first,
        model=weights,
        method=method,
        denoiser=denoised.denoiser,
        spec=spec,
        key=key_of({**deciding, "data": first.data_sha256}),
        metrics=(),
        notes=[note + "records, no run does."],
        cost=reduce(_plus, [entry.cost for entry in members]),
        created=max(entry.created for entry in members),
        plugins={kind: file for entry in members for kind, file in entry.plugins.items()},
        probe=None,
        path=None,
    )


def _provenance(entry: RunRecord) -> dict[str, Any]:
    samples, weights = entry.samples["sha256"], entry.model.sha256
    return {"key": entry.key, "model": entry.model.name, "method": entry.method, "sha256": weights, "samples": samples}


def _plus(a: Cost, b: Cost) -> Cost:
    """The cost of both, had each been run by itself."""
    return replace(
        a,
        seconds=round(a.seconds + b.seconds, 2),
        denoiser_calls=a.denoiser_calls + b.denoiser_calls,
        method_calls_per_image=a.method_calls_per_image + b.method_calls_per_image,
        at_most=a.at_most or b.at_most,
        tile_halvings=a.tile_halvings + b.tile_halvings,
        denoiser_gradients_per_image=_sum(a.denoiser_gradients_per_image, b.denoiser_gradients_per_image),
        classifier_calls_per_image=_sum(a.classifier_calls_per_image, b.classifier_calls_per_image),
        classifier_gradients_per_image=_sum(a.classifier_gradients_per_image, b.classifier_gradients_per_image),
    )


def _sum(a: int | None, b: int | None) -> int | None:
    """The sum of two counts; None where one was not counted."""
    return None if a is None or b is None else a + b
