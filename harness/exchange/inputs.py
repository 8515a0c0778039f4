"""Data and weights at hand, with which ids, labels and hashes of a record are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness import plugins
from harness.base.errors import HarnessError
from harness.data import Widened
from harness.evaluation.job import Job
from harness.evaluation.preflight.checks import open_condition
from harness.evaluation.records.record import RunRecord
from harness.models.tiles import Tiles
from harness.plugins.settings import moved, split
from harness.report.posthoc.ensemble import SOURCE, digest, method_of
from harness.types import Absent, Calls, Dataset, RunSpec

FOLDERS = ("data", "clean", "near", "far", "held_out", "ids")
"""Settings of suites that name folders and files of a user's machine."""


class NotAtHand(Exception):
    """Data that are not here; the message says why, and what would help."""


@dataclass
class DataAtHand:
    """Suites and data sets, opened once for all records.

    folders: by name of a suite, the folder of its data here; under "" the one for all other suites that read a folder.
    """

    folders: Mapping[str, str] = field(default_factory=dict)
    _suites: dict[str, Any] = field(init=False, default_factory=dict)
    _datasets: dict[tuple[str, int], Mapping[str, Dataset]] = field(init=False, default_factory=dict)
    _facts: dict[str, Mapping[str, str]] = field(init=False, default_factory=dict)
    _calls: dict[tuple[str, str], Calls] = field(init=False, default_factory=dict)

    def suite(self, text: str) -> Any:
        """The suite of a canonical text; HarnessError for settings that it refuses."""
        if text not in self._suites:
            self._suites[text] = plugins.suite.configure(text).plugin
        return self._suites[text]

    def plan(self, record: RunRecord) -> Job:
        """The record's run over the data that are here, without networks; raises NotAtHand where they are not."""
        spec = record.spec
        text = self._placed(record.suite)
        key = (text, spec.seed)
        if key not in self._datasets:
            try:
                suite = self.suite(text)
                self._datasets[key] = {c.name: open_condition(suite, c, spec.seed) for c in suite.conditions()}
            except HarnessError as error:
                raise NotAtHand(f"its data cannot be read here ({error})") from error
        datasets = {name: _widened(data, record.classes) for name, data in self._datasets[key].items()}
        return planned(spec, self.suite(text), datasets)

    def facts(self, record: RunRecord) -> Mapping[str, str]:
        """The facts of the record's suite; raises NotAtHand where they depend on data that are not here."""
        text = self._placed(record.suite) if record.facts else record.suite
        if text not in self._facts:
            try:
                self._facts[text] = dict(self.suite(text).facts())
            except HarnessError as error:
                raise NotAtHand(f"its data cannot be read here ({error})") from error
        return self._facts[text]

    def calls(self, record: RunRecord) -> Calls:
        """Network calls of the record's method per image; raises NotAtHand for a method that is not here.

        Raises HarnessError for settings that a method which is here refuses.
        """
        return sum((self._calls_of(record, method) for method in methods(record)), start=Calls())

    def _calls_of(self, record: RunRecord, text: str) -> Calls:
        """Network calls of one method of a record."""
        key = (record.suite, text)
        if key not in self._calls:
            suite, side = self.suite(record.suite), record.geometry.crop
            axis = plugins.AXES[suite.axis]
            try:
                axis.parts(text) if isinstance(axis, plugins.Combined) else axis.of(text)
            except HarnessError as error:
                raise NotAtHand(f"its method is not at hand ({error})") from error
            try:
                method = axis.configure(text).plugin  # a project's method that refuses its settings: a difference
            except Absent as error:
                raise NotAtHand(f"its method is not at hand ({error})") from error
            try:
                self._calls[key] = suite.tally([method], torch.zeros(1, 3, side, side), record.num_classes or 2)
            except HarnessError as error:
                raise NotAtHand(f"its method is not at hand ({error})") from error
        return self._calls[key]

    def _placed(self, text: str) -> str:
        """The text of a suite with its data in the folder here; folders that a record names are never opened."""
        name, _, settings = text.partition(":")
        reads = [part.partition("=")[0] for part in split(settings) if part.partition("=")[0] in FOLDERS]
        folder = self.folders.get(name, self.folders.get("", ""))
        if not reads:
            return text
        if reads != ["data"] or not folder:
            remedy = "give their folder: --data DIR" if reads == ["data"] else "it reads several folders"
            raise NotAtHand(f"its data are not at hand: {remedy}")
        return moved(text, folder)


def methods(record: RunRecord) -> list[str]:
    """The methods that a record's rows were made with: its own, or those of an ensemble's members.

    Raises HarnessError for members that `harness.report.posthoc.ensemble` does not write.
    """
    if record.model.source != SOURCE:
        return [record.method]
    members = record.model.details.get("members")
    if not isinstance(members, list) or len(members) < 2:
        raise HarnessError("it is an ensemble, and names no members")
    stated = [member.get("method") if isinstance(member, dict) else None for member in members]
    texts = [text for text in stated if isinstance(text, str)]
    if len(texts) < len(members):
        raise HarnessError("it is an ensemble, and its members name no methods")
    if record.method != (common := method_of(texts)):
        raise HarnessError(f"its method is {record.method!r}, that of its members {common!r}")
    if record.model.sha256 != digest(members):
        raise HarnessError("its model has another SHA-256 than its members give")
    return texts


def planned(spec: RunSpec, suite: Any, datasets: Mapping[str, Dataset]) -> Job:
    """A run without networks: it knows its samples, and the hash of its data. datasets: by condition."""
    return Job(spec, Path(), suite, datasets, (), {}, None, None, Tiles(spec.tile), Tiles(spec.tile))


def _widened(data: Dataset, classes: Any) -> Any:
    """The data set with further classes of a classifier, as a run has it: see `harness.models.matching`."""
    return Widened(data, tuple(classes)) if len(classes) > data.num_classes else data
