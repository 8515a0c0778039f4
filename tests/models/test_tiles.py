"""Tiles: kept on the device as long as their tensors live, and halved where memory runs out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import SMALL
from torch import Tensor

from harness.evaluation.prepare import prepare
from harness.models.tiles import TileCache, TiledClassifier, Tiles
from harness.types import HarnessError


class Scarce:
    """Doubles its input, and runs out of memory above `rows` rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.seen: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        if len(x) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * x


def test_out_of_memory_halves_the_tile_and_goes_on() -> None:
    function, tiles, rows = Scarce(4), Tiles(8), torch.arange(11.0)
    assert torch.equal(tiles(function, rows), 2 * rows)
    assert (tiles.halved, tiles.size, function.seen) == (1, 4, [8, 4, 4, 4])
    assert torch.equal(tiles(function, rows), 2 * rows)
    assert tiles.halved == 1


def test_kept_tiles_are_sent_once_and_survive_a_network_that_writes_into_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, rows, sent = Tiles(4), torch.arange(11.0), []
    send = Tiles._send
    monkeypatch.setattr(Tiles, "_send", lambda self, r, start: sent.append(start) or send(self, r, start))
    for function in (lambda x: 2 * x, lambda x: x.mul_(2), lambda x: x.data.mul_(2), lambda x: 2 * x):
        assert torch.equal(tiles(function, rows, keep=True), 2 * torch.arange(11.0))
    assert sent == [0, 4, 8] and torch.equal(rows, torch.arange(11.0))
    assert rows in tiles.cache
    del rows
    assert not tiles.cache, "they live as long as what they are made of"


def test_out_of_memory_first_gives_up_what_was_kept() -> None:
    tiles, rows, other = Tiles(8), torch.arange(11.0), torch.arange(3.0)
    tiles(lambda x: 2 * x, other, keep=True)
    full = iter([True])

    def function(x: Tensor) -> Tensor:
        if next(full, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * x

    assert torch.equal(tiles(function, rows, keep=True), 2 * rows) and tiles.halved == 0 and other not in tiles.cache
    function = Scarce(4)
    assert torch.equal(tiles(function, rows, keep=True), 2 * rows)
    assert (tiles.halved, tiles.size, function.seen[:3]) == (1, 4, [8, 8, 4])


def test_tiles_of_one_job_give_up_what_any_of_them_kept() -> None:
    """The memory of a device is one: where the denoiser runs out of it, the classifiers' tiles go first."""
    cache = TileCache()
    classifiers, denoiser, apart = Tiles(4, cache=cache), Tiles(8, cache=cache), Tiles(4)
    rows, others = torch.arange(11.0), torch.arange(3.0)
    classifiers(lambda x: 2 * x, rows, keep=True)
    apart(lambda x: 2 * x, others, keep=True)
    assert rows in cache and rows in denoiser.cache and len(cache) == 1
    full = iter([True])

    def function(x: Tensor) -> Tensor:
        if next(full, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 3 * x

    assert torch.equal(denoiser(function, rows), 3 * rows) and denoiser.halved == 0
    assert not cache and others in apart.cache, "tiles of another job stay"


@pytest.mark.parametrize(("size", "multiple", "tried"), [(1, 1, [1]), (4, 1, [4, 2, 1]), (8, 4, [8, 4])])
def test_the_smallest_tile_that_does_not_fit_is_an_error(size: int, multiple: int, tried: list[int]) -> None:
    function = Scarce(0)
    with pytest.raises(HarnessError, match="Out of memory"):
        Tiles(size, multiple=multiple)(function, torch.arange(11.0))
    assert function.seen == tried


def test_a_job_shares_one_cache_and_counts_every_halving(tmp_path: Path) -> None:
    job = prepare(SMALL, tmp_path)
    for pair in job.pairs:
        assert isinstance(pair.classifier, TiledClassifier) and pair.classifier.gradient_tiles is job.gradient_tiles
    assert job.gradient_tiles.size == SMALL.gradient_tile and job.gradient_tiles.dtype == "float32"
    assert job.tiles.cache is job.classifier_tiles.cache is job.gradient_tiles.cache
    job.tiles.halved, job.classifier_tiles.halved, job.gradient_tiles.halved = 1, 2, 4
    assert job.halvings() == 7
