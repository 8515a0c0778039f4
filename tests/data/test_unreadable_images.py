"""Runs on images that are decoded as they are read, some of which cannot be; and `harness data check`."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import harness, outcome
from image_files import CIFAR, FILES, as_folder, make
from PIL import Image
from torch import nn

from harness import plugins
from harness.data import open_dataset, open_pictures
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.terminal import console
from harness.types import BadImage, Condition, Dataset, Geometry, HarnessError, RunSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def named(root: Path) -> Dataset:
    """Test images whose ids do not change with their bytes, as ImageNet's."""
    geometry = Geometry(32, 32, "bilinear")
    return open_pictures(root, "test", geometry, (*CIFAR, "truck"), name="cifar10", named=True)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A suite on images that are decoded as they are read: six batches of four or fewer, in three parts."""
    from harness.suites.bases.covariate_shift import CovariateShift

    animals = make(20, ("cat", "frog", "dog"))
    root = as_folder(tmp_path / "images", animals, "test")

    class Animals(CovariateShift):
        """Three of the ten classes."""

        name, version, dataset, part = "test-animals", 1, "cifar10", 8
        columns = (("accuracy", "clean"),)

        def conditions(self) -> list[Condition]:
            return [Condition("clean", "clean")]

        def open(self, condition: Condition, seed: int) -> Dataset:
            return named(root)

    def linear() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    plugins.suite("test-animals")(Animals)
    plugins.model("test/linear", dataset="cifar10")(linear)
    return root


SPEC = RunSpec("test-animals", models=("test/linear",), methods=("default",), tile=4)


def run(out: Path, skip_bad: bool = False, **options: Any) -> list[RunRecord]:
    job = prepare(SPEC, out, skip_bad=skip_bad)
    return [record.load(path) for path in loop.run(job, batch_size=4, **options)]


def test_workers_change_no_number(tmp_path: Path, bench: Path) -> None:
    records = [run(tmp_path / f"{workers}", workers=workers) for workers in (0, 1, 2)]
    assert outcome(records[0]) == outcome(records[1]) == outcome(records[2])
    (entry,) = records[0]
    assert entry.status == "complete" and len(entry.rows()["id"]) == 20 and not entry.notes


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stops_at_a_bad_image_or_goes_on_without_it(tmp_path: Path, bench: Path, workers: int) -> None:
    (undisturbed,) = run(tmp_path / "before", workers=workers)
    names = sorted(p for p in bench.rglob("*.*") if p.is_file())
    # The first image; two in the middle; and a whole part, the second of three.
    bad = [names[0], *names[8:16], names[17]]
    for file in bad:
        file.write_bytes(file.read_bytes()[:100])
    bad[1].unlink()
    bad[1].symlink_to("nowhere")
    out = tmp_path / "out"
    with pytest.raises(BadImage, match=bad[0].name):
        run(out, workers=workers)
    (entry,) = run(out, workers=workers, skip_bad=True)
    assert entry.status == "partial" and entry.coverage == "10 of 20 images" and entry.cost.images == 10
    ids = [str(p.relative_to(bench / "test")) for p in names]
    (note,) = entry.notes
    assert "10 of 20 rows" in note and f"{ids[0]}, {ids[8]}, {ids[9]} and 7 more" in note
    good = [k for k, p in enumerate(names) if p not in bad]
    rows, before = entry.rows(), undisturbed.rows()
    assert rows["id"].tolist() == [ids[k] for k in good]
    assert rows["prediction"].tolist() == before["prediction"][good].tolist()
    metric = entry.metric("accuracy", "clean")
    correct = (before["prediction"] == before["label"])[good]
    assert metric and metric.n == 10 and metric.value == pytest.approx(correct.mean())
    assert undisturbed.board != entry.board, "never ranked beside the whole set"
    for file in names:
        file.write_bytes(b"gone")
    with pytest.raises(HarnessError, match="not a readable image"):
        run(tmp_path / "none", workers=workers, skip_bad=True)


def test_fixing_an_image_keeps_the_results_of_other_conditions(tmp_path: Path, bench: Path) -> None:
    roots = {name: as_folder(tmp_path / name, make(20, ("cat", "frog", "dog")), "test") for name in ("a", "b")}

    from harness.suites.bases.covariate_shift import CovariateShift

    class Twice(CovariateShift):
        """The same images in two folders."""

        name, version, dataset, part = "test-twice", 1, "cifar10", 8
        columns = (("accuracy", "a"),)

        def conditions(self) -> list[Condition]:
            return [Condition(name, name) for name in roots]

        def open(self, condition: Condition, seed: int) -> Dataset:
            return named(roots[condition.name])

    plugins.suite("test-twice")(Twice)
    spec, computed = replace(SPEC, suite="test-twice"), []
    image = sorted(p for p in roots["b"].rglob("*.*") if p.is_file())[0]
    content = image.read_bytes()
    image.write_bytes(content[:100])
    with pytest.raises(BadImage, match=image.name):
        loop.run(prepare(spec, tmp_path / "out"))
    image.write_bytes(content)
    (path,) = loop.run(prepare(spec, tmp_path / "out"), report=lambda tick: computed.append(tick.computed))
    assert computed[-1] == 20 and record.load(path).coverage == "20 of 20 images"
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 1, "the sample table, and no part"
    (undisturbed,) = loop.run(prepare(spec, tmp_path / "other"))
    assert outcome([record.load(path)]) == outcome([record.load(undisturbed)])


def test_a_run_that_skips_nothing_closes_the_gaps(tmp_path: Path, bench: Path) -> None:
    """Also where the hash of the data, which is of sizes, does not tell that an image was fixed."""
    image = sorted(p for p in bench.rglob("*.*") if p.is_file())[9]
    content = image.read_bytes()
    image.write_bytes(b"x" * len(content))

    def stop(tick: loop.Progress) -> None:
        if tick.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", skip_bad=True, report=stop)
    (partial,) = run(tmp_path / "done", skip_bad=True)
    image.write_bytes(content)
    assert run(tmp_path / "done", skip_bad=True)[0].status == partial.status == "partial"
    (undisturbed,) = run(tmp_path / "undisturbed")
    for out in ("stopped", "done"):
        (entry,) = run(tmp_path / out)
        assert outcome([entry]) == outcome([undisturbed]) and entry.status == "complete"
    assert entry.key == partial.key and entry.board != replace(partial, coverage=entry.coverage).board


def test_a_skipping_run_goes_on_where_it_was(tmp_path: Path, bench: Path) -> None:
    names = sorted(p for p in bench.rglob("*.*") if p.is_file())
    names[9].write_bytes(b"no image")

    def stop(tick: loop.Progress) -> None:
        if tick.done >= 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", workers=2, skip_bad=True, report=stop)
    assert outcome(run(tmp_path / "out", skip_bad=True)) == outcome(run(tmp_path / "whole", workers=1, skip_bad=True))


def test_groups_of_four_are_not_broken_up(tmp_path: Path, bench: Path) -> None:
    spec = replace(SPEC, methods=("dda:norm=batch4,steps=4,start=1",), denoiser="digits")
    with pytest.raises(HarnessError, match="groups of four"):
        prepare(spec, tmp_path, skip_bad=True)


def test_data_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    root = str(as_folder(tmp_path / "a"))
    code, printed = harness(monkeypatch, capsys, "data", "check", "imagenet", "--data", root, "--split", "val")
    assert code == 0 and "3 of 1000" in printed and "6 to 7" in printed and "Every image can be read" in printed
    assert open_dataset("imagenet", "val", root).sha256[:12] in printed
    sizes = np.sort([Image.open(io.BytesIO(f.content)).size for f in FILES], axis=0)
    assert " / ".join(map(str, sizes[[0, 10, 19], 0])) in printed
    code, printed = harness(monkeypatch, capsys, "data", "check", "imagenet", "--data", root)
    assert code == 2 and "train: " in printed and "must hold train/CLASS" in printed and "3 of 1000" in printed
    assert "Nothing is wrong with the rest: --split val" in printed
    image = tmp_path / "a" / "val" / FILES[0].label / FILES[0].name
    image.write_bytes(image.read_bytes()[:-100])
    code, printed = harness(monkeypatch, capsys, "data", "check", "imagenet", "--data", root, "--split", "val")
    assert code == 2 and "1 of 20 images are unusable" in printed and FILES[0].name in printed
    code, printed = harness(
        monkeypatch, capsys, "data", "check", "imagenet", "--data", root, "--split", "val", "--quick"
    )
    assert code == 0 and "nothing was decoded" in printed
    code, printed = harness(monkeypatch, capsys, "data", "check", "digits-greek")
    assert code == 0 and "0 of 10" in printed
    toys = as_folder(tmp_path / "toys", make(20, CIFAR), "test")
    code, printed = harness(monkeypatch, capsys, "data", "check", "cifar10", "--data", str(toys), "--split", "test")
    assert code == 0 and "test: No images of 1 of 10 classes: truck." in printed
    for arguments, message in {
        ("imagenet",): "--data DIR",
        ("imagenett", "--data", root): "Did you mean imagenet",
        ("digits", "--split", "val"): "Unknown split 'val' of 'digits'",
        ("digits", "--workers", "many"): "--workers 'many'",
    }.items():
        code, printed = harness(monkeypatch, capsys, "data", "check", *arguments)
        assert code == 2 and message in printed


def test_the_command_line_skips_and_reads_ahead(
    tmp_path: Path, bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    next(bench.rglob("*.png")).write_bytes(b"no image")
    command = ["run", "--suite", "test-animals", "--model", "test/linear", "--tta", "default", "--device", "cpu"]
    code, printed = harness(monkeypatch, capsys, *command, "--out", str(tmp_path / "out"), "--workers", "auto")
    assert code == 2 and "not a readable image" in printed
    command += ["--on-bad-image", "skip", "--workers", "2", "--out", str(tmp_path / "out")]
    code, printed = harness(monkeypatch, capsys, *command)
    assert code == 0 and "19 of 20 images (subset)" in printed and "Unreadable and left out: 1 of 20 rows" in printed
    assert "waiting for data" in printed
