"""Coverage of 95 % intervals, and false rejections of tests, in simulation.

    python studies/intervals/coverage.py > results/coverage.md

Five minutes on one core. Images are drawn from populations whose truth is known, in samples of 30 to 600, with
accuracies up to 99.9 %. "Here" is what records have; beside it stand the intervals of usual_intervals.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import stats
from usual_intervals import Array, Ends, delong, delta, effective, logit, percentile, student

from harness.base.noise import generator
from harness.metrics import calibration, intervals, ood, selective
from harness.metrics.accuracy import mce
from harness.metrics.confidence.smooth import smooth_ece
from harness.metrics.delong import rank
from harness.metrics.intervals import LEVEL, TAIL, Undefined
from harness.metrics.paired import compare_clustered
from harness.report.table import Table, markdown
from harness.types import Metric

CONDITIONS = 15
"""Conditions under which every image is classified, as in ImageNet-C."""

SIZES = (30, 60, 100, 600)
"""Images per sample."""

DRAWS = 400
"""Samples per row."""

FEW = 60
"""Samples per row if an interval is itself a simulation."""


def independent(rng: Any, n: int, error: float) -> Array:
    """Independent errors, (n, CONDITIONS)."""
    return (rng.random((n, CONDITIONS)) < error).astype(float)


def uneven(rng: Any, n: int, error: float) -> Array:
    """Easy and hard images: an image's chance of an error is beta distributed, with a correlation of 1/2."""
    return (rng.random((n, CONDITIONS)) < rng.beta(error, 1 - error, (n, 1))).astype(float)


def rare(rng: Any, n: int, error: float) -> Array:
    """Half of the errors fall on rare images, wrong under all conditions; the others are independent."""
    bad = rng.random((n, 1)) < error / 2
    return np.where(bad, 1.0, rng.random((n, CONDITIONS)) < (error / 2) / (1 - error / 2))


def alike(rng: Any, n: int, error: float) -> Array:
    """All errors fall on images that are wrong under all conditions."""
    return np.repeat(rng.random((n, 1)) < error, CONDITIONS, axis=1).astype(float)


def share(samples: Iterator[Any], truth: float, *ways: Callable[[Any], Ends]) -> list[tuple[float, float]]:
    """For each interval its coverage of the truth, in [0, 1], and its mean width."""
    outcomes = []
    for sample in samples:
        ends = [way(sample) for way in ways]
        outcomes.append([(low <= truth <= high, high - low) for low, high in ends])
    return [(float(hits), float(width)) for hits, width in np.mean(outcomes, axis=0)]


def percent(*values: float) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]


def means() -> Table:
    """Mean errors over conditions; one condition is the structure in which all errors are alike."""
    rows = []
    for draw in (independent, uneven, rare, alike):
        for error in (0.3, 0.02, 0.005, 0.001):
            for n in SIZES:
                rng = generator(0, "coverage/means", f"{draw.__name__} {error} {n}")
                samples = [draw(rng, n, error).mean(1) for _ in range(DRAWS)]
                held = np.mean([intervals.p_value(x, 0.0, 1.0, error) >= 1 - LEVEL for x in samples])
                usual = share(iter(samples), error, student, effective)
                width = np.mean([np.ptp(intervals.of_mean(x)) for x in samples[:10]])
                shown = percent(1 - error, usual[0][0], usual[1][0], float(held), usual[0][1], float(width))
                rows.append([draw.__name__, shown[0], str(n), *shown[1:]])
    header = ["errors", "accuracy (%)", "n", "t", "Wilson, effective n", "here", "width: t", "here"]
    caption = (
        f"Percent; {CONDITIONS} conditions, {DRAWS} samples. 'alike' is also the case of one condition, and of "
        "certified accuracy. Only the interval used here holds where errors are rare and fall on few images; it pays "
        "with about 3.7 / n at the end of accuracies that the sample does not show."
    )
    return Table("Mean accuracy and mean error", header, rows, caption)


def shares() -> Table:
    """Accuracies: exact, summed over all samples."""
    rows = []
    for accuracy in (0.9, 0.98, 0.995, 0.999):
        for n in SIZES:
            right = np.arange(n + 1)
            chance = stats.binom.pmf(right, n, accuracy)
            held = []
            for method in ("wilson", "beta"):
                low, high = intervals.proportion_confint(right, n, alpha=1 - LEVEL, method=method)
                inside = (np.nan_to_num(low) <= accuracy) & (accuracy <= np.nan_to_num(high, nan=1.0))
                held.append(float(chance[inside].sum()))
            rows.append([*percent(accuracy), str(n), *percent(*held)])
    return Table("Accuracy", ["accuracy (%)", "n", "Wilson", "here (Clopper-Pearson)"], rows, "Percent, exact.")


def paired() -> Table:
    """Tests of equal means; the last rows have a true difference of five points."""
    rows = []
    for name, rate, gain in (("skewed", 0.05, 0.0), ("symmetric", 0.0, 0.0), ("5 points", 0.0, 0.05)):
        for n in SIZES:
            rng = generator(0, "coverage/paired", f"{name} {n}")
            rejected = np.zeros(2)
            for _ in range(DRAWS):
                # Both err on the same images, but B makes up on most for what it loses on a few.
                hard = rng.random((n, CONDITIONS))
                b = (hard < 0.8 / (1 - rate) + gain) & (rng.random((n, 1)) >= rate)
                a = (rng.random((n, CONDITIONS)) if name == "symmetric" else hard) < 0.8
                difference = b.mean(1) - a.mean(1)
                signs = rng.choice([-1.0, 1.0], (1_000, n)) @ difference
                rejected += (
                    (np.abs(signs) >= abs(difference.sum()) - 1e-9).mean() < 1 - LEVEL,
                    compare_clustered(a, b).p < 1 - LEVEL,
                )
            rows.append([name, str(n), *percent(*rejected / DRAWS)])
    caption = (
        "Percent of samples in which p < 5 %. Skewed: equal means, but B is wrong under all conditions on 5 % of the "
        "images and a little better on all others. A sign-flip test with a studentised statistic rejects in the same "
        "samples: flips leave the sum of squares as it is. What is lost at 5 points is the price: five points more on "
        "each of 30 images do not rule out a twentieth of all images, none among them, on which everything is lost."
    )
    return Table("Paired test of two means", ["difference", "n", "sign-flip", "here"], rows, caption)


def scores(name: str, area: float) -> Callable[[Any, int], tuple[Array, Array]]:
    """Samples of n ID and n OOD scores with an AUROC of `area`."""
    spread = 3.0 if name == "wide OOD" else 1.0
    shift = stats.norm.ppf(area) * np.hypot(1.0, spread)

    def draw(rng: Any, n: int) -> tuple[Array, Array]:
        if name == "rare OOD":
            return rng.random(n), np.where(rng.random(n) < 1 - area, 2.0, -1.0) + rng.random(n)
        return rng.normal(shift, 1.0, n), rng.normal(0.0, spread, n)

    return draw


def areas() -> Table:
    """AUROC."""
    rows = []
    for name in ("binormal", "wide OOD", "rare OOD"):
        for area in (0.9, 0.99, 0.999):
            for n in (30, 100, 600):
                rng, draw = generator(0, "coverage/auroc", f"{name} {area} {n}"), scores(name, area)
                here = lambda s: ood.auroc_metric(s[0], {"": s[1]}, "").interval  # noqa: E731
                coverages = share((draw(rng, n) for _ in range(DRAWS)), area, delong, logit, here)
                hits, widths = zip(*coverages, strict=True)
                rows.append([name, f"{area:g}", str(n), *percent(*hits, *widths)])
    header = ["scores", "AUROC", "n ID = n OOD", "DeLong", "logit", "here", "width: DeLong", "logit", "here"]
    caption = f"Percent; {DRAWS} samples. Wide OOD: three times the spread; rare OOD: few, but above all ID images."
    return Table("AUROC", header, rows, caption)


def rates() -> Table:
    """FPR@95 and AUPR, near 0 and 1."""
    rows = []
    for area in (0.99, 0.999):
        draw = scores("binormal", area)
        truth = ood.rates(*rank(*draw(generator(0, "coverage/truth", f"{area}"), 1_000_000)).counts())
        for n in (30, 100, 600):
            rng = generator(0, "coverage/rates", f"{area} {n}")
            held = np.zeros((2, 4))
            for _ in range(FEW):
                sample = draw(rng, n)
                here = {m.name: m.interval for m in ood.summary(sample[0], {"x": {"x": sample[1]}})}
                low, high = percentile(sample)
                held[0] += (low <= truth) & (truth <= high)
                held[1] += [here[name][0] <= t <= here[name][1] for name, t in zip(ood.RATES, truth, strict=True)]
            rows.append([f"{area:g}", str(n), *percent(*held.T.ravel() / FEW)])
    names = [name for rate in ood.RATES for name in (f"{rate}: percentile", "here")]
    return Table("FPR@95 and AUPR", ["AUROC", "n ID = n OOD", *names], rows, f"Percent; binormal, {FEW} samples.")


def corruption_errors() -> Table:
    """mCE, by published rates and by the reference's answers."""
    rows = []
    for error in (0.02, 0.005):
        for n in SIZES:
            rng = generator(0, "coverage/mce", f"{error} {n}")
            rate, exact, both = np.full(CONDITIONS, 2 * error), np.zeros(2), []
            for _ in range(FEW):
                x = uneven(rng, n, error)
                weights = rng.multinomial(n, np.full(n, 1 / n), 1_000)
                low, high = np.quantile((weights @ x / n / rate).mean(1), (TAIL, 1 - TAIL))
                here = mce(x, rate).interval
                exact += low <= 0.5 <= high, here[0] <= 0.5 <= here[1]
                if len(both) < 40:
                    # The model errs where the reference does, half as often.
                    reference = uneven(rng, n, 2 * error)
                    try:
                        ends = mce(reference * (rng.random(reference.shape) < 0.5), reference).interval
                        both.append(ends[0] <= 0.5 <= ends[1])
                    except Undefined:
                        continue
            accuracy, *shown = percent(1 - error, *exact / FEW)
            shown += percent(float(np.mean(both))) if both else [""]
            rows.append([accuracy, str(n), *shown, str(len(both))])
    header = ["accuracy (%)", "n", "published rates: percentile", "here", "reference's answers: here", "samples"]
    caption = f"Percent of {FEW} samples; uneven errors. A sample in which the reference makes no error has no mCE."
    return Table("mCE", header, rows, caption)


def confidences(rng: Any, n: int, level: float, over: float) -> tuple[Array, Array, Array]:
    """Answers and confidences: (n, 1) each, and the probability of the true class. over: 0 is calibrated."""
    confidence = rng.beta(20 * level, 20 * (1 - level), (n, 1)).clip(0.1, 1 - 1e-6)
    correct = rng.random((n, 1)) < confidence * (1 - over)
    return correct, confidence, np.where(correct, confidence, (1 - confidence) / 9)


def calibration_errors() -> Table:
    """ECE and NLL."""
    rows = []
    for level in (0.8, 0.98, 0.995):
        for over in (0.0, 0.1):
            many = confidences(generator(0, "coverage/honesty", f"{level} {over}"), 1_000_000, level, over)
            error, loss = calibration.ece(*many[:2], "").value, calibration.nll(many[2], "").value
            truth = error if over else 0.0
            for n in (30, 100, 600):
                rng = generator(0, "coverage/honesty", f"{level} {over} {n}")
                samples = [confidences(rng, n, level, over) for _ in range(FEW)]
                here = lambda s: calibration.ece(*s[:2], "").interval  # noqa: E731
                coverages = share(iter(samples), truth, delta, here)
                losses = (-np.log(s[2][:, 0]) for s in samples)
                coverages += share(losses, loss, student, lambda x: calibration.nll(np.exp(-x)[:, None], "").interval)
                hits = percent(*(held for held, _ in coverages))
                rows.append([*percent(level), "no" if over else "yes", str(n), *hits])
    header = ["confidence (%)", "calibrated", "n", "ECE: delta method", "here", "NLL: t", "here"]
    caption = f"Percent of {FEW} samples that hold the truth, an ECE of 0 where the classifier is calibrated."
    return Table("Calibration", header, rows, caption)


def confidence_metrics() -> Table:
    """Selective classification, and calibration errors without bins of equal width."""
    rows = []
    for level in (0.8, 0.98, 0.995):
        for over in (0.0, 0.1):
            many = confidences(generator(0, "coverage/confidence", f"{level} {over}"), 200_000, level, over)[:2]
            truth = {m.name: m.value for m in judged(many)}
            truth |= {} if over else {"adaptive_ece": 0.0, "smooth_ece": 0.0}
            for n in (30, 100, 600):
                rng = generator(0, "coverage/confidence", f"{level} {over} {n}")
                held = dict.fromkeys(truth, 0.0)
                for _ in range(FEW):
                    for m in judged(confidences(rng, n, level, over)[:2]):
                        held[m.name] += (m.interval[0] <= truth[m.name] <= m.interval[1]) / FEW
                rows.append([*percent(level), "no" if over else "yes", str(n), *percent(*held.values())])
    header = ["confidence (%)", "calibrated", "n", *(name.replace("_", " ") for name in truth)]
    caption = f"Percent of {FEW} samples that hold the truth. A calibrated classifier has calibration errors of 0."
    return Table("Confidence", header, rows, caption)


def judged(sample: tuple[Array, Array]) -> list[Metric]:
    metrics = selective.summary(*sample, "")
    return [*metrics, calibration.adaptive_ece(*sample, ""), smooth_ece(*sample, "")]


TABLES = (shares, means, paired, areas, rates, corruption_errors, calibration_errors, confidence_metrics)


def main() -> None:
    """Print the page of all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    sys.stdout.write("# Coverage of the intervals\n\nMade by `python studies/intervals/coverage.py`.\n\n")
    sys.stdout.write("\n".join(markdown(make()) for make in TABLES))


if __name__ == "__main__":
    main()
