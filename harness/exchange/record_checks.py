"""Checks of a record's JSON: against itself, its file, its suite, and the weights and data at hand."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

from harness.evaluation.records import record as records
from harness.evaluation.records import rules
from harness.evaluation.records.journal import record_file
from harness.exchange.inputs import NotAtHand
from harness.exchange.subject import Examined
from harness.models.lookup import bundled
from harness.models.matching import data_classes


def checksum(subject: Examined) -> Iterator[str]:
    """The record's SHA-256 is that of its JSON; without one the rest is checked all the same."""
    yield from rules.hash_faults(subject.record, subject.values)
    if not subject.record.sha256:
        raise NotAtHand("it has no checksum, as records of older versions")


def fields(subject: Examined) -> Iterator[str]:
    """No two fields contradict each other: ranges, intervals, counts, coverage."""
    yield from rules.contradictions(subject.record)


def names(subject: Examined) -> Iterator[str]:
    """Suite, model and method are those of the specification."""
    yield from rules.renamed(subject.record)


def key(subject: Examined) -> Iterator[str]:
    """The key is the hash of the settings, weights and data that the record names."""
    record = subject.record
    if not records.has_its_key(record) and rules.sources(record) == ("", ""):
        yield f"its key {record.key} is that of other settings, weights or data"


def file_name(subject: Examined) -> Iterator[str]:
    """Record and sample table are called after suite, model, method and key."""
    record = subject.record
    expected = record_file(record.suite, record.model.name, record.method, record.key)
    if subject.file.name != expected.name:
        yield f"it is the record of {expected.name}"
    if record.samples["file"] != expected.with_suffix(".parquet").name:
        yield f"its sample table is called {record.samples['file']}, not {expected.with_suffix('.parquet').name}"


def suite(subject: Examined) -> Iterator[str]:
    """Data set, columns, number of conditions and facts are those of the suite."""
    record, suite = subject.record, subject.suite
    conditions = len(suite.conditions())
    expected: dict[str, tuple[Any, Any]] = {
        "dataset": (record.dataset, suite.dataset),
        "columns": (tuple(map(tuple, record.columns)), tuple(map(tuple, suite.shown))),
        "conditions": (record.conditions or conditions, conditions),
    }
    for name, (stated, own) in expected.items():
        if stated != own:
            yield f"its {name} are {stated!r}; those of {record.suite} are {own!r}"
    facts = subject.inputs.facts(record)
    if dict(record.facts) != facts:
        yield f"its facts are {dict(record.facts)!r}; those of {record.suite} are {facts!r}"


def weights(subject: Examined) -> Iterator[str]:
    """Weights under the name of a bundled checkpoint are that checkpoint."""
    record = subject.record
    for kind, stated in (("model", record.model), ("denoiser", record.denoiser)):
        stem = stated.name.replace("/", "-") if stated else ""
        if stated and (resources.files("harness.registry.checkpoints") / f"{stem}.json").is_file():
            sha256 = bundled(stem)[1]
            if stated.sha256 != sha256:
                yield f"its {kind} {stated.name!r} has SHA-256 {stated.sha256[:12]}, the bundled one {sha256[:12]}"


def data(subject: Examined) -> Iterator[str]:
    """Hash, classes, geometry, status and number of images are those of the data set, where it is at hand."""
    record = subject.record
    _ = subject.suite
    plan = subject.inputs.plan(record)
    if record.data_sha256 != plan.data_sha256:
        yield f"its data have SHA-256 {record.data_sha256[:12]}, those here {plan.data_sha256[:12]}"
    classes = data_classes(plan.data)
    if record.classes and tuple(record.classes) != classes:
        yield f"its classes are {', '.join(record.classes)[:80]}; those of the data are {', '.join(classes)[:80]}"
    if record.geometry != plan.data.geometry:
        yield f"its geometry is {record.geometry}, that of the data {plan.data.geometry}"
    if rules.covered(record.coverage)[1] != plan.image_count:
        yield f"its coverage is {record.coverage!r}, and there are {plan.image_count} images"
    if record.status == "complete" != plan.status(record.samples["rows"]):
        yield f"its status is {record.status!r}; its {record.samples['rows']} rows are not all {plan.rows}"


def cost(subject: Examined) -> Iterator[str]:
    """Denoiser calls per image, which leaderboards show, are those of the method."""
    stated = subject.record.cost
    _ = subject.suite
    calls = subject.inputs.calls(subject.record)
    if (stated.method_calls_per_image, stated.at_most) != (calls.denoiser, calls.at_most):
        most = "at most " if stated.at_most else ""
        yield (
            f"its method makes {most}{stated.method_calls_per_image} denoiser calls per image by the record, "
            f"{'at most ' if calls.at_most else ''}{calls.denoiser} by its settings"
        )


def plugin_files(subject: Examined) -> Iterator[str]:
    """Code from outside of the project is named, and cannot be looked at here."""
    for kind, text in sorted(subject.record.plugins.items()):
        if kind != "suite":
            raise NotAtHand(f"its {kind} is code of {text.rpartition(' ')[0]}, which is not looked at")
    yield from ()
