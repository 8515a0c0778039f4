"""The same numbers at any batch size, shard count, order or resume; nothing lost, nothing counted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CHEAP, ROOT, SMALL, harness, outcome, run_small
from torch import nn
from torch.nn import functional as F

from harness import plugins
from harness.evaluation import loop, part_in_progress
from harness.evaluation.launch.claims import Shard
from harness.evaluation.loop import Progress
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.calls import tally
from harness.types import Classifier, HarnessError, Views


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_does_not_change_a_bit(tmp_path: Path, small_run: list[RunRecord], batch_size: int) -> None:
    assert outcome(run_small(tmp_path, batch_size=batch_size)) == outcome(small_run)


def test_parts_and_batches_fill_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last tile of a part or a batch is padded, and costs as much as a full one."""
    spec = replace(SMALL, suite="digits", models=("digits/resnet",), methods=("default",), denoiser=None, limit=0)
    for tile, sizes in {64: [256, 256, 88], 7: [224, 224, 152]}.items():
        job = prepare(replace(spec, tile=tile), tmp_path)
        assert [len(part.indices) for part in job.parts] == sizes
        monkeypatch.setattr(os, "sysconf", lambda name: 1)
        assert loop._batch_size(job) == tile, "whatever memory is free"
        monkeypatch.undo()


def test_shards_make_the_record_of_one_process(tmp_path: Path, small_run: list[RunRecord]) -> None:
    assert run_small(tmp_path, claims=Shard(0, 3)) == []
    assert run_small(tmp_path, claims=Shard(2, 3)) == []
    assert outcome(run_small(tmp_path, claims=Shard(1, 3))) == outcome(small_run)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, small_run: list[RunRecord]) -> None:
    def stop(tick: Progress) -> None:
        if tick.done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_small(tmp_path, report=stop)
    parts = list((tmp_path / ".parts").rglob("*.parquet"))
    assert len(parts) == 4 * 6, "four finished conditions of six pairs are on disk"
    stamps = {file: file.stat().st_mtime_ns for file in parts}
    seen: list[Path] = []

    def check(tick: Progress) -> None:
        seen.extend(file for file, stamp in stamps.items() if file.exists() and file.stat().st_mtime_ns != stamp)

    resumed = run_small(tmp_path, report=check)
    assert not seen, "finished parts are not computed again"
    assert outcome(resumed) == outcome(small_run)
    assert [r.cost.denoiser_calls for r in resumed] == [r.cost.denoiser_calls for r in small_run]
    assert not (tmp_path / ".parts").exists() or not list((tmp_path / ".parts").rglob("*.parquet"))


def test_batches_of_an_unfinished_part_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after every other batch, at other batch sizes: the same table."""
    changes = {"models": ("digits/resnet",), "methods": ("default", "de:times=0,200"), "limit": 16, "tile": 4}
    undisturbed = run_small(tmp_path / "undisturbed", changes)
    monkeypatch.setattr(part_in_progress, "KEEP_EVERY", 0.0)
    computed: list[float] = []
    for size in (4, 4, 8):
        ticks: list[Progress] = []

        def stop(tick: Progress, ticks: list[Progress] = ticks) -> None:
            ticks.append(tick)
            if tick.computed == 8:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_small(tmp_path / "disturbed", changes, batch_size=size, report=stop)
        computed.append(ticks[-1].done)
    assert computed == [8, 12, 16], "what a stop loses is the batch at hand"
    records = run_small(tmp_path / "disturbed", changes, batch_size=4)
    assert outcome(records) == outcome(undisturbed) and not list(tmp_path.rglob("*.interim"))
    assert [r.cost.denoiser_calls for r in records] == [r.cost.denoiser_calls for r in undisturbed]


def test_killed_with_signal_9(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--suite", SMALL.suite, "--model", "digits/resnet"]
    arguments += ["--tta", "default", "--tta", "de:times=0,200", "--limit", "8", "--tile", "8", "--out"]
    command = [sys.executable, "-m", "harness", *arguments, str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").rglob("*.parquet"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was still at work when it was killed"
    assert not list((tmp_path / "killed").rglob("*.json"))
    for out in ("killed", "undisturbed"):
        code, printed = harness(monkeypatch, capsys, *arguments, str(tmp_path / out))
        assert code == 0, printed
    files = {out: sorted((tmp_path / out / "digits-c").glob("*.json")) for out in ("killed", "undisturbed")}
    killed, undisturbed = ([record.load(f) for f in files[out]] for out in ("killed", "undisturbed"))
    assert len(killed) == 2
    assert outcome(killed) == outcome(undisturbed)


def test_classifiers_share_the_denoised_images(tmp_path: Path, small_run: list[RunRecord]) -> None:
    alone = run_small(tmp_path, {"models": ("digits/resnet",)})
    images = 9 * 5
    assert {r.cost.denoiser_calls for r in alone} == {r.cost.denoiser_calls for r in small_run} == {images * (2 + 2)}
    per_image = {r.method: r.cost.method_calls_per_image for r in small_run}
    assert per_image == dict(zip(SMALL.methods, (0, 2, 2), strict=True))


def test_a_new_model_reuses_what_is_there(tmp_path: Path) -> None:
    first = run_small(tmp_path, {"models": ("digits/resnet",)})
    stamps = {r.path: r.path.stat().st_mtime_ns for r in first if r.path}
    both = run_small(tmp_path)
    assert len(both) == 6
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_another_seed_is_another_run_and_fresh_computes_again(tmp_path: Path) -> None:
    changes = {"models": ("digits/resnet",), "methods": ("default",), "denoiser": None}
    with pytest.raises(HarnessError, match="other shards"):
        run_small(tmp_path, changes, fresh=True, claims=Shard(0, 2))
    (first,) = run_small(tmp_path, changes)
    (other,) = run_small(tmp_path, {**changes, "seed": 1})
    assert first.key != other.key and first.samples["sha256"] != other.samples["sha256"]
    assert first.path
    before = first.path.stat().st_mtime_ns
    (again,) = run_small(tmp_path, changes, fresh=True)
    assert first.path.stat().st_mtime_ns > before
    assert outcome([again]) == outcome([first])


def test_records_are_rescorable(small_run: list[RunRecord]) -> None:
    suite = plugins.suite.configure(SMALL.suite).plugin
    for entry in small_run:
        again, notes = suite.summarise(entry.rows())
        assert tuple(again) == tuple(entry.metrics) and list(notes) == list(entry.notes)


def test_rows_are_what_a_plain_loop_computes(small_run: list[RunRecord]) -> None:
    """The one-image path of the documentation, by hand: no views, no tiles, no parts."""
    from harness.base import noise
    from harness.diffusion.lookup import find_denoiser
    from harness.models.lookup import find_classifier

    suite = plugins.suite.configure(SMALL.suite).plugin
    network, _ = find_classifier("digits/vit+diffaug")
    denoiser, _ = find_denoiser("digits")
    entry = next(r for r in small_run if r.model.name == "digits/vit+diffaug" and r.method.startswith("de:"))
    rows = entry.rows()
    for condition in ("fog/5", "jpeg_compression/5"):
        data = suite.open(next(c for c in suite.conditions() if c.name == condition), seed=0)
        for index in (0, 8):
            batch = data.read([index])
            total = torch.zeros(10)
            for t in (0, 100, 300):
                x = batch.images
                if t:
                    eps = noise.gaussian((3, 32, 32), seed=0, purpose="denoise", samples=batch.ids, draw=t)
                    abar = float(denoiser.schedule.alpha_bar[t])
                    x_t = abar**0.5 * (2 * x - 1) + (1 - abar) ** 0.5 * eps
                    with torch.no_grad():
                        predicted = denoiser.network(x_t, torch.tensor([t])).sample
                    x = (((x_t - (1 - abar) ** 0.5 * predicted) / abar**0.5).clamp(-1, 1) + 1) / 2
                with torch.no_grad():
                    total += network(x)[0].softmax(-1) / 3
            here = (rows["id"] == batch.ids[0]) & (rows["condition"] == condition)
            assert here.sum() == 1
            assert rows["prediction"][here][0] == int(total.argmax())
            assert rows["confidence"][here][0] == pytest.approx(float(total.max()), abs=2e-5)


def test_extra_corruptions_never_enter_the_mean(tmp_path: Path) -> None:
    (plain,) = run_small(tmp_path, {**CHEAP, "suite": "digits-c"})
    (extra,) = run_small(tmp_path, {**CHEAP, "suite": "digits-c:extra=true"})
    assert plain.metric("mean_accuracy") == extra.metric("mean_accuracy")
    assert extra.metric("accuracy", "saturate/5") and not plain.metric("accuracy", "saturate/5")


def test_mean_is_over_corruptions_after_severities(tmp_path: Path) -> None:
    changes = {"suite": "digits-c:severity=1,5", "models": ("digits/vit",), "methods": ("default",), "denoiser": None}
    (entry,) = run_small(tmp_path, changes)
    rows = entry.rows()
    mean, error = entry.metric("mean_accuracy", "mean"), entry.metric("mean_error", "mean")
    assert mean and error
    assert mean.value == pytest.approx(float(np.mean(rows["prediction"] == rows["label"])))
    assert mean.value + error.value == pytest.approx(1)
    fog = entry.metric("mean_accuracy", "fog")
    parts = [entry.metric("accuracy", f"fog/{s}") for s in (1, 5)]
    assert fog and all(parts) and fog.value == pytest.approx(sum(p.value for p in parts if p) / 2)


def test_mce_is_the_mean_ratio_to_the_reference(tmp_path: Path) -> None:
    """Hendrycks & Dietterich (2019): errors summed over severities, divided by the reference's, averaged."""
    suite = plugins.suite.configure("digits-c").plugin
    (entry,) = run_small(tmp_path, {**CHEAP, "suite": "digits-c"})
    ratios = []
    for condition in suite.conditions():
        accuracy = entry.metric("accuracy", condition.name)
        assert accuracy
        ratios.append((1 - accuracy.value) / suite.reference()[condition.name])
    mce = entry.metric("mce")
    assert mce and mce.value == pytest.approx(sum(ratios) / 15)
    assert mce.interval[0] <= mce.value <= mce.interval[1]


def test_tally_counts_distinct_views() -> None:
    methods = [plugins.method.configure(m).plugin for m in ("default", "de", "dda", "dda-se")]
    image = torch.zeros(1, 3, 32, 32)
    assert [tally([m], image, 10).denoiser for m in methods] == [0, 9, 50, 50]
    together = tally(methods, image, 10)
    assert (together.denoised, together.guided, together.classified) == (9, 50, 11)


def test_what_is_wrong_with_a_model_is_said_before_the_run(tmp_path: Path) -> None:
    class Bad(nn.Module):
        def __init__(self, classes: int, value: float) -> None:
            super().__init__()
            self.classes, self.value = classes, value

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), self.classes), self.value)

    plugins.model("test/seven")(lambda: Bad(7, 0.0))
    plugins.model("test/nan")(lambda: Bad(10, float("nan")))
    plugins.model("test/string")(lambda: "weights")
    for name, message in [("seven", r"10 classes"), ("nan", "NaN"), ("string", "must return a torch.nn.Module")]:
        changes = {"models": (f"test/{name}",), "methods": ("default",), "denoiser": None}
        with pytest.raises(HarnessError, match=message):
            run_small(tmp_path, changes)
    assert not list(tmp_path.rglob("*.json"))


def test_what_is_wrong_with_a_method_is_said(tmp_path: Path) -> None:
    """Before the run where one image shows it, and never as a number in a table."""
    plugins.method("test/undeclared")(lambda: lambda views, classifier: [*views.denoised((0, 50))][1].flatten(1))
    plugins.method("test/logits")(lambda: lambda views, classifier: classifier(views.original()))
    plugins.method("test/shape")(lambda: lambda views, classifier: classifier(views.original()).softmax(-1)[:, 0])
    plugins.method("test/crash")(lambda: lambda views, classifier: 1 / 0)
    for name, message in [
        ("undeclared", "denoiser=True"),
        ("logits", "probabilities"),
        ("shape", r"not \(B, K\)"),
        ("crash", "ZeroDivisionError"),
    ]:
        with pytest.raises(HarnessError, match=message):
            run_small(tmp_path, {"models": ("digits/resnet",), "methods": (f"test/{name}",), "denoiser": None})


def test_a_method_is_counted_on_images_of_the_data(tmp_path: Path) -> None:
    def top3(views: Views, classifier: Classifier) -> torch.Tensor:
        p = classifier(F.pad(views.original(), (4, 4, 4, 4), mode="reflect")[..., 4:-4, 4:-4]).softmax(-1)
        return p / p.topk(3).values.sum(1, keepdim=True).clamp(min=1)

    plugins.method("test/top3")(lambda: top3)
    assert run_small(tmp_path, {"models": ("digits/resnet",), "methods": ("test/top3",), "denoiser": None})


def test_conditions_may_have_data_of_their_own(tmp_path: Path) -> None:
    """600 test images under one condition, 1,197 training images under the other; a changed suite is another run."""
    file = tmp_path / "both.py"
    file.write_text(
        """
from harness.data import open_dataset
from harness.plugins import suite
from harness.suites.bases.covariate_shift import CovariateShift
from harness.types import Condition

@suite("both")
class Both(CovariateShift):
    name, version, dataset = "both", 1, "digits"

    def conditions(self):
        return [Condition("test", "test"), Condition("train", "train")]

    def open(self, condition, seed):
        return open_dataset("digits", condition.name)

    def summarise(self, rows):
        return [], []
"""
    )
    plugins.discover(file)
    changes = {"suite": "both", "models": ("digits/resnet",), "methods": ("default",), "denoiser": None, "limit": 0}
    (entry,) = run_small(tmp_path / "out", {**changes, "every": 3, "tile": 100})
    assert len(entry.rows()["id"]) == 200 + 399
    assert entry.status == "partial" and entry.coverage == "599 of 1797 images (every 3rd)"
