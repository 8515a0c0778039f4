"""Images that are missing are told apart from damage, tried again, and known before a run wherever that is possible."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import harness, outcome
from torch import nn

from harness import plugins
from harness.api.rerun.records import rerun_record
from harness.api.rerun.verdict import IDENTICAL
from harness.base.errors import BadImage, Notice
from harness.data import ArrayDataset
from harness.evaluation import loop
from harness.evaluation.loop import Progress
from harness.evaluation.prepare import prepare
from harness.evaluation.records import parts, record
from harness.evaluation.records.coverage import count_images, note_on_skipped
from harness.evaluation.records.parts import Incomplete
from harness.evaluation.records.record import RunRecord
from harness.models.published.locate import WeightFiles
from harness.types import Batch, Condition, Dataset, HarnessError, Metric, RunSpec


@dataclass
class Faulty:
    """Digits, some of which cannot be read, with files beside them that nobody reads."""

    digits: ArrayDataset
    bad: set[int] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.digits, name)

    def read(self, indices: Sequence[int]) -> Batch:
        if self.bad & set(indices):
            raise BadImage("one digit is not a readable image")
        return self.digits.read(indices)


@pytest.fixture
def faulty() -> Iterator[dict[str, Faulty]]:
    """A suite on two sets of twelve digits each, in parts of four; one metric in all."""
    from harness.suites.bases.covariate_shift import CovariateShift

    digits = plugins.dataset["digits"].build("test")

    def some(first: int) -> Faulty:
        rows = slice(first, first + 12)
        ids = digits.ids[rows]
        return Faulty(ArrayDataset("digits", ids, digits.pixels[rows], digits.labels[rows], 10, digits.geometry))

    sets = {"a": some(0), "b": some(12)}

    class Sets(CovariateShift):
        """Two image sets, one number."""

        name, version, dataset, part = "test-sets", 1, "digits", 4
        columns = (("accuracy", "all"),)
        same_images = False

        def conditions(self) -> list[Condition]:
            return [Condition(name, name) for name in sets]

        def open(self, condition: Condition, seed: int) -> Dataset:
            return sets[condition.name]  # type: ignore[return-value]

        def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
            metrics, notes = super().summarise(rows)
            return [metric for metric in metrics if metric.condition == "all"], notes

    plugins.suite("test-sets")(Sets)
    plugins.model("test/linear", dataset="digits")(linear)
    yield sets


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))


SPEC = RunSpec("test-sets", models=("test/linear",), methods=("default",), tile=4)


def run(out: Path, skip_bad: bool = False, spec: RunSpec = SPEC, **options: Any) -> tuple[list[RunRecord], list[str]]:
    """The records, and the notices that were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        paths = loop.run(prepare(spec, out, skip_bad=skip_bad), **options)
    return [record.load(path) for path in paths], [str(w.message) for w in caught if issubclass(w.category, Notice)]


def stop_after_eight(tick: Progress) -> None:
    if tick.done > 8:
        raise KeyboardInterrupt


def test_images_that_were_skipped_are_no_damage_and_are_tried_again(tmp_path: Path, faulty: dict[str, Faulty]) -> None:
    faulty["a"].bad = {0, 1, 5}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", skip_bad=True, report=stop_after_eight)
    faulty["a"].bad.clear()
    again, (notice,) = run(tmp_path / "out")
    assert "could not read" in notice and "lacks 2 images, and 1 more lack some" in notice
    assert "tried again" in notice and "damaged" not in notice
    undisturbed, notices = run(tmp_path / "undisturbed")
    assert outcome(again) == outcome(undisturbed) and not notices and again[0].status == "complete"


def test_a_record_without_skipped_images_is_told_of_too(tmp_path: Path, faulty: dict[str, Faulty]) -> None:
    faulty["b"].bad = {11}
    (partial,), notices = run(tmp_path, skip_bad=True)
    assert partial.status == "partial" and partial.coverage == "23 of 24 images" and not notices
    assert run(tmp_path, skip_bad=True) == ([partial], []), "another run that skips them takes it as it is"
    faulty["b"].bad.clear()
    (entry,), (notice,) = run(tmp_path)
    assert entry.status == "complete" and ".json lacks 1 image." in notice and "tried again" in notice


@pytest.mark.parametrize("fault", ["bad", "unread"])
def test_a_record_without_skipped_images_is_repeated_without_them(
    tmp_path: Path, faulty: dict[str, Faulty], fault: str
) -> None:
    faulty["b"].bad = {11} if fault == "bad" else set()
    faulty["b"].unread = ["b/x.gif"] if fault == "unread" else []
    (partial,), _ = run(tmp_path / "out", skip_bad=True)
    assert partial.status == "partial"
    assert rerun_record(partial, tmp_path / "again", WeightFiles()).outcome == IDENTICAL


def test_a_part_without_skipped_images_serves_only_who_skips_them(tmp_path: Path, faulty: dict[str, Faulty]) -> None:
    faulty["a"].bad = {0}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, skip_bad=True, report=stop_after_eight)
    part = prepare(SPEC, tmp_path, skip_bad=True).parts[0]
    (file,) = tmp_path.rglob(f"{part.name}.parquet")
    with pytest.raises(Incomplete) as error:
        parts.read(file, part, every_image=True)
    assert error.value.missing == 1
    rows, _ = parts.read(file, part, every_image=False)
    assert rows["id"].tolist() == list(faulty["a"].digits.ids[1:4])


def test_a_part_of_which_no_image_could_be_read_is_incomplete(tmp_path: Path, faulty: dict[str, Faulty]) -> None:
    faulty["a"].bad = {4, 5, 6, 7}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, skip_bad=True, report=stop_after_eight)
    part = prepare(SPEC, tmp_path).parts[1]
    (file,) = tmp_path.rglob(f"{part.name}.parquet")
    with pytest.raises(Incomplete, match="4 of its images"):
        parts.read(file, part, every_image=True)
    assert parts.read(file, part, every_image=False)[0] == {}


def test_a_partial_record_becomes_complete_once_a_stray_file_is_gone(tmp_path: Path, faulty: dict[str, Faulty]) -> None:
    faulty["a"].unread = ["a/x.gif"]
    (partial,), _ = run(tmp_path, skip_bad=True)
    assert partial.status == "partial" and partial.samples["rows"] == 24 and "a/x.gif" in partial.notes[-1]
    faulty["a"].unread = []
    assert run(tmp_path, skip_bad=True)[0] == [partial], "a run that skips files takes it as it is"
    (entry,), notices = run(tmp_path)
    assert entry.status == "complete" and not notices
    assert (entry.key, entry.samples, entry.metrics) == (partial.key, partial.samples, partial.metrics)


def test_files_that_nobody_reads_stop_every_suite_before_the_first_one_runs(
    tmp_path: Path, faulty: dict[str, Faulty]
) -> None:
    faulty["b"].unread = ["b/x.gif"]
    with pytest.raises(HarnessError, match=r"b/x\.gif.*--on-bad-image skip"):
        prepare(SPEC, tmp_path)
    assert prepare(SPEC, tmp_path, skip_bad=True).unread


def test_a_dry_run_names_files_that_nobody_reads(
    tmp_path: Path, faulty: dict[str, Faulty], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty["b"].unread = ["b/x.gif"]
    command = ["run", "--suite", "digits", "--suite", "test-sets", "--model", "test/linear", "--tta", "default"]
    command += ["--device", "cpu", "--dry-run", "--out", str(tmp_path / "out")]
    code, printed = harness(monkeypatch, capsys, *command)
    assert code == 2 and "b/x.gif" in printed
    code, printed = harness(monkeypatch, capsys, *command, "--on-bad-image", "skip")
    assert code == 0 and "Dry run" in printed and not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"limit": 5}, {"every": 5}, {"every": 5, "limit": 2}, {}])
def test_several_image_sets_under_one_metric_are_a_record(
    changes: dict[str, int], tmp_path: Path, faulty: dict[str, Faulty]
) -> None:
    (entry,), _ = run(tmp_path, spec=replace(SPEC, **changes))
    assert {metric.condition for metric in entry.metrics} == {"all"} and entry.conditions == 2
    per_set = min(-(-12 // entry.spec.every), entry.spec.limit or 12)
    assert entry.coverage.startswith(f"{2 * per_set} of 24 images")


def test_more_images_than_limit_and_conditions_allow_are_no_record(tmp_path: Path, faulty: dict[str, Faulty]) -> None:
    (entry,), _ = run(tmp_path, spec=replace(SPEC, limit=5))
    with pytest.raises(ValueError, match="gives no 10 of 24 images under 1 conditions"):
        record.serialised(replace(entry, conditions=1))


@pytest.mark.parametrize(
    "name, value", [("shown", ()), ("version", -1), ("facts", lambda self: {"a": object()}), ("dataset", "")]
)
def test_a_suite_that_makes_no_record_is_refused_before_the_run(
    name: str, value: object, tmp_path: Path, faulty: dict[str, Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins.suite["test-sets"].build, name, value)
    with pytest.raises((HarnessError, TypeError), match="test-sets: no record of this run could be written"):
        prepare(SPEC, tmp_path)


def test_methods_are_counted_once_per_job(
    tmp_path: Path, faulty: dict[str, Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare(SPEC, tmp_path)
    first = job.tally(job.pairs)
    monkeypatch.setattr(type(job.suite), "tally", lambda *arguments: pytest.fail("counted again"))
    assert job.tally(job.pairs) == first == job.tally(job.pairs[:1])


def ids(first: int, last: int) -> list[str]:
    return [str(k) for k in range(first, last)]


@pytest.mark.parametrize(
    "conditions, images",
    [
        ([(ids(0, 5), 0)], 5),
        ([(ids(0, 5), 8)], 8),
        ([(ids(0, 5), 0), (ids(0, 5), 0)], 5),
        ([(ids(0, 5), 6), (ids(0, 5), 9)], 9),
        ([(ids(0, 5), 0), (ids(5, 8), 0)], 8),
        ([(ids(0, 5), 7), (ids(5, 8), 4)], 11),
        ([(ids(0, 5), 6), (ids(3, 8), 6)], 8),
        ([(ids(0, 3), 10), (ids(6, 9), 12), (ids(2, 7), 0)], 12),
        ([([], 4), (ids(0, 2), 0)], 6),
        ([], 0),
    ],
)
def test_conditions_that_share_images_lack_the_same_ones(conditions: list[Any], images: int) -> None:
    assert count_images(conditions) == count_images(conditions[::-1]) == images


def test_a_note_names_a_few_of_the_skipped_images() -> None:
    assert note_on_skipped(["x"], 2, 9) == "Unreadable and left out: 2 of 9 rows, of the images x."
    assert note_on_skipped(["a", "b", "c", "d", "e"], 5, 9).endswith("a, b, c and 2 more.")
