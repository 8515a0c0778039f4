"""Interval of the largest coverage with a limited selective risk, which keeps its level in samples of any size.

The largest of many noisy coverages is biased upwards, so that no bootstrap of it is valid. Here each threshold is
tested instead: the errors among the images that it accepts are binomial, given their number (as in Geifman & El-Yaniv,
NeurIPS 2017, and the fixed sequence of tests of Angelopoulos et al., arXiv:2110.01052). Let t be the lowest threshold
of the population whose risk is within the limit; it does not depend on the sample.

Lower end: from each share in `STARTS` on, thresholds are lowered as long as a test rejects that the risk is above the
limit. A sequence goes below t only if it rejects wrongly at the one place where it passes t, or where it starts.
Upper end: of all thresholds that no test proves to be above the limit, the lowest; a test of t alone could lift t out.
If no test errs, the images that t accepts are between these two sets of accepted images, under every condition; the
interval of `harness.metrics.intervals` for the mean over images adds the sampling error of their number. Tests share
half of each tail by Bonferroni, over conditions and starts, the interval of the mean has the other half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.metrics import intervals
from harness.metrics.intervals import TAIL, Bools, Floats, Interval

STARTS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the images, the most confident ones, at which sequences of tests start."""


def interval(correct: Bools, confidence: Floats, risk: float) -> Interval:
    """95 % interval of the mean over conditions of the largest coverage with a selective risk of at most `risk`.

    correct, confidence: (n_images, n_conditions), n_images >= 1. 0 < risk < 1.
    """
    conditions = zip(correct.T, confidence.T, strict=True)
    inner, outer = zip(*(_accepted(*columns, risk, correct.shape[1]) for columns in conditions), strict=True)
    # Conditions under which a test accepts all images have a coverage of 1, whatever images there are besides.
    certain = float(np.mean([accepted.all() for accepted in inner]))
    least, most = np.mean(inner, axis=0), np.mean(outer, axis=0)
    low = intervals.of_mean(least, certain, tail=TAIL / 2)[0] if certain < 1 else 1.0
    return low, intervals.of_mean(most, tail=TAIL / 2)[1]


def _accepted(correct: Bools, confidence: Floats, risk: float, conditions: int) -> tuple[Bools, Bools]:
    """Images that both ends accept, (n,) each, under one of several conditions."""
    n = len(correct)
    # Ties rank errors first: a test of a part of them then rejects no more often than for any part drawn at random.
    order = np.lexsort((correct, -confidence))
    ranked = confidence[order]
    accepted = np.arange(n + 1)
    wrong = np.append(0, np.cumsum(~correct[order]))
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), n - 1) + 1
    tail = TAIL / 2 / conditions
    within = special.bdtr(wrong, accepted, risk) <= tail / len(STARTS)
    above = (wrong > 0) & (special.bdtrc(wrong - 1.0, accepted, risk) <= tail)
    safe = max(_last(within, ends, int(np.ceil(start * n))) for start in STARTS)
    possible = ends[~above[ends]].max(initial=0)
    inner, outer = np.zeros((2, n), dtype=bool)
    inner[order[:safe]], outer[order[:possible]] = True, True
    return inner, outer


def _last(within: Bools, ends: NDArray[np.int64], start: int) -> int:
    """Images that a sequence of tests accepts.

    within: (n + 1,) by number of accepted images, True if the risk is proved to be within the limit. ends: numbers of
    images that thresholds accept. start: rank of the image whose threshold is the first.
    """
    first = int(np.searchsorted(ends, start))
    if start < len(within) - 1 and not within[start - 1]:
        return 0
    proved = within[ends[first:]]
    count = len(proved) if proved.all() else int(proved.argmin())
    return int(ends[first + count - 1]) if count else 0
