"""Corruptions of plugins: called with keyed generators, their output checked and rounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import plugins
from harness.base.noise import generators
from harness.data.corruptions import EXTRA, STANDARD, corrupt
from harness.types import HarnessError

IMAGES = (torch.arange(3 * 3 * 9 * 7).reshape(3, 3, 9, 7) % 256).float() / 255
"""Of a size without published constants."""

IDS = ("a", "b", "c")


def speckles(images: Tensor, severity: int, rngs: Any) -> Tensor:
    """Noise keyed by the sample."""
    drawn = torch.stack([torch.from_numpy(rng.random(images.shape[1:])) for rng in rngs])
    return (images + 0.02 * severity * drawn).clamp(0, 1)


def test_the_registry_has_the_15_and_4_with_the_arithmetic_of_the_engine() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert {entry.name for entry in plugins.corruption.entries()} >= {*STANDARD, *EXTRA}
    for name in STANDARD + EXTRA:
        entry = plugins.corruption[name]
        assert entry.summary.endswith(".") and not entry.source
        rngs = generators(0, f"{name}/3", IDS[:2])
        assert torch.equal(entry.build(images, 3, rngs), corrupt(images, name, 3, ids=IDS[:2])), name


def test_a_plugins_corruption_takes_any_size_and_is_rounded_to_8_bits() -> None:
    plugins.corruption("speckles")(speckles)
    made = corrupt(IMAGES, "speckles", 5, ids=IDS)
    assert made.shape == IMAGES.shape and made.dtype == torch.float32
    assert torch.equal(made, (made * 255).round() / 255) and not torch.equal(made, IMAGES)
    expected = speckles(IMAGES, 5, generators(0, "speckles/5", IDS))
    assert float((made - expected).abs().max()) <= 0.5 / 255 + 1e-6


def test_its_random_numbers_belong_to_seed_severity_and_sample() -> None:
    plugins.corruption("speckles")(speckles)
    made = corrupt(IMAGES, "speckles", 5, ids=IDS)
    assert torch.equal(corrupt(IMAGES[1:2], "speckles", 5, ids=IDS[1:2])[0], made[1])
    assert not torch.equal(corrupt(IMAGES, "speckles", 5, ids=IDS, seed=1), made)
    assert not torch.equal(corrupt(IMAGES, "speckles", 5, ids=("d", "e", "f")), made)


def test_a_corruption_that_writes_into_its_images_leaves_the_clean_ones_alone() -> None:
    plugins.corruption("dark")(lambda images, severity, rngs: images.mul_(0.5))
    before = IMAGES.clone()
    assert float(corrupt(IMAGES, "dark", 1, ids=IDS).max()) <= 0.51 and torch.equal(IMAGES, before)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda x, s, r: x * 2, r"'mine' at severity 2 returned values from 0 to \d.*End with images.clamp\(0, 1\)"),
        (lambda x, s, r: x * math.nan, "not finite"),
        (
            lambda x, s, r: x[:, :1],
            r"returned torch.float32 of shape \(3, 1, 9, 7\) for images of shape \(3, 3, 9, 7\)",
        ),
        (lambda x, s, r: (x * 255).byte(), "returned torch.uint8"),
        (lambda x, s, r: None, "returned a NoneType"),
        (lambda x: x, r"failed on images of shape \(3, 3, 9, 7\): TypeError"),
        (lambda x, s, r: x / r, r"TypeError.*\(line \d+ of .*test_corruption_plugins.py\)"),
    ],
)
def test_what_is_no_image_is_explained(build: Callable[..., Any], message: str) -> None:
    plugins.corruption("mine")(build)
    with pytest.raises(HarnessError, match=message):
        corrupt(IMAGES, "mine", 2, ids=IDS)


@pytest.mark.parametrize("name", ["standard", "a,b", "a:b", "a=b", "a b", ""])
def test_a_name_that_no_setting_could_spell_is_refused(name: str) -> None:
    with pytest.raises(HarnessError, match=r"cannot be written on the command line.*is not 'standard'"):
        plugins.corruption(name)(speckles)


def test_a_corruption_cannot_take_the_name_of_a_common_one() -> None:
    with pytest.raises(HarnessError, match="Two corruption plugins are called 'fog'"):
        plugins.corruption("fog")(speckles)
