"""Sequential certification: its error rates, and the noise draws that it saves.

    python studies/sequential.py              # in simulation
    python studies/sequential.py results      # on the fixed-N records of a folder
    python studies/sequential.py results --write   # both, into results/sequential.md

Nothing but counts is simulated; about five minutes on one core. Three tables:

- the error probability of each threshold at its worst case, p exactly at the threshold, computed without simulation
  (forward recursion over all counts) for every fifth count of selection votes;
- the rate of false claims among 10,000 simulated images for several p around each threshold, never stopping for
  futility, with its Clopper-Pearson interval;
- draws per image and certified accuracy against the fixed-N procedure on the same draws, by distribution of p.

On records, a fourth: the recorded votes of each image, in random order, decide when it would have stopped. Draws are
exchangeable, so a random order of a record's votes is as good as the order in which they fell, which no record keeps.

Loss: certified accuracy of the fixed-N procedure minus that of the sequential one, in points, at the radius where it is
largest. Draws include the 100 that select the class.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from harness import plugins
from harness.base.noise import generator
from harness.metrics.certification import lower_bound
from harness.metrics.sequential import FUTILITY, Sequential
from harness.report import boards
from harness.report.table import Table, markdown
from harness.terminal import console

ALPHA, N, N0, LOOK, IMAGES = 0.001, 10_000, 100, 100, 10_000
REPEATS = 20
SETS = [
    Sequential((0.25, 0.5, 0.75, 1.0), 0.5, ALPHA, N, N0),
    Sequential((0.25, 0.5), 0.25, ALPHA, N, N0),
    Sequential((0.5, 1.0, 1.5), 0.5, ALPHA, N, N0),
    Sequential((0.5, 1.0, 1.5), 1.0, ALPHA, N, N0),
]
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Mixture:
    """A distribution of p over images: (weight, a, b) of Beta distributions."""

    parts: tuple[tuple[float, float, float], ...]

    def __call__(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """(size,) probabilities."""
        weights, a, b = np.array(self.parts).T
        part = rng.choice(len(weights), size, p=weights)
        return rng.beta(a[part], b[part])


IMAGES_LIKE = {
    "sharp: 65 % near 1, a flat tail": Mixture(((0.65, 60, 0.6), (0.35, 1.5, 0.8))),
    "strong: Beta(6, 0.3)": Mixture(((1.0, 6, 0.3),)),
    "middling: Beta(2, 0.6)": Mixture(((1.0, 2, 0.6),)),
    "mid-heavy: 30 % near 1, 70 % Beta(4, 2)": Mixture(((0.3, 40, 0.5), (0.7, 4, 2))),
    "weak: Beta(1.2, 1)": Mixture(((1.0, 1.2, 1),)),
    "always right: p = 1": lambda rng, size: np.ones(size),
}


def name(stop: Sequential) -> str:
    """Noise level and radii, and the futility level where it is not the default."""
    futility = f", futility {stop.futility:g}" if stop.futility != FUTILITY else ""
    return f"sigma {stop.sigma:g}, r = {', '.join(f'{r:g}' for r in stop.radii)}{futility}"


def counts(p: np.ndarray, n: int, look: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Selection votes (B,) and successes so far (B, n / look) of images with probabilities p (B,)."""
    rng = generator(0, purpose, "")
    k0 = rng.binomial(N0, p)
    return k0, np.cumsum(rng.binomial(look, p[:, None], size=(len(p), n // look)), axis=1)


def follow(stop: Sequential, k0: np.ndarray, k: np.ndarray, look: int) -> tuple[np.ndarray, np.ndarray]:
    """Radii claimed and draws used (B,) when each image stops at its own time."""
    claimed, used = np.zeros(len(k0), np.int64), np.zeros(len(k0), np.int64)
    going = np.arange(len(k0))
    for column in range(k.shape[1]):
        used[going] = n = min((column + 1) * look, stop.n)
        settled, claimed[going] = stop.decide(n, k[going, column], k0[going], claimed[going])
        going = going[~settled]
        if not len(going):
            break
    return claimed, used


def exact_error(stop: Sequential, j: int, k0: int) -> float:
    """Probability that radius j, if asked for alone, is ever claimed at p = p_j, where it should not be."""
    p = 1 - stop.failure[j]
    n = np.arange(LOOK, stop.n + 1, LOOK)
    low, high = np.full(len(n), -1), n + 1  # rejects at high, not at low: the evidence rises with k
    while (high - low > 1).any():
        middle = np.clip((low + high) // 2, 0, n)
        rejects = (middle >= stop.needed[j]) | (
            stop.log_evidence(j, n, middle, np.full(len(n), k0)) >= stop.log_threshold[j]
        )
        high, low = np.where(rejects, middle, high), np.where(rejects, low, middle)
    step, alive, error = stats.binom.pmf(np.arange(LOOK + 1), LOOK, p), np.ones(1), 0.0
    for boundary in high:
        alive = np.convolve(alive, step)
        error += alive[boundary:].sum()
        alive[boundary:] = 0.0
    return float(error)


def exact() -> Table:
    """The worst case of each distinct threshold."""
    rows, seen = [], set()
    for stop in SETS:
        for j, r in enumerate(stop.radii):
            if (z := r / stop.sigma) in seen:
                continue
            seen.add(z)
            errors = [exact_error(stop, j, k0) for k0 in range(0, N0 + 1, 5)]
            fixed = stats.binom.sf(stop.needed[j] - 1, stop.n, 1 - stop.failure[j])
            rows.append([
                f"{z:g}", f"{1 - stop.failure[j]:.5f}", f"{fixed:.6f}", f"{np.exp(-stop.log_threshold[j]):.6f}",
                f"{max(errors):.6f}", f"{N0 if max(errors) == errors[-1] else 5 * int(np.argmax(errors))}",
            ])  # fmt: skip
    header = ["r / sigma", "p_j", "last look", "early, at most", "error, exact", "at k0"]
    return Table(f"Error probability at p = p_j, alpha = {ALPHA:g}", header, rows, f"Looks every {LOOK} draws of {N}.")


def coverage() -> Table:
    """False claims by p."""
    shifts, rows = (-4, -2, -1, 0, 1), []
    for stop in SETS:
        endless = replace(stop, futility=0.0)
        for j, r in enumerate(stop.radii):
            q, cells = stop.failure[j], []
            for shift in shifts:
                p = min(1 - q + shift * float(np.sqrt(q * (1 - q) / N)), 1.0)
                k0, k = counts(np.full(IMAGES, p), N, LOOK, f"coverage {name(stop)} {j} {shift}")
                claimed, _ = follow(endless, k0, k, LOOK)
                false = int((stop.radius(claimed) > stop.sigma * stats.norm.ppf(p) + 1e-9).sum())
                if shift == 0:  # the hypothesis p <= p_j holds here
                    false = int((claimed > j).sum())
                low, high = proportion_confint(false, IMAGES, method="beta")
                cells.append(f"{false} [{IMAGES * low:.1f}, {IMAGES * high:.1f}]{'' if low <= ALPHA else ' !'}")
            rows.append([f"{stop.sigma:g}", f"{r:g}", *cells])
    header = ["sigma", "radius", *(f"p_j {shift:+d} se" if shift else "p_j" for shift in shifts)]
    caption = (
        f"Of {IMAGES:,} images each, alpha allows {ALPHA * IMAGES:g}; 95 % intervals; ! where the interval lies above. "
        f"se = sqrt(p_j (1 - p_j) / {N}); no stopping for futility."
    )
    return Table("False claims in simulation", header, rows, caption)


def savings() -> Table:
    """Draws and certified accuracy by set of radii, distribution of p and budget."""
    rows = []
    tasks = [(stop, LOOK, 2 * IMAGES) for stop in [*SETS, replace(SETS[0], futility=0.05)]]
    tasks += [(replace(SETS[0], n=n), look, size) for n, look, size in [(1_000, 100, 20_000), (100_000, 200, 5_000)]]
    for stop, look, size in tasks:
        for kind, draw in IMAGES_LIKE.items():
            p = draw(generator(0, "images", kind), size)
            k0, k = counts(p, stop.n, look, f"savings {kind} {stop.n}")
            claimed, used = follow(stop, k0, k, look)
            bound = lower_bound(k[:, -1], stop.n, ALPHA)
            fixed = [bound >= 1 - q for q in stop.failure]
            lost = [100 * (f.mean() - (claimed > j).mean()) for j, f in enumerate(fixed)]
            worst = int(np.argmax(lost))
            noise = 196 * float(np.std(fixed[worst] * 1.0 - (claimed > worst)) / np.sqrt(size))
            total = used + N0
            rows.append([
                name(stop), f"{stop.n:,}", kind, f"{total.mean():,.0f}", f"{(stop.n + N0) / total.mean():.2f}",
                " ".join(f"{100 * f.mean():.1f}" for f in fixed), f"{lost[worst]:+.2f} ± {noise:.2f}",
            ])  # fmt: skip
    header = ["asked", "N", "images", "draws", "times fewer", "certified accuracy, fixed N", "largest loss"]
    return Table("Draws per image against the fixed-N procedure", header, rows, "Same draws for both; ± 95 %, paired.")


def shuffled(k: np.ndarray, n: int, purpose: str) -> np.ndarray:
    """Successes so far (B, n / LOOK) when n votes with k successes (B,) come in random order."""
    rng, left, so_far = generator(0, purpose, ""), k.copy(), []
    for remaining in range(n, 0, -LOOK):
        left = left - rng.hypergeometric(left, remaining - left, min(LOOK, remaining))
        so_far.append(k - left)
    return np.stack(so_far, axis=1)


def recorded(folder: Path) -> Table:
    """Draws and certified accuracy by record and noise level, with the radii of `SETS`."""
    rows = []
    for entry in boards.find(folder):
        if not entry.facts.get("certificates", "").startswith("fixed N"):
            continue
        suite = plugins.suite.configure(entry.suite).plugin
        table = entry.rows()
        for sigma, c in zip(suite.sigma, suite.conditions(), strict=True):
            here = {key: values[table["condition"] == c.name] for key, values in table.items()}
            top = here["selection"].argmax(1)
            k0, k = (here[v][np.arange(len(top)), top].astype(int) for v in ("selection", "estimation"))
            order = np.concatenate([shuffled(k, suite.n, f"{entry.key} {c.name} {i}") for i in range(REPEATS)])
            for radii in (stop.radii for stop in SETS if stop.sigma == sigma):
                stop = Sequential(radii, sigma, suite.alpha, suite.n, suite.n0)
                claimed, used = follow(stop, np.tile(k0, REPEATS), order, LOOK)
                right = top == here["label"]
                bound = lower_bound(k, suite.n, suite.alpha)
                fixed = np.array([100 * (right & (bound >= 1 - q)).mean() for q in stop.failure])
                early = [100 * (np.tile(right, REPEATS) & (claimed > j)).mean() for j in range(len(radii))]
                total = used.mean() + suite.n0
                rows.append([
                    entry.model.name, entry.method, name(stop), f"{suite.n:,}", f"{len(k)}", f"{total:,.0f}",
                    f"{(suite.n + suite.n0) / total:.2f}", " ".join(f"{value:.1f}" for value in fixed),
                    f"{max(fixed - early):+.2f}",
                ])  # fmt: skip
    header = [
        "model",
        "smoother",
        "asked",
        "N",
        "images",
        "draws",
        "times fewer",
        "certified accuracy, fixed N",
        "loss",
    ]
    return Table("On the records", header, rows, f"Recorded votes in {REPEATS} random orders each. Loss as above.")


def main() -> None:
    """Print the tables; with --write also write sequential.md into the first folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="RESULTS", help="folders of fixed-N records")
    parser.add_argument("--write", action="store_true", help="write sequential.md into the first folder")
    arguments = parser.parse_args()
    folders, write = arguments.folders, arguments.write
    if write and not folders:
        sys.exit("--write puts the page beside records: name their folder first, as in: sequential.py results --write")
    plugins.discover()
    simulated: list[Callable[[], Table]] = [savings, exact, coverage]
    tables: list[Callable[[], Table]] = [partial(recorded, folder) for folder in folders]
    page = "# Sequential certification against the fixed-N procedure\n\n"
    page += "By `python studies/sequential.py results --write`.\n"
    for make in [*tables, *(simulated if write or not folders else [])]:
        start = time.perf_counter()
        table = make()
        console.show(replace(table, caption=f"{table.caption} {time.perf_counter() - start:.0f} s."))
        page += "\n" + markdown(table)
    if write:
        (folders[0] / "sequential.md").write_text(page)


if __name__ == "__main__":
    main()
