"""Push: verified records to a store, with a README that lets ``datasets`` load the sample tables and the metrics."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from harness.base.parsing import parse_json
from harness.evaluation.records import record as records
from harness.evaluation.records.journal import record_file
from harness.exchange.merge import CONFLICT, COPIED, IDENTICAL, REFUSED, Merged, same_results, serialised
from harness.exchange.stores import Store
from harness.exchange.subject import Examined
from harness.exchange.verify import OK, Verification
from harness.report.names import label

MARK = "<!-- written by harness results push -->"
"""Line of a README that may be replaced."""

README = """
# Robustness of image classifiers: records and sample tables

One JSON file is one classifier under one method on one suite; the Parquet file beside it has a row per image and
condition. Sample tables of different age may have different columns.

```python
from datasets import load_dataset

metrics = load_dataset("ORG/NAME", "metrics")
samples = load_dataset("ORG/NAME", "{suite}")
```

`harness results pull hf://datasets/ORG/NAME` verifies the records and adds them to a results folder.
"""


def push(verdicts: Iterable[Verification], store: Store, dry_run: bool = False) -> list[Merged]:
    """Put the records that are ok into a store, each table before its record, and last the README.

    Records of the same key there are never replaced: the same ones are passed over, others are conflicts.
    """
    there = set(store.names())
    outcomes: list[Merged] = []
    files: dict[str, bytes | Path] = {}
    for verdict in verdicts:
        outcome = _pushed(verdict, store, there)
        outcomes.append(outcome)
        if outcome.outcome == COPIED and verdict.subject:
            files |= _files(verdict.subject)
    if files and not dry_run:
        old = store.readme()
        if not old or MARK in old:
            suites = sorted({name.partition("/")[0] for name in (*there, *files) if not name.startswith("metrics/")})
            files["README.md"] = readme(suites).encode()
        store.write(files)
    return outcomes


def _pushed(verdict: Verification, store: Store, there: set[str]) -> Merged:
    if verdict.outcome != OK or verdict.subject is None:
        return Merged(verdict.file, verdict.name, REFUSED, str([*verdict.differences, *verdict.reasons][0]))
    record = verdict.subject.record
    name, place = label(record), _place(verdict.subject)
    if place not in there:
        return Merged(verdict.file, name, COPIED)
    try:
        theirs = records.parsed(parse_json(store.read(place)))
    except ValueError as error:
        return Merged(verdict.file, name, CONFLICT, f"{store.address}/{place} is not a run record ({error})")
    if same_results(record, theirs):
        return Merged(verdict.file, name, IDENTICAL)
    return Merged(verdict.file, name, CONFLICT, f"{store.address}/{place} has the same key and other results")


def _place(subject: Examined) -> str:
    record = subject.record
    return record_file(record.suite, record.model.name, record.method, record.key).as_posix()


def _files(subject: Examined) -> dict[str, bytes | Path]:
    """A record's files by their places in a store, the record last."""
    place = PurePosixPath(_place(subject))
    table = io.BytesIO()
    subject.record.frame().to_parquet(table, index=False)
    return {
        str(place.with_suffix(".parquet")): subject.table_file,
        f"metrics/{place.with_suffix('.parquet')}": table.getvalue(),
        str(place): serialised(subject).encode(),
    }


def readme(suites: Sequence[str]) -> str:
    """The README of a data set of records: YAML that names its tables, and how to use them. suites: folders."""
    configs = [("metrics", "metrics/*/*.parquet"), *((suite, f"{suite}/*.parquet") for suite in suites)]
    lines = ["---", "configs:"]
    for name, pattern in configs:
        # JSON texts are YAML texts: names from records need no quoting of their own.
        lines += [f"- config_name: {json.dumps(name)}", f"  data_files: {json.dumps(pattern)}"]
        lines += ["  default: true"] if name == "metrics" else []
    return "\n".join([*lines, "---", MARK, README.format(suite=suites[0] if suites else "SUITE")])
