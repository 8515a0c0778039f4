"""Grids of pictures: whole dots per pixel, blank places, contrast of signed values."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest

from harness.report.figures.grids import DOTS, GAP, picture_grid, signed
from harness.report.figures.style import COLUMN, styled


def printed(figure: Any) -> np.ndarray:
    """The figure's dots (H, W, 3) as uint8, at the resolution of the PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def stripes(rows: int, columns: int, side: int) -> np.ndarray:
    """Pictures (R, C, 3, side, side) of red and blue columns, one pixel each."""
    pictures = np.zeros((rows, columns, 3, side, side))
    pictures[:, :, 0, :, ::2] = pictures[:, :, 2, :, 1::2] = 1
    return pictures


def runs(line: np.ndarray, colour: tuple[int, int, int]) -> list[int]:
    """Lengths of the runs of a colour along a line of dots."""
    return [len(list(group)) for is_it, group in groupby((line == colour).all(1)) if is_it]


@pytest.mark.parametrize("above, beside", [(["", ""], []), (["$x_0$", "a heading"], ["first", r"$\hat{x}_0$"])])
def test_each_pixel_is_a_square_of_whole_dots(above: list[str], beside: list[str]) -> None:
    with styled([]):
        dots = printed(picture_grid(stripes(2, 2, 8), above, beside))
    assert dots.shape[1] == COLUMN * DOTS
    row = next(line for line in dots if runs(line, (255, 0, 0)))
    across = runs(row, (255, 0, 0)) + runs(row, (0, 0, 255))
    assert len(across) == 2 * 8 and len(set(across)) == 1 and across[0] > 40
    column = dots[:, np.flatnonzero((row == (255, 0, 0)).all(1))[0]]
    assert runs(column, (255, 0, 0)) == [8 * across[0]] * 2


def test_large_pictures_are_averaged_down() -> None:
    with styled([]):
        dots = printed(picture_grid(stripes(1, 4, 600), [""] * 4, width=1))
    inner = dots[dots.shape[0] // 2, 20:60].astype(int)
    assert np.abs(inner - (128, 0, 128)).max() <= 20


def test_a_picture_of_nan_leaves_its_place_blank_and_others_are_clipped() -> None:
    pictures = np.zeros((1, 2, 3, 4, 4))
    pictures[0, 0] = np.nan
    pictures[0, 1, 1] = 7.5
    with styled([]):
        dots = printed(picture_grid(pictures, ["", ""]))
    assert (dots[:, : dots.shape[1] // 2 - GAP] == 255).all()
    assert (dots == (0, 255, 0)).all(2).mean() > 0.4


def test_lines_below_pictures_make_room_for_themselves() -> None:
    with styled([]):
        plain = picture_grid(stripes(2, 2, 8), ["", ""])
        lined = picture_grid(stripes(2, 2, 8), ["", ""], below=[["one", ""], ["a line that is broken in two", ""]])
    assert lined.get_figheight() > plain.get_figheight() + 4 * 6 / 72


def test_signed_values_are_grey_at_zero_and_clipped_alike_on_both_sides() -> None:
    values = np.linspace(-1, 3, 3 * 25).reshape(1, 3, 5, 5)
    pictures, limits = signed(values, 90)
    assert limits == pytest.approx(np.percentile(np.abs(values), 90))
    np.testing.assert_allclose(pictures, np.clip(0.5 + values / (2 * limits[0]), 0, 1))
    blank, limits = signed(np.zeros((2, 3, 4, 4)))
    assert (blank == 0.5).all() and (limits == 0).all()
