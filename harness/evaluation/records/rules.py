"""Rules that every record meets: ranges of its fields, and agreement between them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.validation import Rule, among, at_least, between, written
from harness.types import HarnessError

SHA256 = written("[0-9a-f]{64}", "a SHA-256 (64 hexadecimal digits)")
NAME = Rule("a name", bool)
DTYPE = among("float32", "bfloat16", "float16")

UNITS = {
    "fraction": (0.0, 1.0),
    "ratio": (0.0, float("inf")),
    "nats": (0.0, float("inf")),
    "l2": (0.0, float("inf")),
    "linf": (0.0, 1.0),
    "cosine": (-1.0, 1.0),
}
"""Least and largest value by unit; suites from plugin files may have others. Older intervals reach beyond."""

MOST_CLASSES = 100_000
"""Classes at most that a record may speak of: arrays of that size are made for it."""

LARGEST_SIDE = 4096
"""Pixels at most of a side of the images: an image of that size is made to count a method's network calls."""

ROUNDING = 1e-9
"""Tolerance of a value beyond its interval or range, relative to its size."""


def _is_time(text: str) -> bool:
    with suppress(ValueError):
        return bool(datetime.fromisoformat(text))
    return False


def _is_beside(name: str) -> bool:
    """True if a text names a sample table in the record's folder."""
    return name.endswith(".parquet") and Path(name).name == name and not set(name) & set("\\/\0")


FIELDS = {
    "RunRecord.status": among("complete", "partial"),
    "RunRecord.suite": NAME,
    "RunRecord.suite_version": at_least(0),
    "RunRecord.dataset": NAME,
    "RunRecord.method": NAME,
    "RunRecord.data_sha256": NAME,  # data sets from plugin files may have hashes of another form
    "RunRecord.key": written("[0-9a-f]{12}", "12 hexadecimal digits"),
    "RunRecord.columns": Rule("a list of one or more", bool),
    "RunRecord.conditions": at_least(0),
    "RunRecord.created": Rule("a time in ISO 8601", _is_time),
    "RunRecord.sha256": written("([0-9a-f]{64})?", SHA256.words),
    "Samples.file": Rule("the name of a Parquet file beside the record", _is_beside),
    "Samples.sha256": SHA256,
    "Samples.rows": at_least(1),
    "Weights.name": NAME,
    "Weights.sha256": SHA256,
    "RunSpec.models": Rule("a list of one", lambda names: len(names) == 1),
    "RunSpec.methods": Rule("a list of one", lambda names: len(names) == 1),
    "RunSpec.denoiser": Rule("a name or null", lambda name: name != ""),
    "RunSpec.dtype": DTYPE,
    "RunSpec.denoiser_dtype": DTYPE,
    "RunSpec.device": NAME,
    "Geometry.resize": between(1, LARGEST_SIDE),
    "Geometry.crop": between(1, LARGEST_SIDE),
    "Geometry.interpolation": NAME,
    "Metric.name": NAME,
    "Metric.condition": NAME,
    "Metric.n": at_least(1),
    "Cost.seconds": at_least(0),
    "Cost.images": at_least(1),
    "Cost.denoiser_calls": at_least(0),
    "Cost.method_calls_per_image": at_least(0),
    "Cost.pairs": at_least(1),
    "Cost.tile_halvings": at_least(0),
    "Cost.denoiser_gradients_per_image": at_least(0),
    "Cost.classifier_calls_per_image": at_least(0),
    "Cost.classifier_gradients_per_image": at_least(0),
}
"""By dataclass and field."""

COVERAGE = re.compile(r"([0-9]{1,12}) of ([0-9]{1,12}) images(?: \((.*)\))?")


def covered(coverage: str) -> tuple[int, int, str]:
    """Images covered, images there are, and which they are, of a text as "100 of 600 images (every 6th)"."""
    match = COVERAGE.fullmatch(coverage)
    if not match:
        raise ValueError(f"its coverage {coverage[:60]!r} has not the form '100 of 600 images (every 6th)'")
    return int(match[1]), int(match[2]), match[3] or ""


def renamed(record: Any) -> list[str]:
    """Sentences on suite, model or method of a record that differ from its specification."""
    spec = record.spec
    pairs = {
        "suite": (record.suite, spec.suite),
        "model": (record.model.name, *spec.models),
        "method": (record.method, *spec.methods),
    }
    return [
        f"it was run with the {kind} {specified!r}" for kind, (name, specified) in pairs.items() if name != specified
    ]


def sha256_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of a record's canonical JSON: ASCII, sorted, without blanks and without the field that holds the hash."""
    hashed = {name: value for name, value in values.items() if name != "sha256"}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def hash_faults(record: Any, values: Mapping[str, Any]) -> Iterator[str]:
    """A sentence where the SHA-256 is not that of the JSON, or is missing beside fields that are no older."""
    newer = {"classes", "plugins", "probe", "conditions"} & values.keys()
    if record.sha256 != (sha256_of(values) if record.sha256 or newer else ""):
        yield "its SHA-256 is missing" if not record.sha256 else "it was changed: its SHA-256 differs"


def contradictions(record: Any) -> Iterator[str]:
    """Sentences on fields of a `harness.evaluation.records.record.RunRecord` that contradict each other.

    A coverage in another form is a ValueError.
    """
    spec, rows = record.spec, record.samples["rows"]
    if (spec.denoiser is None) != (record.denoiser is None):
        yield "its spec names a denoiser and it has none, or the other way round"
    if record.cost.images != rows:
        yield f"its cost is of {record.cost.images} images, its sample table of {rows}"
    if len(set(record.classes)) < len(record.classes):
        yield "its classes have one name twice"
    yield from _metrics(record, rows)
    yield from _coverage(record, rows)


def _metrics(record: Any, rows: int) -> Iterator[str]:
    names = [(metric.name, metric.condition) for metric in record.metrics]
    if len(set(names)) < len(names):
        yield "it has a metric twice"
    for metric in record.metrics:
        where, (low, high) = f"{metric.name} of {metric.condition}", metric.interval
        slack = ROUNDING * max(1.0, abs(metric.value))
        if not low - slack <= metric.value <= high + slack:
            yield f"{where} is {metric.value:g}, outside of its interval [{low:g}, {high:g}]"
        least, most = UNITS.get(metric.unit, (low, high))
        if not least - slack <= metric.value <= most + slack:
            yield f"{where} is the {metric.unit} {metric.value:g}"
        if metric.n > rows:
            yield f"{where} is of {metric.n} images, its sample table has {rows} rows"


def _coverage(record: Any, rows: int) -> Iterator[str]:
    """A whole test set has no more images than were asked for, and a subset says how it was taken."""
    images, published, subset = covered(record.coverage)
    spec = record.spec
    expected = spec.stride if spec.every > 1 else "the first ones" if spec.limit else ""
    complete = record.status == "complete"
    if subset != ("" if complete else expected) or (complete and images != published):
        settings = f"status {record.status!r}, every {spec.every}, limit {spec.limit}"
        yield f"its coverage {record.coverage!r} does not fit {settings}"
    if not 1 <= images <= min(published, rows):
        yield f"its coverage is {record.coverage!r}, its sample table has {rows} rows"
    # Every condition gives at most as many source images as `every` and `limit` leave of all of them. Older records do
    # not say how many conditions they had: no more than their metrics name, in what the suites of that time gave.
    conditions = record.conditions or max(1, len({metric.condition for metric in record.metrics}))
    most = min(-(-published // spec.every), spec.limit or published)
    if images > most * conditions:
        taken = f"{images} of {published} images under {conditions} conditions"
        yield f"every {spec.every}, limit {spec.limit} gives no {taken}"


def sources(record: Any) -> tuple[str, str] | None:
    """Fingerprints of the plugin files of suite and method, "" for the project's; None if one is not loaded."""
    with suppress(HarnessError):
        suite = plugins.suite.of(record.spec.suite)
        build: Any = suite.build
        return suite.source, plugins.AXES[build.axis].of(*record.spec.methods).source
    return None
