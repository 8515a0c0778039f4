"""Checks of a record's JSON: against itself, its file, its suite, and the weights and data at hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.provenance import key_of
from harness.base.validation import shown
from harness.evaluation.job import OUTSIDE
from harness.evaluation.kept import images as kept
from harness.evaluation.records import record as records
from harness.evaluation.records import rules
from harness.evaluation.records.journal import record_file
from harness.evaluation.records.keys import identity
from harness.exchange.inputs import NotAtHand
from harness.exchange.subject import Examined, Unverifiable
from harness.models.checkpoint import read_checkpoint
from harness.models.lookup import bundled
from harness.models.matching import data_classes
from harness.types import Weights

KINDS = (
    plugins.suite, plugins.method, plugins.smoother, plugins.detector, plugins.attack, plugins.model, plugins.denoiser,
    plugins.dataset, plugins.corruption, plugins.architecture,
)  # fmt: skip
"""Plugins that rows may depend on."""

PLUGIN = re.compile(r"([^\n]+) ([0-9a-f]{64}|\1)")
"""A file and its hash, or twice a package with its version."""


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
    """The key is the hash of the settings, weights, code and data that the record names.

    Raises Unverifiable where a plugin file that entered it is not here.
    """
    record = subject.record
    wrong = f"its key {record.key} is that of other settings, weights or data"
    if not record.plugins:
        if not records.has_its_key(record) and rules.sources(record) == ("", ""):
            yield wrong
        return
    code: dict[str, str] = {}
    here = {kind.kind: {entry.source for entry in kind.entries()} for kind in KINDS}
    for kind, text in sorted(record.plugins.items()):
        first = next((name for name in here if kind == name or kind.startswith(f"{name} ")), None)
        origin = PLUGIN.fullmatch(text)
        if first is None or not origin:
            yield f"its plugins name {text[:80]!r} as a {kind[:40]!r}, which no run writes"
            return
        code[kind] = origin[2]
        if origin[2] not in here[first]:
            file = origin[1]
            raise Unverifiable(
                f"its {kind} is code of {file}, without which its key cannot be checked: --plugin {file}"
            )
    sources = rules.sources(record)
    if sources is None:
        raise Unverifiable("its suite or method is not here, without which its key cannot be checked")
    denoiser = record.denoiser.sha256 if record.denoiser else ""
    others = {kind: sha256 for kind, sha256 in code.items() if kind.startswith(OUTSIDE)}
    deciding = identity(record.spec, record.suite_version, record.facts, sources, record.model.sha256, denoiser, others)
    if record.key != key_of({**deciding, "data": record.data_sha256}):
        yield wrong


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
    if hasattr(suite, "aside"):
        method = plugins.AXES[suite.axis].configure(record.method)
        expected["aside"] = (record.aside, suite.aside(method.plugin, method.text))
    for name, (stated, own) in expected.items():
        if stated != own:
            yield f"its {name} are {stated!r}; those of {record.suite} are {own!r}"
    facts = subject.inputs.facts(record)
    if dict(record.facts) != facts:
        yield f"its facts are {dict(record.facts)!r}; those of {record.suite} are {facts!r}"


def weights(subject: Examined) -> Iterator[str]:
    """Weights under the name of a bundled checkpoint are that checkpoint; no other name has its hash."""
    record = subject.record
    for kind, stated in (("model", record.model), ("denoiser", record.denoiser)):
        if stated:
            yield from _as_bundled(kind, stated)
    chosen, used = record.spec.denoiser, record.denoiser
    if chosen and used and Path(chosen).stem != used.name:
        # The name of a bundled denoiser is not that of its file, which its registration states.
        facts = plugins.denoiser.of(chosen).facts if chosen in plugins.denoiser else {}
        file = str(facts.get("checkpoint", ""))
        stems = checkpoints()
        if stems.get(used.sha256, file) != file or (file in stems.values() and used.sha256 not in stems):
            yield f"its denoiser is {used.name!r}, and its run was asked for {chosen!r}"
    arguments = record.model.details.get("arguments")
    stated_classes = arguments.get("num_classes") if isinstance(arguments, Mapping) else None
    if stated_classes is not None and not record.classes and record.num_classes is None:
        yield f"its classifier has {shown(stated_classes)} classes, not 1 to {rules.MOST_CLASSES:,}"


def _as_bundled(kind: str, stated: Weights) -> Iterator[str]:
    """Sentences on where weights are not what their name, or their hash, says of the checkpoints that are bundled."""
    stem = stated.name.replace("/", "-")
    actual = checkpoints().get(stated.sha256)
    if actual is None:
        if stem in checkpoints().values():
            sha256 = bundled(stem)[1]
            yield f"its {kind} {stated.name!r} has SHA-256 {stated.sha256[:12]}, the bundled one {sha256[:12]}"
        return
    if actual not in (stem, Path(stated.name).stem):
        own = f"SHA-256 {stated.sha256[:12]}, that of the bundled {actual}"
        yield f"its {kind} has {own}, and is called {stated.name!r}"
        return
    expected = read_checkpoint(*bundled(actual)).weights
    # A run adds to them what a card says, such as the names of classes.
    differ = [name for name, value in expected.details.items() if stated.details.get(name) != value]
    if ":" not in stated.name and differ:
        yield f"the details of its {kind} {stated.name!r} are not those of the bundled checkpoint"
    if stem == actual and stated.source != expected.source:
        yield f"the source of its {kind} is {stated.source!r}, that of the bundled checkpoint {expected.source!r}"


@cache
def checkpoints() -> Mapping[str, str]:
    """The names of the bundled checkpoints by SHA-256."""
    files = resources.files("harness.registry.checkpoints").iterdir()
    stems = sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))
    return {bundled(stem)[1]: stem for stem in stems}


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
    """Network calls per image, which leaderboards show, are those of the method.

    Those of a guide depend on its classifier, too: its settings give limits.
    """
    stated = subject.record.cost
    _ = subject.suite
    calls = subject.inputs.calls(subject.record)
    if (stated.method_calls_per_image, stated.at_most) != (calls.denoiser, calls.at_most):
        most = "at most " if stated.at_most else ""
        yield (
            f"its method makes {most}{stated.method_calls_per_image} denoiser calls per image by the record, "
            f"{'at most ' if calls.at_most else ''}{calls.denoiser} by its settings"
        )
    limits = {
        "backward passes of the denoiser": (stated.denoiser_gradients_per_image, calls.denoiser_gradients),
        "classifier calls": (stated.classifier_calls_per_image, calls.classified),
        "backward passes of the classifier": (stated.classifier_gradients_per_image, calls.classifier_gradients),
    }
    for name, (number, own) in limits.items():
        if number is not None and (number > own if subject.suite.axis == "guide" else number != own):
            yield f"its method makes {number} {name} per image by the record, {own} by its settings"
    # Conditions of a suite that diffuses may need no call.
    least = 0 if calls.at_most else min(calls.denoiser, 1) if subject.suite.diffuses else calls.denoiser * stated.images
    if stated.denoiser_calls < least:
        yield f"its cost is {stated.denoiser_calls} denoiser calls; its own {stated.images} images need {least}"


def images(subject: Examined) -> Iterator[str]:
    """Images that a run kept are those that it wrote; raises NotAtHand where they were left behind."""
    record = subject.record
    if bool(record.images) != record.spec.keep_images:
        yield "it names images, and its run kept none" if record.images else "it names no images, and its run kept them"
    if not record.images:
        return
    file = subject.file.with_suffix(kept.SUFFIX)
    if record.images.get("file") != file.name:
        yield f"its images are called {record.images.get('file', '')[:80]!r}, not {file.name}"
    elif not file.is_file():
        raise NotAtHand("they are not beside it")
    elif not kept.is_beside(record.images, subject.file):
        yield f"{file.name} holds other images than it names: its SHA-256 differs"


def time(subject: Examined) -> Iterator[str]:
    """The time at which it was made has passed, in whatever time zone."""
    made = datetime.fromisoformat(subject.record.created)
    made = made if made.tzinfo else made.replace(tzinfo=UTC)
    if made > datetime.now(UTC) + timedelta(days=1):
        yield f"it was created in the future: {subject.record.created}"
