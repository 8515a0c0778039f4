"""Checks of a sample table: against its record, its suite, and the images and labels at hand."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.evaluation import suspicion
from harness.evaluation.records import rules, sample_table
from harness.evaluation.records.coverage import has_skipped
from harness.evaluation.records.rows import KEYS, Rows
from harness.evaluation.records.sample_table import SLACK
from harness.exchange.subject import Examined
from harness.metrics.confidence.logits import softmax
from harness.types import Metric

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Differences up to which a recomputed number counts as equal: the last bits depend on the processor."""

ROUNDED = 0.02
"""Relative difference of probabilities up to which logits, in float16 and with sums within `SLACK` of 1, fit them."""

NAMED = 3
"""Images that a sentence names."""


def checksum(subject: Examined) -> Iterator[str]:
    """The sample table is the file that the record names."""
    if hashlib.sha256(subject.content).hexdigest() != subject.record.samples["sha256"]:
        yield "its SHA-256 is not the one in its record: it was changed, or belongs to another record"


def rows(subject: Examined) -> Iterator[str]:
    """As many rows and images as the record counts, none twice, with classes and probabilities in range."""
    images, *_ = rules.covered(subject.record.coverage)
    yield from sample_table.key_faults(subject.table, subject.record.samples["rows"], images)
    yield from sample_table.value_faults(subject.rows, subject.record.num_classes)


def columns(subject: Examined) -> Iterator[str]:
    """The columns are those that the project's suites write; a suite of a plugin file may have others."""
    known = getattr(subject.suite, "row_columns", ())
    if not known or subject.record.plugins.get("suite"):
        return
    if foreign := [name for name in subject.table.column_names if name not in (*KEYS, "prediction", *known)]:
        yield f"its sample table has the columns {_some(foreign)}, which {subject.record.suite} does not write"


def conditions(subject: Examined) -> Iterator[str]:
    """The conditions are those of the suite, with no more images than there are, and with the same where it says so."""
    suite, record = subject.suite, subject.record
    counts = pd.Series(subject.rows["condition"]).value_counts().to_dict()
    known = {c.name: c for c in suite.conditions()}
    if unknown := sorted(counts.keys() - known.keys()):
        yield f"it has rows under {_some(unknown)}, which {record.suite} does not have"
    gaps = has_skipped(record.notes)
    if not gaps and (lacking := [name for name in known if name not in counts]):
        yield f"it has no rows under {_some(lacking)}"
    for name, condition in known.items():
        count = counts.get(name, 0)
        too_few = record.status == "complete" and count < condition.size
        if condition.size and (count > condition.size or too_few):
            yield f"it has {count} images under {name!r}, of which there are {condition.size}"
    if getattr(suite, "same_images", False) and not gaps:
        scored = [name for name, condition in known.items() if condition.scored and name in counts]
        yield from _same_images(subject.rows, scored)


def _same_images(table: Any, names: Sequence[str]) -> Iterator[str]:
    """Sentences on images that one of the conditions lacks."""
    by_condition = {name: set(table["id"][table["condition"] == name]) for name in names}
    everything = set().union(*by_condition.values())
    for name, images in by_condition.items():
        if lacking := sorted(everything - images):
            yield f"it lacks {_some(lacking)} under {name!r}"


def labels(subject: Examined) -> Iterator[str]:
    """An image has one label under all conditions."""
    pairs = pd.DataFrame({"id": subject.rows["id"], "label": subject.rows["label"]}).drop_duplicates()
    twice = sorted(pairs["id"][pairs["id"].duplicated()].unique())
    if twice:
        yield f"the label of {_some(twice)} changes with the condition"


def images(subject: Examined) -> Iterator[str]:
    """Ids and labels are those of the data set's planned images, where it is at hand."""
    record, table = subject.record, subject.rows
    _ = subject.suite
    plan = subject.inputs.plan(record)
    gaps = has_skipped(record.notes)
    for name, data in plan.datasets.items():
        classes = np.asarray(data.labels).tolist()
        expected = {data.ids[index]: classes[index] for index in plan.samples(len(data.ids))}
        places = {image: place for place, image in enumerate(expected)}
        here = table["condition"] == name
        order = [places[i] for i in table["id"][here].tolist() if i in places]
        if order != sorted(order):
            subject.shuffled = True
            yield f"its rows under {name!r} are in another order than a run writes them"
        stated = dict(zip(table["id"][here].tolist(), table["label"][here].tolist(), strict=True))
        if foreign := sorted(stated.keys() - expected.keys()):
            yield f"{_some(foreign)} under {name!r} are not among the {len(expected)} images that the run takes"
        if not gaps and (lacking := sorted(expected.keys() - stated.keys())):
            yield f"it lacks {_some(lacking)} under {name!r}"
        if other := sorted(i for i in stated.keys() & expected.keys() if stated[i] != expected[i]):
            yield f"{_some(other)} under {name!r} have other labels than in the data"


def probabilities(subject: Examined) -> Iterator[str]:
    """The predicted class has the largest probability: that of the true class is the same, or leaves room beside it."""
    table, classes = subject.rows, subject.record.num_classes
    if not {"prediction", "confidence"} <= table.keys():
        return
    confidence = np.asarray(table["confidence"], dtype=float)
    if classes and (low := confidence < 1 / classes - SLACK).any():
        yield f"the confidence of {_some(table['id'][low])} is below 1/{classes}: the largest of {classes} is not"
    if "probability" not in table:
        return
    true = np.asarray(table["probability"], dtype=float)
    right = table["prediction"] == table["label"]
    if (wrong := right & ~np.isclose(confidence, true, rtol=1e-5, atol=1e-6)).any():
        yield f"{_some(table['id'][wrong])} are predicted rightly with another confidence than the true class has"
    if (wrong := ~right & (true > confidence + 1e-6)).any():
        yield f"{_some(table['id'][wrong])} are predicted wrongly, with a true class that is more probable"
    if (wrong := ~right & (true + confidence > 1 + SLACK)).any():
        yield f"two classes of {_some(table['id'][wrong])} have more than probability 1 together"


def logits(subject: Examined) -> Iterator[str]:
    """Logits are there where the run kept them, and give the prediction, its confidence and the true class's share."""
    table, classes, kept = subject.rows, subject.record.num_classes, subject.record.spec.keep_logits
    if ("logits" in table) != kept:
        yield "it has logits, and its run kept none" if not kept else "it has no logits, and its run kept them"
    if "logits" not in table:
        return
    values = np.asarray(table["logits"])
    if not _are_logits(values, classes):
        yield f"its logits are of shape {values.shape[1:]} and type {values.dtype}; there are {classes} classes"
        return
    shares = softmax(values)
    for name, column in (("confidence", "prediction"), ("probability", "label")):
        if not {name, column} <= table.keys():
            continue
        indices = np.asarray(table[column])
        some = (indices >= 0) & (indices < values.shape[1])
        own = shares[np.arange(len(indices)), np.where(some, indices, 0)]
        if column == "prediction" and (wrong := some & (own < shares.max(axis=1) * (1 - ROUNDED))).any():
            yield f"{_some(table['id'][wrong])} have another prediction than their logits give"
        if (wrong := some & ~np.isclose(own, table[name], rtol=ROUNDED, atol=1e-4)).any():
            yield f"{_some(table['id'][wrong])} have another {name} than their logits give"


def _are_logits(values: Any, classes: int | None) -> bool:
    return values.dtype.kind == "f" and values.ndim == 2 and values.shape[1] == (classes or values.shape[1])


def own_columns(subject: Examined) -> Iterator[str]:
    """Columns that follow from others do: see `harness.suites.bases.suite.SuiteBase.row_faults`."""
    faults = getattr(subject.suite, "row_faults", None)
    yield from faults(subject.rows) if faults else ()


def metrics(subject: Examined) -> Iterator[str]:
    """Every metric is the one that the suite computes from the table, and there are no others."""
    again, notes = subject.suite.summarise(_summarised(subject))
    stated = {(metric.name, metric.condition): metric for metric in subject.record.metrics}
    computed = {(metric.name, metric.condition): metric for metric in again}
    for key, metric in computed.items():
        where = " of ".join(key)
        if key not in stated:
            yield f"the record lacks {where}, which is {metric.value:.6g} by the table"
        else:
            yield from differences(where, stated[key], metric, getattr(subject.suite, "precision", RELATIVE))
    for key in stated.keys() - computed.keys():
        yield f"the record has {' of '.join(key)}, which the suite does not compute from the table"
    yield from _missing_notes(subject, notes)


def _summarised(subject: Examined) -> Rows:
    """The rows in the order of a run, on which the draws of some intervals depend, without logits that are none.

    `images` and `logits` name such faults.
    """
    rows, classes = dict(subject.rows), subject.record.num_classes
    if "logits" in rows and not _are_logits(np.asarray(rows["logits"]), classes):
        del rows["logits"]
    if not subject.shuffled:
        return rows
    plan = subject.inputs.plan(subject.record)
    place = {
        (name, data.ids[index]): place
        for name, data in plan.datasets.items()
        for place, index in enumerate(plan.samples(len(data.ids)))
    }
    keys = zip(rows["condition"].tolist(), rows["id"].tolist(), strict=True)
    within = np.array([place.get(key, len(place)) for key in keys])
    blocks = pd.factorize(rows["condition"])[0]  # conditions one after another, as they come
    order = np.lexsort((within, blocks))
    return {name: values[order] for name, values in rows.items()}


def differences(where: str, stated: Metric, computed: Metric, relative: float = RELATIVE) -> Iterator[str]:
    """Sentences on where a stated metric is not the computed one, up to `relative` and `ABSOLUTE`."""
    pairs = {
        "": (stated.value, computed.value),
        "the lower end of the interval of ": (stated.interval[0], computed.interval[0]),
        "the upper end of the interval of ": (stated.interval[1], computed.interval[1]),
    }
    for what, (old, new) in pairs.items():
        if not math.isclose(old, new, rel_tol=relative, abs_tol=ABSOLUTE):
            yield f"{what}{where} is {old:.12g} in the record, {new:.12g} by the table"
    for name in ("n", "unit", "higher_is_better"):
        if getattr(stated, name) != getattr(computed, name):
            yield f"{name} of {where} is {getattr(stated, name)} in the record, {getattr(computed, name)} by the table"


def _missing_notes(subject: Examined, notes: Sequence[str]) -> Iterator[str]:
    """Sentences on notes that a run would have made of this table. Others may be about the run itself."""
    record, suite = subject.record, subject.suite
    expected = list(notes)
    if record.num_classes:
        expected += suspicion.of_rows(subject.rows, suite.conditions(), suite.dataset, record.num_classes)
    for note in expected:
        if note not in record.notes:
            yield f"the record lacks the note {note[:120]!r}"


def _some(names: Sequence[str]) -> str:
    """A few names: ``'a', 'b', 'c' and 4 more``."""
    different = list(dict.fromkeys(map(str, names)))
    more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
    return ", ".join(repr(name[:60]) for name in different[:NAMED]) + more
