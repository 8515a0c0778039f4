"""Joint coverage of rank sets in simulation: how often all rows' true ranks lie in their sets.

    python studies/intervals/ranks.py > results/ranks.md

Ten minutes on one core. Boards of 3 to 12 rows with known truth, on 60 to 600 images, with rows that tie and rows that
are right on almost the same images. "Here" is what leaderboards print (`harness.metrics.ranking`); beside it stand the
percentiles of bootstrapped ranks, which are often used and promise as much.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.base.noise import generator
from harness.metrics import ranking
from harness.metrics.delong import Components, rank_all
from harness.metrics.ranking import Sample
from harness.report.table import Table, markdown

SIZES = (60, 100, 600)
"""Images per board."""

DRAWS = 300
"""Boards per row of the table."""

MORE, CLOSE = 1_000, 0.965
"""Boards per row where fewer than this share of the first ones were covered."""

RESAMPLES = 200
"""Bootstrap samples of the images for the percentiles of ranks."""

CONDITIONS = 15
"""Conditions of a mean, as in ImageNet-C."""

Array = Any


@dataclass(frozen=True)
class World:
    """A population of boards. truth: of each row; equal numbers tie. draw: (rng, n) to the board's samples."""

    name: str
    truth: Sequence[float]
    draw: Callable[[Any, int], list[Sample]]


def latent(rng: Any, n: int, rows: int, conditions: int, alike: bool) -> Array:
    """(n, rows, conditions) standard normal difficulties.

    alike: half of the variance is the image's, and neighbours, three at a time, share nine tenths of the rest, so that
    they are wrong on almost the same images; otherwise all are independent.
    """
    own = rng.standard_normal((n, rows, conditions))
    if not alike:
        return own
    image = rng.standard_normal((n, 1, 1))
    neighbours = rng.standard_normal((n, (rows + 2) // 3, 1))[:, np.arange(rows) // 3]
    return np.sqrt(0.5) * image + np.sqrt(0.45) * neighbours + np.sqrt(0.05) * own


def accuracies(truth: Sequence[float], conditions: int = 1, *, alike: bool = True, rare: bool = False) -> Any:
    """Boards of accuracies, or of means over conditions.

    rare: half of a row's errors fall on images that it gets wrong under all conditions.
    """
    chance = np.asarray(truth)[None, :, None]

    def draw(rng: Any, n: int) -> list[Sample]:
        share = 1 - (1 - chance) / 2 if rare else chance
        correct = latent(rng, n, len(truth), conditions, alike) < stats.norm.ppf(chance / share if rare else chance)
        if rare:
            correct &= latent(rng, n, len(truth), 1, alike) < stats.norm.ppf(share)
        return [Sample(np.arange(n), correct.mean(axis=2), 1.0)]

    return draw


def detectors(shifts: Sequence[float]) -> Any:
    """Boards of mean AUROCs over two data sets of n images outside, and n in distribution; by the shift of the scores.

    The images in distribution are shared, and so are the difficulties of an image under all detectors.
    """

    def draw(rng: Any, n: int) -> list[Sample]:
        inside = latent(rng, n, len(shifts), 1, True)[:, :, 0] + np.asarray(shifts)
        outside = {name: latent(rng, n, len(shifts), 1, True)[:, :, 0] for name in "ab"}
        rows = [
            Components.of(rank_all(inside[:, k], {name: scores[:, k] for name, scores in outside.items()}, None))
            for k in range(len(shifts))
        ]
        samples = [np.stack([row.id for row in rows], axis=1)]
        for place in range(2):
            placements = np.stack([row.ood[place] for row in rows], axis=1)
            samples.append((placements - placements.mean(axis=0)) / 2)
        return [Sample(np.arange(n), values) for values in samples]

    return draw


FOURS, HIGH = tuple(np.repeat((0.85, 0.8, 0.75, 0.7), 3)), tuple(np.repeat((0.99, 0.98, 0.97, 0.96), 3))

WORLDS = (
    World("12 rows tie at 90 %", (0.9,) * 12, accuracies((0.9,) * 12)),
    World("12 rows tie at 90 %, independent", (0.9,) * 12, accuracies((0.9,) * 12, alike=False)),
    World("12 rows tie at 50 %, independent", (0.5,) * 12, accuracies((0.5,) * 12, alike=False)),
    World("12 rows tie at 99 %", (0.99,) * 12, accuracies((0.99,) * 12)),
    World("four times three tie: 85, 80, 75, 70 %", FOURS, accuracies(FOURS)),
    World("four times three tie: 99, 98, 97, 96 %", HIGH, accuracies(HIGH)),
    World("mean of 15 conditions, 12 tie at 90 %", (0.9,) * 12, accuracies((0.9,) * 12, CONDITIONS)),
    World("mean of 15, 12 tie at 90 %, independent", (0.9,) * 12, accuracies((0.9,) * 12, CONDITIONS, alike=False)),
    World("mean of 15, 99, 98, 97, 96 %", HIGH, accuracies(HIGH, CONDITIONS)),
    World("mean of 15, 12 tie at 99 %, rare images", (0.99,) * 12, accuracies((0.99,) * 12, CONDITIONS, rare=True)),
    World("mean of 15, 12 tie at 90 %, rare images", (0.9,) * 12, accuracies((0.9,) * 12, CONDITIONS, rare=True)),
    World("mean AUROC of two sets, 12 tie at 92 %", (2.0,) * 12, detectors((2.0,) * 12)),
    World("mean AUROC of two sets, three ties each", FOURS, detectors(np.repeat((3.0, 2.6, 2.2, 1.8), 3).tolist())),
    World("3 rows tie at 90 %", (0.9,) * 3, accuracies((0.9,) * 3, alike=False)),
    World("4 rows, mean of 15, tie at 90 %", (0.9,) * 4, accuracies((0.9,) * 4, CONDITIONS)),
)


def resampled_ranks(rng: Any, samples: Sequence[Sample]) -> tuple[Array, Array]:
    """The 2.5 % and 97.5 % percentiles of each row's rank when images are drawn with replacement."""
    estimates = 0.0
    for sample in samples:
        n = len(sample.values)
        drawn = rng.integers(n, size=(RESAMPLES, n)) + n * np.arange(RESAMPLES)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
        estimates = estimates + counts @ sample.values / n
    estimates = np.asarray(estimates).round(10)
    ranks = 1 + (estimates[:, None, :] > estimates[:, :, None]).sum(axis=2)
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf")
    return low, high


def measured(world: World, n: int, draws: int = DRAWS) -> dict[str, float]:
    """Joint coverage of the rank sets and of the percentiles, and the share of different pairs that are told apart."""
    truth = np.asarray(world.truth)
    first = 1 + (truth[:, None] > truth[None, :]).sum(axis=0)
    last = len(truth) - (truth[:, None] < truth[None, :]).sum(axis=0)
    different = truth[:, None] > truth[None, :]
    hits, naive, apart = 0, 0, 0.0
    for k in range(draws):
        rng = generator(0, f"ranks/{world.name}", str(n), k)
        samples = world.draw(rng, n)
        better = ranking.separable(samples)
        low, high = np.array(ranking.sets(better)).T
        hits += bool((low <= first).all() and (high >= last).all())
        low, high = resampled_ranks(rng, samples)
        # Rows that tie share the best of their ranks, here and among the resampled.
        naive += bool((low <= first).all() and (high >= first).all())
        apart += better[different].mean() if different.any() else 0.0
    return {"here": hits / draws, "resampled": naive / draws, "apart": apart / draws}


def table(worlds: Sequence[World] = WORLDS, sizes: Sequence[int] = SIZES, draws: int = DRAWS) -> Table:
    """A row per population and number of images."""
    rows = []
    for world in worlds:
        for n in sizes:
            values, count = measured(world, n, draws), draws
            if values["here"] < CLOSE and draws < MORE:
                values, count = measured(world, n, MORE), MORE
            ties = len(set(world.truth)) == 1
            shares = [f"{100 * values[name]:.1f}" for name in ("here", "resampled")]
            rows.append([world.name, str(n), str(count), *shares, "" if ties else f"{100 * values['apart']:.0f}"])
    caption = (
        f"A share of 95 % has a standard error of {_error(draws):.1f} points with {draws} boards, and of "
        f"{_error(MORE):.1f} with {MORE:,}, which are drawn where fewer than {100 * CLOSE:g} % of {draws} are covered. "
        "Here: all rows' sets hold all ranks that their ties allow. Resampled ranks: all rows' percentiles hold one "
        "rank, one plus the number of better rows, which asks less. Neighbours, three at a time, are wrong on almost "
        "the same images, except where rows are independent. Rare images: half of the errors are on images wrong "
        "under all conditions."
    )
    header = ["board", "images", "boards", "here (%)", "resampled ranks (%)", "different pairs told apart (%)"]
    return Table("Rank sets: joint coverage, 95 % promised", header, rows, caption)


def _error(draws: int) -> float:
    """Standard error of a share of 95 %, in points."""
    return float(100 * np.sqrt(0.95 * 0.05 / draws))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"boards per row ({DRAWS})")
    gc.freeze()  # statsmodels collects garbage at each adjustment of p-values
    sys.stdout.write(markdown(table(draws=parser.parse_args().draws)))


if __name__ == "__main__":
    main()
