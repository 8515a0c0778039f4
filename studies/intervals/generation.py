"""Coverage of the 95 % intervals of metrics of generated images, in simulation.

    python studies/intervals/generation.py [--write]   # with --write into results/generation_intervals.md

Two minutes on one core. 600 generated samples stand beside a reference, as in the suite of digits, in 16 and 64
dimensions. Truths are closed forms for the Frechet distance and KID, 300,000 samples for the Inception
score, and means over a crossed design of sets for metrics of nearest neighbours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.base.noise import generator
from harness.metrics.generation.estimates import IntervalEstimate, share
from harness.metrics.generation.inception_score import inception_score
from harness.metrics.generation.kernel import kid, published_kid
from harness.metrics.generation.memorisation import memorised
from harness.metrics.generation.moments import Moments, frechet, frechet_distance, frechet_infinity, moments
from harness.metrics.generation.neighbours import Neighbours, neighbours
from harness.metrics.intervals import TAIL
from harness.report.table import Table, markdown

Array = NDArray[np.floating[Any]]

N, REFERENCES = 600, 1_200
"""Generated samples, and reference images."""

DIMENSIONS = (16, 64)

MANY_DIMENSIONS = 192
"""Of the features of digits/resnet; for two rows of the Frechet distance, with FEW sets each."""

DRAWS = 100
"""Sets per row."""

FEW, REPLICATES = 20, 50
"""Sets per row, and resamples of each, where an interval is a bootstrap."""

SETS = 10
"""Generated sets, and references, that are crossed for metrics of neighbours."""


@dataclass(frozen=True)
class Population:
    """Features x = mean + factor @ z with independent z of mean 0, variance 1 and third moment `skewness` (0 or 2)."""

    mean: Array
    factor: Array
    skewness: float = 0.0

    def draw(self, rng: Any, n: int) -> Array:
        shape = (n, len(self.mean))
        z = rng.standard_exponential(shape) - 1 if self.skewness else rng.standard_normal(shape)
        return np.asarray(self.mean + z @ self.factor.T)

    @property
    def covariance(self) -> Array:
        return self.factor @ self.factor.T

    def raw_moments(self) -> tuple[Array, Array, Array]:
        """E x, E xx, E xxx: what the kernel of KID depends on."""
        m, s, f = self.mean, self.covariance, self.factor
        crossed = np.einsum("i,jk->ijk", m, s)
        third = np.einsum("i,j,k->ijk", m, m, m) + crossed + crossed.transpose(1, 0, 2) + crossed.transpose(2, 1, 0)
        return m, s + np.outer(m, m), third + self.skewness * np.einsum("ia,ja,ka->ijk", f, f, f, optimize=True)


def populations(dimension: int) -> tuple[Population, dict[str, Population]]:
    """The reference's population, and those of generators."""
    rng = generator(0, "generation/populations", str(dimension))
    scales = np.exp(np.linspace(0.0, -1.0, dimension))
    turn = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    near = np.linalg.qr(turn + 0.3 * rng.normal(size=turn.shape) / np.sqrt(dimension))[0]
    reference = Population(np.zeros(dimension), turn * scales)
    shift = np.full(dimension, 1 / np.sqrt(dimension))
    uneven = near * scales * np.exp(0.15 * rng.normal(size=dimension))
    return reference, {
        "same": reference,
        "near": Population(0.2 * shift, turn * scales * 1.05),
        "far": Population(shift, uneven),
        "far, skewed": Population(shift, uneven, 2.0),
        "narrow": Population(0 * shift, turn * scales * 0.8),
    }


def held(estimates: list[IntervalEstimate], truth: float) -> float:
    """Share of intervals that hold the truth, in percent."""
    return float(100 * np.mean([e.interval[0] <= truth <= e.interval[1] for e in estimates]))


def numbers(*values: float) -> list[str]:
    return [f"{value:.3g}" if abs(value) > 1e-9 else "0" for value in values]


def percents(*values: float) -> list[str]:
    return [f"{value:.1f}" for value in values]


def bootstrap(x: Array, target: Moments, rng: Any) -> tuple[float, float]:
    """Percentiles of the Frechet distance of samples drawn with replacement."""
    values = [frechet_distance(moments(x[rng.integers(0, len(x), len(x))]), target) for _ in range(REPLICATES)]
    low, high = np.quantile(values, (TAIL, 1 - TAIL))
    return float(low), float(high)


def frechet_distances() -> Table:
    """FD at n, and at infinity."""
    rows = []
    for dimension in (*DIMENSIONS, MANY_DIMENSIONS):
        reference, generators = populations(dimension)
        many = dimension == MANY_DIMENSIONS
        target = Moments(reference.mean, reference.covariance, 10**9)
        for name in ("same", "far") if many else generators:
            population = generators[name]
            truth = frechet_distance(Moments(population.mean, population.covariance, 10**9), target)
            rng = generator(0, "generation/frechet", f"{dimension} {name}")
            sets = [population.draw(rng, N) for _ in range(FEW if many else DRAWS)]
            plain = [frechet(x, target) for x in sets]
            infinite = [frechet_infinity(x, target, seed) for seed, x in enumerate(sets)]
            mean = float(np.mean([e.value for e in plain]))
            resampled = [bootstrap(x, target, rng) for x in sets[: 0 if many else FEW]]
            usual = percents(100 * float(np.mean([a <= mean <= b for a, b in resampled]))) if resampled else [""]
            values = [e.value for e in infinite]
            shown = numbers(truth, mean, float(np.mean(values)), float(np.std(values)))
            coverages = [*percents(held(plain, mean)), *usual, *percents(held(infinite, truth))]
            rows.append([str(dimension), name, *shown, *coverages])
    header = ["D", "generator", "true FD", "mean at 600", "mean at infinity", "its deviation"]
    header += ["`fd` (%)", "bootstrap (%)", "`fd_infinity` (%)"]
    caption = (
        f"{DRAWS} sets, {FEW} in {MANY_DIMENSIONS} dimensions. `fd` is to hold its mean at n = {N}, `fd_infinity` "
        f"the true FD. Bootstrap: percentiles of {REPLICATES} resamples with replacement, {FEW} sets; copies in a "
        "resample add bias of the size of FD's own. Where FD is near 0, the influence function's noise makes the "
        "interval of `fd` too wide; the bias that remains at infinity is of the order (D / n)^2."
    )
    return Table("Frechet distance", header, rows, caption)


def kernel_mean(a: tuple[Array, Array, Array], b: tuple[Array, Array, Array]) -> float:
    """E ((x.y) / D + 1)^3 for independent x and y, from their raw moments."""
    d = len(a[0])
    return float(1 + sum(c * (p * q).sum() / d**k for k, (c, p, q) in enumerate(zip((3, 3, 1), a, b, strict=True), 1)))


def sample_moments(y: Array) -> tuple[Array, Array, Array]:
    """Mean of y, yy and yyy over a sample (n, D)."""
    n, d = y.shape
    squares = (y[:, :, None] * y[:, None]).reshape(n, -1)
    return y.mean(0), y.T @ y / n, (squares.T @ y / n).reshape(d, d, d)


def mean_of_pairs(y: Array) -> float:
    """Mean of KID's kernel over the pairs of different rows."""
    inner = (y @ y.T / y.shape[1] + 1) ** 3
    return float((inner.sum() - np.trace(inner)) / (len(y) * (len(y) - 1)))


def kernels() -> Table:
    """KID."""
    rows = []
    for dimension in DIMENSIONS:
        reference, generators = populations(dimension)
        target, rng = reference.raw_moments(), generator(0, "generation/references", str(dimension))
        references = [reference.draw(rng, REFERENCES) for _ in range(2 * FEW)]
        fixed = [sample_moments(y) for y in references]
        constants = [mean_of_pairs(y) for y in references]
        for name, population in generators.items():
            own = population.raw_moments()
            truth = kernel_mean(own, own) + kernel_mean(target, target) - 2 * kernel_mean(own, target)
            rng = generator(0, "generation/kid", f"{dimension} {name}")
            beside, overall, published = [], [], []
            for draw in range(DRAWS):
                k, x = draw % len(references), population.draw(rng, N)
                overall.append(kid(x, references[k]))
                distance = kernel_mean(own, own) + constants[k] - 2 * kernel_mean(own, fixed[k])
                beside.append(held(overall[-1:], distance))
                if draw < FEW:
                    published.append(published_kid(x, references[k], 20, 200).deviation)
            values = [e.value for e in overall]
            shown = numbers(truth, float(np.mean(values)), float(np.std(values)), float(np.mean(published)))
            rows.append([str(dimension), name, *shown, *percents(float(np.mean(beside)), held(overall, truth))])
    header = ["D", "generator", "true KID", "mean", "deviation", "std of subsets"]
    header += ["same reference (%)", "other references (%)"]
    caption = (
        f"{DRAWS} sets beside {2 * FEW} references of {REFERENCES}. The interval is about other samples beside the "
        "same reference, whose distance from it is the truth of the first coverage; it leaves out the choice of the "
        "reference, which the second has. Std of subsets: what papers print, here of 20 subsets of 200."
    )
    return Table("KID", header, rows, caption)


NEAR: dict[str, Callable[[Neighbours], tuple[IntervalEstimate, IntervalEstimate]]] = {
    "precision": lambda near: (near.precision, near.precision),
    "recall": lambda near: (near.recall, share(near.recalled, N)),
    "density": lambda near: (near.density, near.density),
    "coverage": lambda near: (near.coverage, share(near.covered, N)),
    "memorised": lambda near: (memorised(near), memorised(near)),
}
"""Interval of every metric, and the one over the scored set alone."""


def nearest() -> Table:
    """Metrics of nearest neighbours."""
    rows = []
    for dimension in DIMENSIONS:
        reference, generators = populations(dimension)
        for name in ("same", "far", "narrow"):
            rng = generator(0, "generation/neighbours", f"{dimension} {name}")
            references = [reference.draw(rng, REFERENCES) for _ in range(SETS)]
            sets = [generators[name].draw(rng, N) for _ in range(SETS)]
            crossed = [[neighbours(x, y) for x in sets] for y in references]
            for metric, estimate in NEAR.items():
                pairs = [[estimate(near) for near in line] for line in crossed]
                values = np.array([[here.value for here, _ in line] for line in pairs])
                ends = np.array([[[here.interval, alone.interval] for here, alone in line] for line in pairs])
                truths = (values.mean(1, keepdims=True), values.mean(0, keepdims=True), values.mean(keepdims=True))
                inside = [(ends[..., 0] <= t[..., None]) & (t[..., None] <= ends[..., 1]) for t in truths]
                here = [100 * float(hits[..., 0].mean()) for hits in inside]
                alone = [100 * float(inside[0][..., 1].mean())] if metric in ("recall", "coverage") else []
                shown = [*numbers(float(values.mean())), *percents(*here), *percents(*alone)]
                rows.append([str(dimension), name, metric, *shown, *[""] * (1 - len(alone))])
    header = ["D", "generator", "metric", "mean", "other samples (%)", "other references (%)", "both (%)"]
    header += ["other samples, scored set alone (%)"]
    caption = (
        f"{SETS} sets of {N} samples, each beside {SETS} references of {REFERENCES}. An interval is to hold the mean "
        "over other samples beside the same reference; beside it the mean over references with the same samples, and "
        f"over both. Means over {SETS} sets are truths with a deviation of a quarter of the metric's own, and "
        "coverages of one row are correlated: they are good to about 4 points. The last column has the interval of "
        "recall and coverage without the jackknife over generated samples."
    )
    return Table("Nearest neighbours", header, rows, caption)


def inception_scores() -> Table:
    """IS."""
    rows = []
    for sharpness in (1.0, 3.0, 8.0):
        rng = generator(0, "generation/inception", str(sharpness))

        def draw(n: int, rng: Any = rng, sharpness: float = sharpness) -> Array:
            favoured = np.eye(10)[(10 * rng.random(n) ** 1.5).astype(int)]
            return np.asarray(sharpness * (favoured + 0.5 * rng.standard_normal((n, 10))))

        truth = inception_score(draw(300_000)).value
        for n in (100, N):
            estimates = [inception_score(draw(n)) for _ in range(DRAWS)]
            mean = float(np.mean([e.value for e in estimates]))
            shown = [f"{sharpness:g}", str(n), *numbers(truth, mean)]
            rows.append([*shown, *percents(held(estimates, truth), held(estimates, mean))])
    header = ["sharpness", "n", "true IS", "mean", "holds the true IS (%)", "holds its mean at n (%)"]
    return Table("Inception score", header, rows, f"{DRAWS} sets; logits of 10 classes that are not equally frequent.")


def main() -> None:
    """Simulate, and print the tables; with --write also write results/generation_intervals.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="also write results/generation_intervals.md")
    arguments = parser.parse_args()
    title = "# Coverage of the intervals of metrics of generated images\n\n"
    made = "Made by `python studies/intervals/generation.py --write`.\n\n"
    tables = [markdown(make()) for make in (frechet_distances, kernels, nearest, inception_scores)]
    page = title + made + "\n".join(tables)
    if arguments.write:
        Path("results/generation_intervals.md").write_text(page)
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
