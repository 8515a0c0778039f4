"""Views of a batch: each computed once, the same bits in any batch, with noise that belongs to sample and draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from test_diffusion import SHORT, batch, count_calls, gaussian_data, random_unet
from torch import Tensor, nn

from harness.base import noise
from harness.evaluation.views.batch import BatchViews, view_noise
from harness.evaluation.views.calls import tally
from harness.models.tiles import Tiles
from harness.types import Adaptation, Batch, Classifier, HarnessError, Views


@pytest.mark.parametrize("tile", [4, 8])
@pytest.mark.parametrize("out_channels", [3, 6])
def test_rows_are_bit_equal_at_any_batch_size(tile: int, out_channels: int) -> None:
    denoiser, times = random_unet(out_channels), (0, 100, 400)
    outcomes = {}
    for rows in (slice(0, 1), slice(0, 3), slice(0, 5), slice(2, 5)):
        views = BatchViews(batch(rows), denoiser, Tiles(tile), seed=0)
        pictures = [*views.denoised(times), views.adapted(SHORT)]
        for position, name in enumerate(views.batch.ids):
            row = torch.stack([picture[position] for picture in pictures])
            assert torch.equal(row, outcomes.setdefault(name, row)), name
    assert len(outcomes) == 5


def test_groups_of_four_do_not_see_padding() -> None:
    """The fifth image is a group alone, whatever fills the tile; another tile changes rounding only."""
    denoiser, settings = random_unet(), Adaptation(steps=10, start=3, factor=2, norm="batch4")
    five = BatchViews(batch(slice(0, 5)), denoiser, Tiles(4, multiple=4), seed=0).adapted(settings)
    last = BatchViews(batch(slice(4, 5)), denoiser, Tiles(4, multiple=4), seed=0).adapted(settings)
    assert torch.equal(five[4:], last)
    wide = BatchViews(batch(slice(0, 5)), denoiser, Tiles(8, multiple=4), seed=0).adapted(settings)
    torch.testing.assert_close(five, wide, rtol=0, atol=1e-4)
    own = BatchViews(batch(slice(0, 5)), denoiser, Tiles(4), seed=0).adapted(SHORT)
    torch.testing.assert_close(own[4], five[4], rtol=0, atol=1e-4)
    assert (own[:4] - five[:4]).abs().max() > 1e-2


def test_noise_belongs_to_seed_image_and_time() -> None:
    def denoised(seed: int, time: int) -> Tensor:
        constant = Batch(("a", "b"), torch.full((2, 3, 16, 16), 0.5), torch.zeros(2, dtype=torch.int64))
        return next(BatchViews(constant, gaussian_data(1.0), Tiles(4), seed).denoised((time,)))

    first = denoised(0, 100)
    assert torch.equal(first, denoised(0, 100))
    assert not torch.equal(first, denoised(1, 100))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, denoised(0, 101))


def test_each_view_is_computed_once() -> None:
    denoiser = random_unet()
    calls = count_calls(denoiser)
    views = BatchViews(batch(slice(0, 3)), denoiser, Tiles(4), seed=0)
    assert views.original() is views.batch.images
    (first, again, clean) = views.denoised((50, 50, 0))
    assert first is again
    assert clean is views.batch.images
    assert (views.calls, calls) == (3, [4])
    (later, other, another) = views.denoised((50, 100, 150))
    assert later is first
    assert (views.calls, calls) == (9, [4, 4, 4])  # two times of three images share two tiles
    assert not torch.equal(other, another)
    adapted = views.adapted(SHORT)
    assert views.adapted(Adaptation(10, 3, 2)) is adapted
    assert (views.calls, calls) == (9 + 3 * SHORT.start, [4] * (3 + SHORT.start))
    views.adapted(Adaptation(10, 4, 2))
    assert views.calls == 9 + 3 * 3 + 3 * 4


def test_times_computed_together_or_apart_are_the_same() -> None:
    denoiser = random_unet()
    together = BatchViews(batch(slice(0, 3)), denoiser, Tiles(4), seed=0)
    apart = BatchViews(batch(slice(0, 3)), denoiser, Tiles(4), seed=0)
    for time, expected in zip((400, 50), together.denoised((400, 50)), strict=True):
        assert torch.equal(next(apart.denoised((time,))), expected)


def test_draws_of_a_view_are_independent_and_each_is_computed_once() -> None:
    denoiser = random_unet()
    calls = count_calls(denoiser)
    views = BatchViews(batch(slice(0, 3)), denoiser, Tiles(4), seed=0)
    (usual, clean), (fresh, same) = views.denoised((50, 0)), views.denoised((50, 0), draw=1)
    assert clean is same is views.batch.images
    assert not torch.equal(usual, fresh) and views.calls == 6
    assert next(views.denoised((50,))) is usual and next(views.denoised((50,), draw=1)) is fresh
    assert (views.calls, calls) == (6, [4, 4])
    adapted, other = views.adapted(SHORT), views.adapted(SHORT, draw=2)
    assert not torch.equal(adapted, other)
    assert views.adapted(SHORT, draw=2) is other and views.adapted(SHORT) is adapted
    assert views.calls == 6 + 2 * 3 * SHORT.start


def test_noise_of_a_draw_belongs_to_it_alone_and_that_of_draw_0_to_older_records() -> None:
    key: dict[str, Any] = {"seed": 0, "purpose": "denoise"}
    first = view_noise((3, 4, 4), **key, ids=("a", "b"), step=50)
    assert torch.equal(first, noise.gaussian((3, 4, 4), **key, samples=("a", "b"), draw=50))
    draws = [view_noise((3, 64, 64), **key, ids=("a",), step=50, draw=draw).flatten() for draw in range(3)]
    correlations = torch.corrcoef(torch.stack(draws)) - torch.eye(3)
    assert correlations.abs().max() < 5 / draws[0].numel() ** 0.5


def test_a_method_under_fresh_noise_never_meets_its_own_draws() -> None:
    views = BatchViews(batch(slice(0, 3)), random_unet(), Tiles(4), seed=0)
    usual, fresh = views.drawn(0), views.drawn(1)
    assert usual.original() is fresh.original() is views.batch.images
    assert next(usual.denoised((50,))) is next(views.denoised((50,)))
    assert next(usual.denoised((50,), draw=1)) is next(views.denoised((50,), draw=1))
    shown = [next(drawn.denoised((50,), draw=k)) for drawn in (usual, fresh) for k in (0, 1)]
    shown += [drawn.adapted(SHORT) for drawn in (usual, fresh)]
    assert not any(torch.equal(a, b) for k, a in enumerate(shown) for b in shown[:k])
    with pytest.raises(HarnessError, match="without a diffusion time"):
        fresh.restored()


def test_views_without_a_denoiser() -> None:
    views = BatchViews(batch(slice(0, 3)), None, Tiles(4), seed=0)
    assert next(views.denoised((0,))) is views.batch.images
    with pytest.raises(HarnessError, match="--denoiser"):
        next(views.denoised((50,)))
    with pytest.raises(HarnessError, match="--denoiser"):
        views.adapted(SHORT)


def test_views_refuse_times_outside_the_schedule() -> None:
    with pytest.raises(HarnessError, match="1000"):
        next(BatchViews(batch(slice(0, 3)), gaussian_data(1.0), Tiles(4), seed=0).denoised((1000,)))


def test_adaptation_survives_a_halving_of_its_groups() -> None:
    """The tile stays a multiple of four, so that the same images share a norm."""
    settings = Adaptation(steps=10, start=3, factor=2, norm="batch4")
    denoiser, tiles = random_unet(), Tiles(8, multiple=4)
    expected = BatchViews(batch(slice(0, 5)), denoiser, Tiles(8, multiple=4), seed=0).adapted(settings)

    def refuse(_: nn.Module, args: tuple[Any, ...]) -> None:
        if len(args[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    denoiser.network.register_forward_pre_hook(refuse)
    halved = BatchViews(batch(slice(0, 5)), denoiser, tiles, seed=0).adapted(settings)
    assert (tiles.halved, tiles.size) == (1, 4)
    torch.testing.assert_close(halved, expected, rtol=0, atol=1e-4)


def test_a_method_that_averages_draws_is_counted_with_all_of_them() -> None:
    @dataclass(frozen=True)
    class Averaging:
        def __call__(self, views: Views, classifier: Classifier) -> Tensor:
            shown = [next(views.denoised((50,), draw)) for draw in range(3)]
            shown += [views.adapted(SHORT, draw) for draw in range(2)]
            return sum(classifier(x).softmax(-1) for x in [*shown, *views.denoised((0,), 7)])  # type: ignore

    cost = tally([Averaging()], torch.rand(1, 3, 16, 16), 10)
    assert (cost.times, cost.denoised, cost.guided, cost.classified) == ((50,), 3, 2 * SHORT.start, 6)
