"""Sparse autoencoders, and analyses from names to records, as users type them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import harness as command

import harness
from harness.analysis import estimate
from harness.analysis.features import AnalyseSpec, analyse, opened
from harness.analysis.scores import METHODS
from harness.analysis.sparse_autoencoder import (
    SparseCodes,
    TopKAutoencoder,
    geometric_median,
    layer_normalised,
    sparse,
    sparse_scores,
    trained,
)
from harness.metrics.intervals import Undefined
from harness.types import HarnessError, Metric, Stage

FEW = SparseCodes((2, 4), width=4, seeds=2, steps=60, batch=32)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of a test stay its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def codes(n: int, seed: int = 0) -> np.ndarray:
    """Features (n, 12) that are sums of two of 20 directions."""
    rng = np.random.default_rng(seed)
    dictionary = np.random.default_rng(9).standard_normal((20, 12))
    chosen = np.stack([rng.permutation(20)[:2] for _ in range(n)])
    return (dictionary[chosen] * rng.uniform(1, 2, (n, 2, 1))).sum(1).astype(np.float32)


def test_the_largest_values_are_chosen_before_negative_ones_are_cut() -> None:
    values = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-4.0, -1.0, -2.0, -3.0]])
    assert sparse(values, 2).tolist() == [[3, 0, 2, 0], [0, 0, 0, 0]]
    assert sparse(torch.tensor([[1.0, -1.0, -2.0]]), 2).tolist() == [[1, 0, 0]]


def test_an_image_s_features_have_mean_zero_and_deviation_one() -> None:
    rows = layer_normalised(torch.randn(5, 30, generator=torch.Generator().manual_seed(0)) * 7 + 3)
    torch.testing.assert_close(rows.mean(1), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(rows.std(1), torch.ones(5), rtol=0, atol=1e-4)
    with pytest.raises(Undefined, match="those of 1 images are all equal"):
        layer_normalised(torch.tensor([[1.0, 1.0], [1.0, 2.0]]))


def test_an_autoencoder_is_its_formula_with_unit_columns_after_every_step() -> None:
    train = layer_normalised(torch.from_numpy(codes(64)))
    model = trained(train, 3, 0, replace(FEW, steps=3))
    torch.testing.assert_close(model.decoder.weight.norm(dim=0), torch.ones(48))
    latents, rebuilt = model(train)
    pre = (train - model.before) @ model.encoder.weight.T + model.bias
    torch.testing.assert_close(latents, sparse(pre, 3))
    torch.testing.assert_close(rebuilt, latents @ model.decoder.weight.T + model.before)
    fresh = TopKAutoencoder(6, 12, 20)
    assert fresh.active == 12
    unit = torch.nn.functional.normalize(fresh.encoder.weight, dim=1)
    torch.testing.assert_close(fresh.decoder.weight.T, unit)


def test_training_lowers_the_error_and_depends_on_the_seed_alone() -> None:
    train, test = codes(256), codes(64, seed=1)
    early, late = (sparse_scores(train, test, 4, 0, replace(FEW, steps=steps)) for steps in (2, 200))
    assert late.normalised_mse < 0.6 * early.normalised_mse < 1
    assert 0 < late.used <= 4 and 0 <= late.dead < 1
    torch.manual_seed(123)
    assert sparse_scores(train, test, 4, 0, replace(FEW, steps=200)) == late
    assert sparse_scores(train, test, 4, 1, replace(FEW, steps=200)) != late


def test_the_median_resists_an_outlier() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [500.0, 500.0]])
    assert float(geometric_median(points).norm()) < 2 < float(points.mean(0).norm())


def test_a_record_has_every_metric_with_its_interval_and_repeats_from_the_cache() -> None:
    spec = AnalyseSpec(("digits/vit",), limit=60, sparse=replace(FEW, steps=5))
    stages: list[Stage] = []
    record = analyse(spec, report=stages.append)
    (model,) = record.models
    assert (record.train.n, record.test.n if record.test else 0, model.dimension) == (60, 60, 96)
    assert set(record.methods) == set(METHODS) and not model.left_out
    metrics: list[Metric] = list(model.metrics)
    named = {(metric.name, metric.condition): metric for metric in metrics}
    assert {"linear_probe_accuracy", "rankme", "participation_ratio", "alignment", "uniformity"} <= {
        m.name for m in metrics
    }
    assert ("pca_classification_dimension", "share=0.95") in named and ("sae_fvu", "k=4") in named
    for metric in metrics:
        low, high = metric.interval
        assert low <= metric.value <= high and metric.n == 60, metric
    assert named["sae_l0", "k=2"].value <= 2
    again = analyse(replace(spec, analyses=("rank",)))
    assert [m for m in metrics if m.name in ("rankme", "participation_ratio")] == list(again.models[0].metrics)
    assert max(stage.done for stage in stages if stage.name.startswith("digits/vit on")) == 60


def test_time_grows_with_images_steps_and_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for whatever is timed, and one more for every step of an autoencoder."""
    monkeypatch.setattr(estimate, "scored", lambda *_: None)
    few = SimpleNamespace(respond=lambda images: (torch.ones(len(images), 4),))
    monkeypatch.setattr(estimate, "TiledClassifier", lambda *_: few)
    monkeypatch.setattr(estimate, "_seconds", lambda call: value if isinstance(value := call(), float) else 1.0)
    monkeypatch.setattr(estimate, "sparse_scores", lambda a, b, k, seed, settings: float(settings.steps))
    spec = AnalyseSpec(("digits/vit",), sparse=FEW)
    train, test = opened(spec)
    assert (len(train.ids), len(test.ids)) == (1197, 600)
    expected = estimate.estimate(spec, train, test)
    times = {"probe": 1197 / 200, "pca": 1197 / 200, "rank": 3, "sphere": 9, "sae": 2 * 2 * 60}
    assert expected.analyses == pytest.approx(times) and expected.features == pytest.approx(17.97)
    assert expected.seconds == pytest.approx(17.97 + sum(times.values()))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"models": ()}, "Name a classifier"),
        ({"models": ("a", "a")}, "names one twice"),
        ({"analyses": ("prob",)}, "probe"),
        ({"shares": (1.5,)}, r"must lie in \(0, 1\]"),
    ],
)
def test_a_wrong_specification_is_refused(changes: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(HarnessError, match=message):
        AnalyseSpec(**{"models": ("digits/vit",), **changes})
    with pytest.raises(HarnessError, match="seeds >= 2, not 1"):
        SparseCodes(seeds=1)


def test_the_command_prints_a_table_writes_the_record_and_equals_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "analysis.json"
    words = ("analyse", "features", "digits/vit", "--limit", "40", "--analysis", "sphere", "--device", "cpu")
    code, text = command(monkeypatch, capsys, *words, "--out", str(file))
    assert code == 0 and "uniformity" in text and "digits/vit" in text
    written = json.loads(file.read_text())
    record = harness.analyse("digits/vit", limit=40, analyses=["sphere"], device="cpu", progress=False)
    assert [m["value"] for m in written["models"][0]["metrics"]] == [m.value for m in record.models[0].metrics]
    assert written["models"][0]["sha256"] == record.models[0].sha256
    code, text = command(monkeypatch, capsys, *words[:3], "--dry-run", "--sae-k", "8,x")
    assert code == 2 and "--sae-k '8,x': give whole numbers" in text
    code, text = command(
        monkeypatch, capsys, *words[:3], "--dry-run", *words[-2:], "--analysis", "rank", "--analysis", "sae"
    )
    assert code == 0 and "12 sparse autoencoders of 500 steps" in text
    assert re.search(r"About 0:\d\d:\d\d on this cpu: .* rank 0:.* sae 0:", text), text


def test_a_diffusion_model_s_best_time_is_found_on_training_images(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "times.json"
    words = ("analyse", "denoiser", "digits", "--limit", "60", "--device", "cpu", "--out", str(file))
    code, text = command(monkeypatch, capsys, *words, "--times", "900,10")
    assert code == 0 and "Best time: 10." in text
    written = json.loads(file.read_text())
    assert written["best"] == 10 and [row["time"] for row in written["times"]] == [900, 10]
    assert written["train"]["split"] == "train" and written["times"][0]["accuracy"]["n"] == 60
    code, text = command(monkeypatch, capsys, *words, "--times", "1000")
    assert code == 2 and "time 1000 lies outside" in text
