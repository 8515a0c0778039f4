"""Verification: a record's numbers are those of its sample table, and both are what a run of its suite leaves.

One check is one function; the tables below list them, cheap ones first. A forgery that is consistent in itself, such as
predictions that no network gave, with metrics and hashes computed from them, shows only when the run is repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.exchange import record_checks, table_checks
from harness.exchange.inputs import DataAtHand, NotAtHand
from harness.exchange.subject import Examined, Unverifiable, opened
from harness.report.names import label
from harness.report.table import Table

OK, DIFFERS, UNCHECKED = OUTCOMES = "ok", "differs", "cannot be checked"

Check = Callable[[Examined], Iterator[str]]
"""From a record to sentences on what differs; raises Unverifiable or NotAtHand where it cannot be checked."""

RECORD_CHECKS: Sequence[tuple[str, Check]] = (
    ("sha256", record_checks.checksum),
    ("fields", record_checks.fields),
    ("names", record_checks.names),
    ("key", record_checks.key),
    ("file", record_checks.file_name),
    ("weights", record_checks.weights),
    ("suite", record_checks.suite),
    ("cost", record_checks.cost),
    ("data", record_checks.data),
    ("images", record_checks.images),
    ("created", record_checks.time),
)
"""By the field that they look at."""

TABLE_CHECKS: Sequence[tuple[str, Check]] = (
    ("sha256", table_checks.checksum),
    ("rows", table_checks.rows),
    ("columns", table_checks.columns),
    ("label", table_checks.labels),
    ("confidence", table_checks.probabilities),
    ("logits", table_checks.logits),
    ("condition", table_checks.conditions),
    ("id", table_checks.images),
    ("columns", table_checks.own_columns),
    ("metrics", table_checks.metrics),
)
"""By what they look at in the sample table, or compute from it."""


@dataclass(frozen=True)
class Difference:
    """A difference. file: name of the record or its table. field: see the tables of checks. words: a sentence."""

    file: str
    field: str
    words: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.words}"


@dataclass(frozen=True)
class Verification:
    """The result for one file.

    name: of the row, "digits/vit:de". outcome: `OK`, `DIFFERS` or `UNCHECKED`. reasons: why metrics were not computed
    again. remarks: what else was not looked at. subject: the record that was examined, None where it is none.
    """

    file: Path
    name: str
    outcome: str
    differences: Sequence[Difference] = ()
    reasons: Sequence[str] = ()
    remarks: Sequence[str] = ()
    subject: Examined | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON's values."""
        differences = [asdict(difference) for difference in self.differences]
        return {
            "file": str(self.file), "name": self.name, "outcome": self.outcome, "differences": differences,
            "reasons": list(self.reasons), "remarks": list(self.remarks),
        }  # fmt: skip


def verify(files: Iterable[Path], inputs: DataAtHand) -> Iterator[Verification]:
    """A verdict on each file. inputs: data at hand. Raises nothing, whatever the files hold."""
    for file in files:
        yield examine(file, inputs)


def examine(file: Path, inputs: DataAtHand) -> Verification:
    """The verdict on one file."""
    try:
        subject = opened(file, inputs)
    except Unverifiable as reason:
        return Verification(file, file.name, UNCHECKED, reasons=[str(reason)])
    except HarnessError as error:
        return Verification(file, file.name, DIFFERS, [Difference(file.name, "record", str(error))])
    findings = _Findings(subject)
    for name, check in RECORD_CHECKS:
        findings.run(file.name, name, check)
    for name, check in TABLE_CHECKS:
        findings.run(subject.table_file.name, name, check)
    subject.release()
    return findings.verdict()


class _Findings:
    """What the checks of one record found so far; a sentence that several give counts once."""

    def __init__(self, subject: Examined) -> None:
        self._subject = subject
        self._differences: dict[str, Difference] = {}
        self._reasons: dict[str, None] = {}
        self._remarks: dict[str, None] = {}

    def run(self, file: str, name: str, check: Check) -> None:
        """Add what one check finds."""
        try:
            for words in check(self._subject):
                self._differences.setdefault(words, Difference(file, name, words))
        except Unverifiable as reason:
            self._reasons[str(reason)] = None
        except NotAtHand as reason:
            self._remarks[f"{name} not checked: {reason}"] = None
        except (HarnessError, ValueError) as error:
            self._differences.setdefault(str(error), Difference(file, name, str(error)))
        except Exception as error:  # whatever a foreign table does to a suite's arithmetic
            words = f"it does not fit the suite ({type(error).__name__}: {str(error)[:200]})"
            self._differences.setdefault(words, Difference(file, name, words))

    def verdict(self) -> Verification:
        """The verdict after all checks."""
        outcome = DIFFERS if self._differences else UNCHECKED if self._reasons else OK
        findings = list(self._differences.values()), list(self._reasons), list(self._remarks)
        return Verification(self._subject.file, label(self._subject.record), outcome, *findings, self._subject)


def table(verdicts: Sequence[Verification]) -> Table:
    """Numbers of records by suite and result, and remarks on what was not looked at."""
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        suite = verdict.subject.record.suite if verdict.subject else "no record"
        counts.setdefault(suite, Counter())[verdict.outcome] += 1
    rows = [[suite, *(str(by_outcome[o]) for o in OUTCOMES)] for suite, by_outcome in sorted(counts.items())]
    remarks = Counter(remark for verdict in verdicts for remark in verdict.remarks)
    caption = " ".join(f"{count} records: {remark}." for remark, count in sorted(remarks.items()))
    return Table(f"{len(verdicts)} records checked", ["suite", OK, DIFFERS, "unchecked"], rows, caption)


def lines(verdict: Verification, shown: int) -> list[str]:
    """What is wrong with a record, a line each, after the line with its file. shown: differences at most."""
    sentences = [*map(str, verdict.differences), *verdict.reasons]
    more = [f"and {len(sentences) - shown} more"] if len(sentences) > shown else []
    return [f"{verdict.file} ({verdict.name}) {verdict.outcome}:", *(f"  {s}" for s in [*sentences[:shown], *more])]
