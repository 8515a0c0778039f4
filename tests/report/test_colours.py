"""Colours of classifiers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.report.colours import PALETTE, colours, styles

WITHOUT_RED = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
WITHOUT_GREEN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
WITHOUT_BLUE = [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
"""Linear sRGB as seen without one kind of cones (Machado et al., 2009, table 1)."""


def linear(colour: str) -> np.ndarray:
    share = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    cones = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    axes = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.array(axes) @ np.cbrt(np.clip(np.array(cones) @ np.clip(rgb, 0, 1), 0, None))


def contrast(colour: str, background: str) -> float:
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (colour, background))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "background", "least"), [(0, "#ffffff", 2.9), (1, "#14171a", 3.2)])
def test_every_colour_stands_out_from_its_background(theme: int, background: str, least: float) -> None:
    assert min(contrast(pair[theme], background) for pair in PALETTE) > least - 0.05


@pytest.mark.parametrize("theme", [0, 1])
def test_any_two_colours_stay_apart_without_a_kind_of_cones(theme: int) -> None:
    seen = [np.eye(3), *map(np.array, (WITHOUT_RED, WITHOUT_GREEN, WITHOUT_BLUE))]
    for k, eye in enumerate(seen):
        places = [oklab(eye @ linear(pair[theme])) for pair in PALETTE]
        nearest = min(float(np.linalg.norm(a - b)) for a, b in combinations(places, 2))
        assert nearest > (0.09 if k else 0.17)


def test_a_classifier_has_its_colour_whatever_the_order_and_the_eleventh_is_dashed() -> None:
    names = [f"model {k:02}" for k in range(23)]
    assert colours(reversed(names)) == colours(names) == {name: k % 10 for k, name in enumerate(names)}
    looks = styles([*names, *names])
    assert len(set(looks.values())) == 23
    assert looks["model 09"].dash == 0 and looks["model 10"].dash == 1
