"""Scoring of images from elsewhere: the numbers of the metrics alone, from archives, folders and statistics."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import harness
from torch import Tensor

from harness import plugins
from harness.base.errors import Notice
from harness.data import ArrayDataset
from harness.generation.score import features, memory, scoring
from harness.generation.score.extractors import Extractor, find_extractor
from harness.generation.score.features import features_of
from harness.generation.score.images import of_dataset, open_set
from harness.generation.score.scoring import ScoreSpec, score
from harness.metrics.generation.kernel import kid
from harness.metrics.generation.moments import frechet_distance, moments
from harness.metrics.generation.neighbours import neighbours
from harness.metrics.generation.scores import METRICS
from harness.models.published.locate import PublishedFile, PublishedWeights, WeightFiles
from harness.types import HarnessError, Weights

WIDTH = 4


def means(images: Tensor) -> Tensor:
    """Features (B, 4): means of the quarters of the grey image."""
    return images.mean(1).reshape(len(images), WIDTH, -1).mean(2) * 10


TOY = Extractor("toy", "0" * 64, WIDTH, means, lambda values: values * 3)
INCEPTION = Extractor("inception", "6726825d" + "0" * 56, WIDTH, means, lambda values: values * 3, published=True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extractors `toy` and `published`, which need no network."""
    monkeypatch.setattr(
        scoring, "find_extractor", lambda text, *more, **places: {"toy": TOY, "published": INCEPTION}[text]
    )


def archive(path: Path, seed: int, count: int = 40, **more: Any) -> tuple[str, np.ndarray]:
    """An archive of random images of various brightness, and their features."""
    rng = np.random.default_rng(seed)
    pixels = (rng.uniform(0.2, 1, (count, 1, 1, 1)) * rng.integers(0, 256, (count, 8, 8, 3))).astype(np.uint8)
    np.savez(path, arr_0=pixels, **more)
    return str(path), means(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).numpy()


@pytest.mark.usefixtures("toy")
def test_the_numbers_are_those_of_the_metrics(tmp_path: Path) -> None:
    samples, x = archive(tmp_path / "a.npz", 0)
    reference, y = archive(tmp_path / "b.npz", 1, 50)
    record = score(ScoreSpec(samples, reference, ("toy",), dataset=""))
    values = {row.metric.name: row.metric.value for row in record.extractors[0].rows}
    assert values["fd[toy]"] == pytest.approx(frechet_distance(moments(x), moments(y)), rel=1e-9)
    assert values["kid[toy]"] == pytest.approx(kid(x, y).value, rel=1e-9)
    near = neighbours(x, y)
    assert values["density[toy]"] == near.density.value
    assert values["coverage[toy]"] == near.coverage.value
    assert list(values) == [f"{name}[toy]" for name in METRICS]
    assert record.floor is None and record.reference is not None and record.reference.n == 50


@pytest.mark.usefixtures("toy")
def test_statistics_alone_allow_the_frechet_distances_and_say_what_is_left_out(tmp_path: Path) -> None:
    samples, x = archive(tmp_path / "a.npz", 0)
    target = moments(np.random.default_rng(2).normal(size=(300, WIDTH)))
    np.savez(tmp_path / "s.npz", mu=target.mean, sigma=target.covariance, mu_s=np.zeros(2))
    record = score(ScoreSpec(samples, str(tmp_path / "s.npz"), ("published",), dataset=""))
    scores = record.extractors[0]
    assert [row.metric.name for row in scores.rows] == ["fid", "fid_infinity", "inception_score[inception]"]
    assert scores.rows[0].metric.value == pytest.approx(frechet_distance(moments(x), target), rel=1e-9)
    assert set(scores.left_out) == {
        f"{name}[inception]" for name in ("kid", "precision", "recall", "density", "coverage", "memorised")
    }
    assert "statistics (mu, sigma) alone" in scores.left_out["recall[inception]"]
    assert record.statistics and record.reference is None
    with pytest.raises(HarnessError, match="holds statistics of Inception features alone, and toy has others"):
        score(ScoreSpec(samples, str(tmp_path / "s.npz"), ("toy",), dataset=""))


@pytest.mark.usefixtures("toy")
def test_a_reference_archive_gives_its_statistics_to_inception_and_its_images_to_all(tmp_path: Path) -> None:
    samples, x = archive(tmp_path / "a.npz", 0)
    target = moments(np.random.default_rng(2).normal(size=(300, WIDTH)))
    reference, y = archive(tmp_path / "r.npz", 1, 30, mu=target.mean, sigma=target.covariance)
    published, toy = score(ScoreSpec(samples, reference, ("published", "toy"), dataset="")).extractors
    values = [{row.metric.name: row.metric.value for row in scores.rows} for scores in (published, toy)]
    assert values[0]["fid"] == pytest.approx(frechet_distance(moments(x), target), rel=1e-9)
    assert values[1]["fd[toy]"] == pytest.approx(frechet_distance(moments(x), moments(y)), rel=1e-9)
    precision = neighbours(x, y).precision.value
    assert values[0]["precision[inception]"] == values[1]["precision[toy]"] == precision


@pytest.mark.usefixtures("toy")
def test_of_all_metrics_those_that_need_more_images_are_left_out_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, _ = archive(tmp_path / "a.npz", 0, 12)
    reference, _ = archive(tmp_path / "b.npz", 1)
    wide = replace(TOY, dimension=12)
    monkeypatch.setattr(scoring, "find_extractor", lambda text, *more, **places: wide)
    (scores,) = score(ScoreSpec(samples, reference, ("toy",), dataset="")).extractors
    assert (
        "it needs 13 images in 12 dimensions, better ten times as many, and here are 12" in scores.left_out["fd[toy]"]
    )
    assert "fd_infinity[toy]" in scores.left_out
    assert {"kid[toy]", "coverage[toy]"} <= {row.metric.name for row in scores.rows}


@pytest.mark.usefixtures("toy")
def test_sets_that_do_not_fit_are_refused_with_one_message_each(tmp_path: Path) -> None:
    samples, _ = archive(tmp_path / "a.npz", 0)
    few, _ = archive(tmp_path / "few.npz", 1, 4)
    np.savez(tmp_path / "large.npz", np.zeros((9, 16, 16, 3), np.uint8))
    large = str(tmp_path / "large.npz")
    with pytest.raises(HarnessError, match=r"images of 8 x 8 pixels, .* of 16 x 16"):
        score(ScoreSpec(samples, large, ("toy",), dataset=""))
    with pytest.raises(HarnessError, match=r"4 images are too few .* 4 dimensions .*--metric kid"):
        score(ScoreSpec(few, samples, ("toy",), dataset="", metrics=("fd", "kid")))
    assert score(ScoreSpec(few, samples, ("toy",), dataset="", metrics=("kid",))).extractors[0].rows[0].metric.n == 4
    with pytest.raises(HarnessError, match="Unknown metric 'fdi'"):
        score(ScoreSpec(samples, samples, ("toy",), metrics=("fdi",)))
    with pytest.raises(HarnessError, match="--split 'val': must be one of train, test"):
        score(ScoreSpec(samples, "", ("toy",), split="val"))
    with pytest.raises(HarnessError, match="No reference"):
        score(ScoreSpec(samples, "", ("toy",), dataset=""))
    with pytest.raises(HarnessError, match="has no labels for --judge"):
        score(ScoreSpec(samples, samples, ("toy",), dataset="", judge="digits/resnet", metrics=("kid",)))


def test_mistakes_about_the_judge_are_told_before_any_feature_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unasked(images: Tensor) -> Tensor:
        raise AssertionError("the extractor was asked first")

    monkeypatch.setattr(scoring, "find_extractor", lambda text, *more, **places: replace(TOY, features=unasked))
    plugins.model("score/judge")(lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10)))
    unlabelled, _ = archive(tmp_path / "a.npz", 0)
    labelled, _ = archive(tmp_path / "b.npz", 0, arr_1=np.array([*range(10), *[77] * 30]))
    for samples, judge, message in (
        (unlabelled, "score/judge", "has no labels for --judge"),
        (labelled, "score/nobody", "Unknown model 'score/nobody'"),
        (labelled, "score/judge", "has the label 77, and the judge has 10 classes"),
    ):
        with pytest.raises(HarnessError, match=message):
            score(ScoreSpec(samples, unlabelled, ("toy",), dataset="", judge=judge))


def test_memory_of_features_and_their_copies_is_estimated() -> None:
    train, validation = 1_281_167, 50_000
    assert memory.estimated(train + validation, train + validation, 2048, ["fd"]) == 2048 * 4 * (train + validation)
    assert memory.estimated(train + 2 * validation, train + validation, 2048, ["fd", "kid"]) == 2048 * (
        4 * (train + 2 * validation) + 8 * (train + validation)
    )


@pytest.mark.usefixtures("toy")
def test_a_scoring_beyond_the_memory_of_the_machine_is_refused_before_any_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, reference = archive(tmp_path / "a.npz", 0)[0], archive(tmp_path / "b.npz", 1, 60)[0]
    monkeypatch.setattr(memory, "TOLD", 1)
    monkeypatch.setattr(memory, "machine_memory", lambda: 100 * WIDTH * 4)
    with pytest.warns(Notice, match="The 4 features by toy of 100 images take about 0 GB of memory"):
        score(ScoreSpec(samples, reference, ("toy",), dataset="", metrics=("fd",)))
    monkeypatch.setattr(scoring, "features_of", None)
    with pytest.raises(HarnessError, match=r"this machine has 0 GB.*fewer images.*--metric fd, --metric fd_infinity"):
        score(ScoreSpec(samples, reference, ("toy",), dataset="", metrics=("fd", "kid")))


def test_images_of_another_size_than_the_classifier_takes_are_refused(tmp_path: Path) -> None:
    samples, _ = archive(tmp_path / "a.npz", 0)
    with pytest.raises(HarnessError, match="images of 8 x 8 pixels, and digits/resnet takes 32 x 32"):
        score(ScoreSpec(samples, samples, ("digits/resnet",), dataset=""))


def test_features_are_those_of_the_classifier_whatever_the_pieces(
    few: ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = of_dataset(few, "digits")
    extractor = find_extractor("digits/resnet", images)
    assert extractor.dimension == 192
    whole = features_of(images, extractor)
    monkeypatch.setattr(features, "PIECE", 7)
    assert np.array_equal(features_of(images, extractor), whole)
    assert extractor.head is not None
    logits = extractor.head(torch.from_numpy(whole))
    assert (logits.argmax(1) == few.labels).float().mean() > 0.9


def test_features_are_computed_once(few: ArrayDataset) -> None:
    calls = 0

    def counted(images: Tensor) -> Tensor:
        nonlocal calls
        calls += len(images)
        return means(images)

    images = of_dataset(few, "digits")
    first = features_of(images, Extractor("counted", "1", WIDTH, counted))
    assert calls == 40
    assert np.array_equal(features_of(images, Extractor("counted", "1", WIDTH, counted)), first) and calls == 40
    features_of(images, Extractor("counted", "2", WIDTH, counted))
    assert calls == 80


def test_features_with_nan_are_refused(few: ArrayDataset) -> None:
    broken = Extractor("broken", "1", WIDTH, lambda images: means(images) / 0 - means(images) / 0)
    x = features_of(of_dataset(few, "digits"), broken)
    with pytest.raises(HarnessError, match="NaN or infinite"):
        moments(x)


def test_weights_named_by_file_serve_extractor_and_judge(
    few: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published = PublishedWeights(
        name="score-filed", about="", files=[PublishedFile("x.pt")], page="", licence="", format=""
    )

    def build(weight_files: WeightFiles) -> tuple[torch.nn.Module, Weights]:
        seed = published.locate(weight_files).read_text()
        torch.manual_seed(int(seed))
        layers = torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 5), torch.nn.Linear(5, 10)
        return torch.nn.Sequential(*layers), Weights("score-filed", seed * 64, "x.pt")

    plugins.discover()
    plugins.model("score-filed", published=published)(build)
    np.savez(tmp_path / "a.npz", few.pixels.permute(0, 2, 3, 1).numpy(), few.labels.numpy())
    out = tmp_path / "score.json"
    arguments = ["score", str(tmp_path / "a.npz"), "--extractor", "score-filed", "--judge", "score-filed"]
    arguments += ["--metric", "kid", "--device", "cpu", "--out", str(out)]
    code, text = harness(monkeypatch, capsys, *arguments)
    assert code == 2 and "No weights of 'score-filed' here" in text
    for seed in "12":
        (tmp_path / "mine.pt").write_text(seed)
        code, text = harness(monkeypatch, capsys, *arguments, "--weights", f"score-filed={tmp_path / 'mine.pt'}")
        assert code == 0, text
        written = json.loads(out.read_text())
        assert written["extractors"][0]["sha256"] == written["judge"]["sha256"] == seed * 64


def test_the_command_prints_intervals_floor_and_ideal_and_writes_a_record(
    few: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", few.pixels.permute(0, 2, 3, 1).numpy(), few.labels.numpy())
    arguments = ["score", str(tmp_path / "a.npz"), "--metric", "coverage", "--metric", "memorised", "--metric", "kid"]
    arguments += ["--judge", "digits/vit", "--out", str(tmp_path / "score.json"), "--device", "cpu"]
    code, text = harness(monkeypatch, capsys, *arguments)
    assert code == 0, text
    for part in (
        "kid[digits/resnet]",
        "coverage[digits/resnet] (%)",
        "40 real",
        "ideal",
        "accuracy (%)",
        "digits/train, 1197",
    ):
        assert part in text
    written = json.loads((tmp_path / "score.json").read_text())
    (scores,) = written["extractors"]
    (memory,) = (row for row in scores["rows"] if row["metric"]["name"] == "memorised[digits/resnet]")
    assert memory["metric"]["value"] == 1.0  # they are training images
    assert memory["floor"]["n"] == 40 and 0 < memory["ideal"] < 1
    assert written["samples"]["sha256"] == open_set(tmp_path / "a.npz").images.sha256  # type: ignore[union-attr]
    assert scores["sha256"].startswith("0ef39cba")
    code, text = harness(monkeypatch, capsys, "score", str(tmp_path / "none.npz"))
    assert code == 2 and "No file at" in text
