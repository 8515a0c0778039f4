"""Metrics of features: values of the recording, closed forms, and intervals."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import RECORDED_FOLDER
from numpy.typing import NDArray

from harness.metrics.features.hypersphere import alignment, uniformity
from harness.metrics.features.jackknife import jackknife
from harness.metrics.features.probes import (
    ProbeData,
    cross_validated,
    held_out,
    linear_probe,
    pca_classification_dimension,
)
from harness.metrics.features.reconstruction import normalised_mse, unexplained_variance
from harness.metrics.features.spectrum import participation_ratio, pca_dimensions, rankme
from harness.metrics.intervals import Undefined


@cache
def recorded() -> tuple[Any, NDArray[np.float64]]:
    """The recording, and the penultimate features (64, 384) of its network in float64."""
    file = np.load(RECORDED_FOLDER / "features.npz")
    w = {name: torch.from_numpy(file[f"w/{name}"]).double() for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
    x = torch.from_numpy(file["images"]).double() / 255
    x = F.silu(F.conv2d(x, w["0.weight"], w["0.bias"], padding=1))
    return file, F.silu(F.conv2d(x, w["2.weight"], w["2.bias"], stride=2, padding=1)).flatten(1).numpy()


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def clouds(n: int, seed: int, apart: float = 6.0, dimensions: int = 10) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features of three classes that differ along two of the dimensions, and the labels."""
    labels = np.arange(n) % 3
    centres = np.zeros((3, dimensions))
    centres[:, :2] = apart * np.array([[1, 0], [-0.5, 0.87], [-0.5, -0.87]])
    return centres[labels] + normal(n, dimensions, seed=seed), labels


def test_spectra_are_those_of_the_recording() -> None:
    file, features = recorded()
    assert rankme(features) == pytest.approx(float(file["value/rankme"]), rel=1e-9)
    assert rankme(features - features.mean(0)) == pytest.approx(float(file["value/rankme_centered"]), rel=1e-9)
    assert participation_ratio(features) == pytest.approx(float(file["value/participation_ratio"]), rel=1e-9)
    dimensions = [pca_dimensions(features, share / 100) for share in (90, 95, 99)]
    assert dimensions == [int(file[f"value/pca_dims_{share}"]) for share in (90, 95, 99)]


def test_alignment_and_uniformity_are_those_of_the_recording_and_of_all_pairs() -> None:
    file, features = recorded()
    assert alignment(features, file["labels"]) == pytest.approx(float(file["value/alignment_same_class"]), rel=1e-9)
    assert uniformity(features) == pytest.approx(float(file["value/uniformity_t2"]), rel=1e-9)
    few, labels = normal(7, 3), np.array([0, 0, 0, 1, 1, 2, 2])
    unit = few / np.linalg.norm(few, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(7) for j in range(i)]
    squares = {(i, j): float(((unit[i] - unit[j]) ** 2).sum()) for i, j in pairs}
    same = [squares[i, j] for i, j in pairs if labels[i] == labels[j]]
    assert alignment(few, labels) == pytest.approx(np.mean(same))
    assert uniformity(few, t=3) == pytest.approx(np.log(np.mean(np.exp(-3 * np.array(list(squares.values()))))))


def test_equal_singular_values_have_full_rank_and_one_direction_has_rank_one() -> None:
    assert rankme(np.eye(6)) == pytest.approx(6, abs=1e-4)
    assert rankme(np.outer(normal(9), normal(4))) == pytest.approx(1, abs=1e-4)
    assert participation_ratio(np.vstack([np.eye(6), -np.eye(6)])) == pytest.approx(6)


def test_reconstruction_errors_are_their_formulas() -> None:
    x, y = normal(8, 5), normal(8, 5, seed=1)
    errors = [((x[i] - y[i]) ** 2).sum() / (x[i] ** 2).sum() for i in range(8)]
    assert normalised_mse(x, y) == pytest.approx(np.mean(errors))
    assert normalised_mse(x, 0 * x) == 1 and unexplained_variance(x, x) == 0
    assert unexplained_variance(x, np.tile(x.mean(0), (8, 1))) == pytest.approx(1)


def test_the_jackknife_of_a_mean_is_student_s_interval_of_group_means() -> None:
    values = normal(400)
    low, high = jackknife(lambda places: float(values[places].mean()), 400)
    means = np.array([values[group::20].mean() for group in range(20)])
    half = 2.0930240544 * means.std(ddof=1) / np.sqrt(20)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=1e-8)
    with pytest.raises(Undefined, match="at least 20 images, and here are 19"):
        jackknife(lambda places: 0.0, 19)


def test_a_probe_separates_classes_and_finds_nothing_in_noise() -> None:
    train, labels = clouds(150, 1)
    test, truth = clouds(90, 2)
    data = ProbeData(train, labels, test, truth)
    probe = linear_probe(data)
    assert probe.accuracy > 0.97 and probe.right.shape == (90,)
    scaled = ProbeData(train * 100 + 7, labels, test * 100 + 7, truth)
    assert np.array_equal(linear_probe(scaled).right, probe.right)
    blind = linear_probe(ProbeData(normal(150, 10, seed=3), labels, normal(90, 10, seed=4), truth))
    assert blind.accuracy < 0.6
    assert cross_validated(train, labels).mean() > 0.95 and cross_validated(normal(90, 5), truth).mean() < 0.6
    with pytest.raises(Undefined, match="two classes, and two images of each"):
        linear_probe(ProbeData(train, 0 * labels, test, truth))


def test_held_out_images_are_a_fifth_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 10, 2])
    chosen = held_out(labels, 0)
    assert [int(chosen[labels == k].sum()) for k in range(3)] == [10, 2, 1]
    assert not np.array_equal(chosen, held_out(labels, 1))


def test_three_classes_in_a_plane_need_two_components() -> None:
    data = ProbeData(*clouds(150, 1), *clouds(90, 2))
    found = pca_classification_dimension(data, 0.95)
    assert found.value == 2 and found.interval == (2, 2)
    assert found.reached >= 0.95 * found.whole
    assert pca_classification_dimension(data, 0.3).value == 1
