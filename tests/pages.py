"""Records for the pages of the tests: a few shipped ones, and some whose every text is hostile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from helpers import ROOT

from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report.page.build import page

RESULTS = ROOT / "results"

MARKUP = (
    "<script>window.hit=1;alert(1)</script>",
    '"><img src=x onerror="window.hit=1">',
    "</style></title></svg><svg onload=window.hit=1>",
    "'--></table><iframe src=https://example.org></iframe>",
    "{{ 7 * 7 }}{% raw %}&lt;b&gt;",
    "javascript:window.hit=1",
    "a\u202eb\x00c\u2028",
    "\ud800lone",
)
"""Texts that do harm, or look like others, where they are not shown as text."""


def of(folder: str, *names: str) -> list[RunRecord]:
    """Shipped records of a suite whose files begin with these names."""
    files = sorted((RESULTS / folder).glob("*.json"))
    return [record.load(file) for file in files if any(file.name.startswith(f"{name}--") for name in names)]


def few() -> list[RunRecord]:
    """Eight rows of digits-c, two of certify, three of OOD detection."""
    models = ("digits.resnet--default", "digits.resnet--de", "digits.vit--default", "digits.vit--de")
    diffaug = ("digits.resnet+diffaug--default", "digits.resnet+diffaug--de", "digits.vit+diffaug--default")
    return [
        *of("digits-c", *models, *diffaug, "digits.resnet+augmix--default"),
        *of("certify", "digits.resnet--denoise", "digits.vit--denoise"),
        *of("openood-digits", "digits.resnet--msp", "digits.resnet--energy", "digits.vit--msp"),
    ]


def hostile(entry: RunRecord, text: str) -> RunRecord:
    """A record with this text wherever a record has text of its own, as no check of files would let it pass."""
    details: dict[str, Any] = {"architecture": text, text: text}
    metrics = [
        metric
        if (metric.name, metric.condition) in entry.columns
        else replace(metric, condition=text + metric.condition)
        for metric in entry.metrics
    ]
    return replace(
        entry,
        model=replace(entry.model, name=text, source=text, details=details),
        method=text,
        suite=f"{entry.suite}:{text}",
        dataset=text,
        facts={**entry.facts, text: text},
        notes=[*entry.notes, text],
        environment={text: text},
        metrics=metrics,
        created=text,
        classes=[text],
    )


def hostile_page(entries: Sequence[RunRecord]) -> str:
    """The page of hostile records, one of each text for every record."""
    return page([hostile(entry, text) for entry in entries for text in MARKUP], RESULTS)
