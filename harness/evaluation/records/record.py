"""The record of a run: a JSON file, and a Parquet sample table beside it.

    results/local/digits-c/digits.vit--de--1f2e3d4c5b6a.json       the record: metrics, inputs, code
    results/local/digits-c/digits.vit--de--1f2e3d4c5b6a.parquet    one row per sample and condition

The hash in the names identifies everything that decides a number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict

from harness import plugins
from harness.base.files import read_limited, writing
from harness.base.parsing import parse_json
from harness.base.provenance import key_of
from harness.base.validation import Reader, shown
from harness.evaluation.records import rules
from harness.evaluation.records.keys import SCHEMA, benchmark, identity
from harness.evaluation.records.rules import sha256_of
from harness.types import Geometry, HarnessError, Metric, RunSpec, Weights

LARGEST = 2**24
"""Bytes that a record's file may have: a hundred times those of ImageNet; JSON takes 30 times as much in memory."""

READER = Reader(rules.FIELDS)
"""Reads records, and refuses fields that a newer version may have written."""


class Samples(TypedDict):
    """A record's reference to its sample table: the file beside it, its SHA-256, its number of rows."""

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Cost:
    """Cost of a run: beside `created` the only part of a record that may differ between two runs of the same spec.

    seconds: wall time of the batches, summed over shards; shared by all `pairs` evaluated together. Pairs under
        guides share no images: their seconds are those of the pair alone, and `pairs` is 1, but in older records.
    images: test images evaluated, one per sample and condition.
    denoiser_calls: images that went through the denoiser while these rows were made, shared by all `pairs`.
    method_calls_per_image: denoiser calls that the method asks for on its own.
    at_most: that is an upper limit, of a suite that stops earlier where it can.
    pairs: how many classifier-method pairs shared the seconds and the calls.
    tile_halvings: how often memory forced a smaller tile; not zero means rows agree with other runs to rounding only.
    denoiser_gradients_per_image, classifier_calls_per_image, classifier_gradients_per_image: the same of the denoiser's
        backward passes, and of the classifier's calls and backward passes; None in records that are older.
    """

    seconds: float = 0.0
    images: int = 0
    denoiser_calls: int = 0
    method_calls_per_image: int = 0
    at_most: bool = False
    pairs: int = 1
    tile_halvings: int = 0
    denoiser_gradients_per_image: int | None = None
    classifier_calls_per_image: int | None = None
    classifier_gradients_per_image: int | None = None


@dataclass(frozen=True, repr=False)
class RunRecord:
    """One classifier under one method on one suite.

    status: "complete" for the whole test set, "partial" for a subset; subsets are never ranked beside whole sets.
    coverage: in words, "600 of 600 images" or "100 of 600 images (every 6th)".
    suite, suite_version, dataset: the benchmark. facts: other properties that decide the suite's numbers.
    model, denoiser: names, hashes and origins of the weights.
    data_sha256: hash of the clean test images, labels and ids.
    key: hash of everything that decides a number; the same key means the same rows.
    columns: (metric, condition) pairs that a leaderboard shows; the first one ranks.
    samples: name and SHA-256 of the sample table beside this file, and its number of rows.
    notes: what could not be computed, and why.
    environment: versions and hardware.
    classes: names of the data's classes, in the order of the labels; none where they have no names.
    plugins: files from outside of the package, "FILE SHA256" by kind of plugin: suite, method, ...
    probe: what the networks and the method gave for fixed images before the run; None in older records.
    conditions: number of conditions of the suite; 0 in older records.
    aside: why it ranks among its own kind alone, such as "attack pgd"; empty for the rows that its board is for.
    images: "file" and "sha256" of the adversarial images beside this file; empty where the run kept none.
    sha256: of the record's canonical JSON without this field; empty in records of versions that wrote none.
    """

    status: str
    coverage: str
    suite: str
    suite_version: int
    dataset: str
    facts: Mapping[str, str]
    model: Weights
    method: str
    denoiser: Weights | None
    spec: RunSpec
    data_sha256: str
    geometry: Geometry
    key: str
    columns: Sequence[tuple[str, str]]
    metrics: Sequence[Metric]
    notes: Sequence[str]
    samples: Samples
    environment: Mapping[str, Any]
    cost: Cost
    created: str
    schema: int = SCHEMA
    classes: Sequence[str] = ()
    plugins: Mapping[str, str] = field(default_factory=dict)
    probe: Mapping[str, Any] | None = None
    conditions: int = 0
    aside: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    path: Path | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        """In one line; the metrics are in `frame`."""
        return f"<RunRecord {self.suite}: {self.model.name}:{self.method}, {self.coverage}, {self.status}>"

    @property
    def board(self) -> tuple[str, ...]:
        """Records with the same board may be ranked together: same suite, data, samples and randomness."""
        spec = self.spec
        facts = ",".join(f"{k}={v}" for k, v in sorted(self.facts.items()))
        data = (self.data_sha256, self.coverage, str(spec.seed), self.status)
        return (benchmark(self.suite), str(self.suite_version), facts, *data, *([self.aside] if self.aside else []))

    @property
    def variant(self) -> str:
        """The method as tables name it: with its arithmetic, classifier's/denoiser's, where that is not all float32."""
        types = dict.fromkeys([self.spec.dtype, *([self.spec.denoiser_dtype] if self.spec.denoiser else [])])
        settings = [] if list(types) == ["float32"] else ["/".join(types)]
        settings += ["compiled"] if self.spec.compile else []
        return f"{self.method} ({', '.join(settings)})" if settings else self.method

    def metric(self, name: str, condition: str | None = None) -> Metric | None:
        """The metric of that name, for one condition or the first there is."""
        return next((m for m in self.metrics if m.name == name and condition in (None, m.condition)), None)

    @property
    def num_classes(self) -> int | None:
        """Number of classes, if the data or the classifier's file names it; otherwise None."""
        arguments = self.model.details.get("arguments")
        count = len(self.classes) or (arguments.get("num_classes") if isinstance(arguments, Mapping) else None)
        return count if type(count) is int and 1 <= count <= rules.MOST_CLASSES else None

    @property
    def doubts(self) -> list[str]:
        """Reasons to trust a record without a hash less than others, in words; empty for a record with one."""
        return [] if self.sha256 else ["it has no checksum", *rules.renamed(self)]

    def rows(self, *needed: str) -> dict[str, Any]:
        """The sample table, with these columns at least, checked against the record: see `sample_table.read`."""
        from harness.evaluation.records import sample_table  # pyarrow, which leaderboards do without

        assert self.path is not None
        images, *_ = rules.covered(self.coverage)
        file = self.path.with_name(self.samples["file"])
        return sample_table.read(file, self.samples["sha256"], self.samples["rows"], images, self.num_classes, needed)

    def frame(self) -> Any:
        """The metrics as a pandas frame, one row each, unrounded."""
        from harness.evaluation.records import frames

        return frames.of_metrics(self)

    def table(self) -> Any:
        """The sample table as a pandas frame, one row per sample and condition; see `rows` for what is checked."""
        from harness.evaluation.records import frames

        return frames.of_rows(self.rows())


def serialised(record: RunRecord) -> dict[str, Any]:
    """A record as JSON's values, with its SHA-256; raises ValueError or TypeError for one that `load` would refuse."""
    values = asdict(record)
    del values["path"]
    values = json.loads(json.dumps(values, allow_nan=False))
    values["sha256"] = sha256_of(values)
    _checked(values)
    return values


def save(record: RunRecord, file: Path) -> None:
    """Write a record's JSON with its SHA-256; raises HarnessError for one that `load` would refuse."""
    try:
        values = serialised(record)
    except (ValueError, TypeError) as error:
        raise HarnessError(
            f"{file}: what suite {record.suite!r} gave makes no record ({error}). Correct its metrics and facts, and "
            "run the same command again; everything finished so far is kept."
        ) from error
    with writing(file) as partial:
        partial.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def load(file: Path) -> RunRecord:
    """Read a record, every field checked; raises HarnessError for a file that is not one, or of another schema.

    Records of versions that wrote no hash are accepted, with `RunRecord.doubts`: all but the hash is checked. Those
    with fields that are no older than the hash must have one.
    """
    try:
        values = parse_json(read_limited(file, LARGEST))
        if isinstance(values, dict) and values.get("schema", SCHEMA) != SCHEMA:
            raise HarnessError(f"{file} has record schema {shown(values['schema'])}; this version reads {SCHEMA}.")
        return replace(_checked(values), path=file)
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}.") from error
    except ValueError as error:
        raise HarnessError(f"{file} is not a run record ({error}). Restore it, or delete it and run again.") from error


def parsed(values: Any) -> RunRecord:
    """The record that JSON's values are, each field of its type and range; ValueError where they are none."""
    record: RunRecord = READER(RunRecord, values)
    return record


def _checked(values: Any) -> RunRecord:
    """The record that JSON's values are; ValueError where they are none, or not as they were written."""
    record = parsed(values)
    for fault in chain(rules.hash_faults(record, values), rules.contradictions(record)):
        raise ValueError(fault)
    for difference in rules.renamed(record) if record.sha256 else ():
        raise ValueError(difference)
    _check_key(record)
    return record


def has_its_key(record: RunRecord) -> bool:
    """True where a record's key is that of its fields, or code of a plugin file entered it, which may have changed."""
    denoiser = record.denoiser.sha256 if record.denoiser else ""
    deciding = identity(record.spec, record.suite_version, record.facts, ("", ""), record.model.sha256, denoiser)
    return bool(record.plugins) or record.key == key_of({**deciding, "data": record.data_sha256})


def _check_key(record: RunRecord) -> None:
    """Raise ValueError where the key is not that of the record's fields; older records name no plugin files."""
    if has_its_key(record):
        return
    # Only now, since importing every plugin takes seconds: whose code are suite and method?
    plugins.discover()
    if rules.sources(record) == ("", ""):
        raise ValueError(f"its key {record.key} is that of other settings, weights or data")
