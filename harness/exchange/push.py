"""Push: verified records to a store, with a README that lets ``datasets`` load the sample tables and the metrics."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from harness.base.parsing import parse_json
from harness.evaluation.records import record as records
from harness.evaluation.records import sample_table
from harness.evaluation.records.journal import record_file
from harness.exchange.merge import CONFLICT, COPIED, REFUSED, Merged, against, serialised
from harness.exchange.stores import Store
from harness.exchange.subject import Examined
from harness.exchange.verify import OK, Verification
from harness.report.names import label

MARK = "<!-- written by harness results push -->"
"""Line of a README that may be replaced."""

README = """
# Robustness of image classifiers: records and sample tables

One JSON file is one classifier under one method on one suite; the Parquet file beside it has a row per image and
condition. A configuration has the tables of one suite with the same columns:

{columns}

```python
from datasets import load_dataset

metrics = load_dataset("ORG/NAME", "metrics")
samples = load_dataset("ORG/NAME", "{suite}")
```

`harness results pull hf://datasets/ORG/NAME` verifies the records and adds them to a results folder.
"""


def push(verdicts: Iterable[Verification], store: Store, dry_run: bool = False) -> list[Merged]:
    """Put the records that are ok into a store, each table before its record, and last the README.

    Records of the same key there, or earlier in this push, are never replaced: the same ones are passed over, others
    are conflicts.
    """
    there: dict[str, Examined | None] = dict.fromkeys(store.names())
    outcomes: list[Merged] = []
    files: dict[str, bytes | Path] = {}
    for verdict in verdicts:
        outcome = _pushed(verdict, store, there)
        outcomes.append(outcome)
        if outcome.outcome == COPIED and verdict.subject:
            own = _files(verdict.subject)
            files |= own
            there |= dict.fromkeys(own, verdict.subject)
    if files and not dry_run:
        old = store.readme()
        if not old or MARK in old:
            tables = [name for name in sorted(there) if name.endswith(".parquet") and not name.startswith("metrics/")]
            files["README.md"] = readme(configs(tables, lambda name: columns(name, store, files), old)).encode()
        store.write(files)
    return outcomes


def _pushed(verdict: Verification, store: Store, there: Mapping[str, Examined | None]) -> Merged:
    """The outcome for one record. there: places that are taken, with the record of this push that takes them."""
    if verdict.outcome != OK or verdict.subject is None:
        return Merged(verdict.file, verdict.name, REFUSED, str([*verdict.differences, *verdict.reasons][0]))
    subject = verdict.subject
    name, place = label(subject.record), _place(subject)
    table = str(PurePosixPath(place).with_suffix(".parquet"))
    if earlier := there.get(place):
        outcome = against(subject, earlier.record, lambda: sample_table.content(earlier.table_file), str(earlier.file))
        return Merged(verdict.file, name, *outcome)
    if place in there:
        address = f"{store.address}/{place}"
        try:
            theirs = records.parsed(parse_json(store.read(place)))
        except ValueError as error:
            return Merged(verdict.file, name, CONFLICT, f"{address} is not a run record ({error})")
        return Merged(verdict.file, name, *against(subject, theirs, lambda: store.read(table), address))
    if table in there and hashlib.sha256(store.read(table)).hexdigest() != subject.record.samples["sha256"]:
        reason = f"{store.address}/{table} is another table, without a record. Remove it first."
        return Merged(verdict.file, name, CONFLICT, reason)
    return Merged(verdict.file, name, COPIED)


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


@dataclass
class Config:
    """Sample tables of one suite that ``datasets`` loads as one. columns: their names and types. files: places."""

    name: str
    columns: str
    files: list[str]

    @property
    def suite(self) -> str:
        """Folder of the suite."""
        return self.files[0].partition("/")[0]


def columns(table: str, store: Store, files: Mapping[str, bytes | Path]) -> str:
    """Names and types of a sample table's columns, of this push or in the store; empty for a damaged file."""
    try:
        if isinstance(new := files.get(table), Path):
            schema = pq.read_schema(new)
        else:
            with store.system.open(f"{store.root}/{table}", "rb") as file:  # only its end is read
                schema = pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError):
        return ""
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def configs(tables: Sequence[str], columns_of: Callable[[str], str], old: str) -> list[Config]:
    """Sample tables by suite and columns; names stay those of the README that is there, new ones are numbered."""
    result = [Config(name, columns_of(files[0]), files) for name, files in _listed(old, set(tables))]
    listed = {file for config in result for file in config.files}
    for table in tables:
        suite = table.partition("/")[0]
        if table in listed or not (own := columns_of(table)):
            continue
        alike = [config for config in result if (config.suite, config.columns) == (suite, own)]
        if alike:
            alike[0].files.append(table)
            continue
        names = {config.name for config in result}
        numbered = (f"{suite}-{number}" if number > 1 else suite for number in range(1, len(names) + 2))
        result.append(Config(next(name for name in numbered if name not in names), own, [table]))
    return sorted(result, key=lambda config: config.name)


def _listed(readme: str, tables: set[str]) -> Iterator[tuple[str, list[str]]]:
    """The configurations of a README that list tables which are there, each table once."""
    from huggingface_hub import DatasetCard

    if not readme:
        return
    try:
        stated = DatasetCard(readme, ignore_metadata_errors=True).data.get("configs")
    except Exception:  # somebody edited it: it is written anew
        return
    for config in stated if isinstance(stated, list) else ():
        name, files = (config.get(key) for key in ("config_name", "data_files")) if isinstance(config, dict) else (0, 0)
        own = [file for file in files if isinstance(file, str) and file in tables] if isinstance(files, list) else []
        if own and isinstance(name, str):
            tables = tables - set(own)
            yield name, own


def readme(groups: Sequence[Config]) -> str:
    """The README of a data set of records: YAML that names its tables, and how to use them."""
    # JSON texts are YAML texts: names from records need no more quoting.
    lines = ["---", "configs:", '- config_name: "metrics"', '  data_files: "metrics/*/*.parquet"', "  default: true"]
    for config in groups:
        lines += [f"- config_name: {json.dumps(config.name)}", "  data_files:"]
        lines += [f"  - {json.dumps(file)}" for file in sorted(config.files)]
    named = "\n".join(f"- `{config.name}`: {config.columns}" for config in groups)
    suite = groups[0].name if groups else "SUITE"
    return "\n".join([*lines, "---", MARK, README.format(suite=suite, columns=named)])
