"""The out-of-distribution companions of digits: what is in them, what is not, and that only their content gives them
away.
"""

from __future__ import annotations

import hashlib
import socket
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from harness import plugins
from harness.data import ArrayDataset, open_dataset
from harness.registry.datasets import ood_digits
from harness.types import HarnessError

SETS = {
    "digits-letters": ("test", 319),
    "digits-symbols": ("test", 330),
    "digits-greek": ("val", 223),
    "digits-patches": ("test", 385),
    "digits-textures": ("test", 192),
    "digits-scrambled": ("test", 600),
}
GLYPHS = ("digits-letters", "digits-symbols", "digits-greek")


def build(name: str) -> ArrayDataset:
    data = open_dataset(name, SETS[name][0])
    assert isinstance(data, ArrayDataset)
    return data


def grey(data: ArrayDataset) -> np.ndarray:
    """(N, 32, 32) of 0..255."""
    return data.pixels[:, 0].numpy().astype(np.float64)


def drawn(name: str) -> set[str]:
    """The characters that a set shows, by its ids."""
    return {chr(int(i.rpartition("U+")[2], 16)) for i in build(name).ids}


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    data = open_dataset("digits", "test")
    assert isinstance(data, ArrayDataset)
    return grey(data)


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_a_fair_companion_of_digits(name: str) -> None:
    expected = SETS[name][1]
    data, reference = build(name), open_dataset("digits", "test")
    # A font of another version may draw two characters alike, or a photograph's patch a little flatter.
    assert abs(len(data.ids) - expected) <= 10
    assert len(data.ids) == len(set(data.ids)) == len(data.pixels) == len(data.labels)
    assert all(i.startswith(name.removeprefix("digits-") + "/") and i.isascii() for i in data.ids)
    assert list(data.ids) == sorted(data.ids, key=lambda i: hashlib.sha256(i.encode()).digest())
    assert data.labels.dtype == torch.int64 and (data.labels == -1).all()
    assert data.pixels.dtype == torch.uint8 and data.pixels.shape[1:] == (3, 32, 32)
    assert (data.pixels == data.pixels[:, :1]).all()
    assert len({p.numpy().tobytes() for p in data.pixels}) == len(data.ids)
    assert (data.geometry, data.num_classes, data.name) == (reference.geometry, reference.num_classes, name)
    batch = data.read([0, 2])
    assert batch.ids == (data.ids[0], data.ids[2]) and 0 <= batch.images.min() < batch.images.max() <= 1


@pytest.mark.parametrize("name", SETS)
def test_another_split_is_refused(name: str) -> None:
    with pytest.raises(HarnessError, match=f"{name}.*'train'.*{SETS[name][0]}"):
        open_dataset(name, "train")


def test_no_two_sets_are_the_same_or_share_an_image() -> None:
    assert len({build(name).sha256 for name in SETS}) == len(SETS)
    for one, other in combinations(SETS, 2):
        assert not {p.numpy().tobytes() for p in build(one).pixels} & {p.numpy().tobytes() for p in build(other).pixels}


@pytest.mark.parametrize("name", SETS)
def test_a_second_build_needs_no_network_and_is_equal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a data set asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("skimage.data._fetchers._fetch", refuse)
    again = plugins.dataset[name].build.__wrapped__(SETS[name][0])
    assert again is not build(name) and again.sha256 == build(name).sha256


def test_characters_are_disjoint_and_none_is_left_out_in_vain() -> None:
    shown = {name: drawn(name) for name in GLYPHS}
    excluded = "".join(ood_digits.LEFT_OUT.values())
    for one, other in combinations(GLYPHS, 2):
        assert not shown[one] & shown[other]
    assert not set(excluded) & set().union(*shown.values())
    assert len(excluded) == len(set(excluded))
    assert set(excluded) <= set(ood_digits.LATIN + ood_digits.GREEK + ood_digits.SYMBOLS)
    assert set("OoIlSsZzBb") <= set(excluded)
    assert shown["digits-letters"] == set(ood_digits.characters(ood_digits.LATIN))


@pytest.mark.parametrize("name", GLYPHS)
def test_glyphs_fill_the_field_as_digits_do(name: str, digits: np.ndarray) -> None:
    """Digits touch the first and last row of blocks, cover about six of eight columns, and have much the same ink."""
    glyphs = grey(build(name))
    blocks = [images.reshape(-1, 8, 4, 8, 4).mean((2, 4)) for images in (glyphs, digits)]
    edge = [[np.median(b[:, row].max(1)) for row in (0, 7)] for b in blocks]
    assert np.allclose(edge[0], edge[1], rtol=0.35)
    height, width = ([(b.max(axis) > 24).sum(1).mean() for b in blocks] for axis in (2, 1))
    assert height[0] == pytest.approx(height[1], abs=0.4) and width[0] == pytest.approx(width[1], abs=0.5)
    assert glyphs.mean() == pytest.approx(digits.mean(), rel=0.08)
    assert glyphs.mean((1, 2)).std() < 1.5 * digits.mean((1, 2)).std()


@pytest.mark.parametrize("name", GLYPHS)
@pytest.mark.parametrize("statistic", [np.mean, np.std, np.max], ids=lambda f: f.__name__)
def test_no_simple_statistic_gives_the_near_sets_away(name: str, statistic: Any, digits: np.ndarray) -> None:
    glyphs = grey(build(name))
    outside = np.r_[np.zeros(len(digits)), np.ones(len(glyphs))]
    assert 0.3 < roc_auc_score(outside, statistic(np.concatenate([digits, glyphs]), axis=(1, 2))) < 0.7


def test_blocks_are_counted() -> None:
    black = np.zeros((32, 32), dtype=bool)
    black[:4, 4:8] = black[30, 31] = True
    counts = ood_digits.count_blocks(black)
    assert counts[0, 1] == 16 and counts[7, 7] == 1 and counts.sum() == 17


@pytest.mark.parametrize("name", ["digits-patches", "digits-textures"])
def test_patches_show_something_and_come_from_every_source(name: str) -> None:
    data = build(name)
    assert grey(data).std((1, 2)).min() >= ood_digits.FLAT
    files = {i.split("/")[1] for i in data.ids}
    expected = {*ood_digits.PHOTOGRAPHS, "china.jpg", "flower.jpg"} if name == "digits-patches" else ood_digits.TEXTURES
    assert files == set(expected)


def test_a_missing_photograph_is_no_download() -> None:
    with pytest.raises(HarnessError, match=r"eagle\.png is missing"):
        ood_digits._shipped("eagle.png")


def test_scrambling_keeps_amplitudes_and_nothing_else(digits: np.ndarray) -> None:
    ids = tuple(f"image-{i}" for i in range(8))
    images = digits[:8]
    exact = ood_digits.scramble(images, ids)
    assert np.allclose(np.abs(np.fft.fft2(exact)), np.abs(np.fft.fft2(images)), atol=1e-6)
    assert np.allclose(exact.mean((1, 2)), images.mean((1, 2)))
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(exact, images, strict=True)]
    assert np.abs(correlation).mean() < 0.3
    assert not np.allclose(ood_digits.scramble(images, tuple(reversed(ids))), exact)


def test_scrambling_one_image_does_not_depend_on_the_others(digits: np.ndarray) -> None:
    together = ood_digits.scramble(digits[:5], tuple("abcde"))
    assert np.array_equal(ood_digits.scramble(digits[3:4], ("d",))[0], together[3])


def test_scrambled_digits_are_the_test_digits(digits: np.ndarray) -> None:
    source, data = open_dataset("digits", "test"), build("digits-scrambled")
    assert {i.removeprefix("scrambled/") for i in data.ids} == set(source.ids)
    at = list(source.ids).index(data.ids[0].removeprefix("scrambled/"))
    expected = np.clip(np.round(ood_digits.scramble(digits[at : at + 1], data.ids[:1])), 0, 255)
    assert np.array_equal(grey(data)[0], expected[0])
