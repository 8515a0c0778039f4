"""Split conformal prediction: sets of classes that hold the true one with a chosen probability.

A score is computed for every class; the threshold is the k-th smallest score of the true classes of n calibration
images, k = ceil((n + 1) * level). On images exchangeable with these, the set of classes that score no higher holds the
true one with a probability of at least `level`, whatever the classifier (Vovk et al. 2005; Papadopoulos et al. 2002).

Images are exchangeable, and an image's rows under several conditions are not: they may all be right or wrong together.
With several rows per image the threshold is the k / n quantile of all rows' scores, where n counts images. Where the
rows of an image are alike it is the threshold of the images; where they are independent, sets are a little too large.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.metrics import intervals
from harness.metrics.accuracy import mean_accuracy
from harness.metrics.confidence.logits import Labels
from harness.metrics.intervals import Bools, Floats
from harness.types import Metric

LEVEL = 0.9
"""Coverage that sets are made for."""


def lac(probabilities: Floats, uniform: Floats) -> Floats:
    """Least ambiguous sets: one minus the probability of the class (Sadinle, Lei & Wasserman, JASA 2019).

    probabilities: (n, K). uniform: (n,), not used. Returns (n, K).
    """
    return 1.0 - probabilities


def aps(probabilities: Floats, uniform: Floats) -> Floats:
    """Adaptive sets: probability of all likelier classes, plus a random share of the class's (Romano et al., 2020).

    Romano, Sesia & Candès, NeurIPS 2020, equations 7 and 8. The share makes coverage exact in place of too large, and
    may leave a set empty. Equal probabilities go by the number of the class.

    probabilities: (n, K). uniform: (n,) in [0, 1), one draw per image. Returns (n, K).
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    scores = np.empty_like(ranked)
    np.put_along_axis(scores, order, ranked.cumsum(axis=1) - ranked * (1 - uniform[:, None]), axis=1)
    return scores


SCORES: dict[str, Callable[[Floats, Floats], Floats]] = {"LAC": lac, "APS": aps}
"""By name, scores of all classes; a lower one is a likelier class."""


def threshold(scores: Floats, images: int | None = None, level: float = LEVEL) -> float:
    """The conformal quantile of the true classes' scores; infinite where there are too few images for the level.

    scores: (n,), of all rows. images: source images of these rows; by default each row is one.
    """
    n = len(scores) if images is None else images
    rank = math.ceil((n + 1) * level - intervals.TINY)
    if rank > n:
        return math.inf
    return float(np.sort(scores)[math.ceil(rank / n * len(scores) - intervals.TINY) - 1])


def sets(
    name: str, calibration: tuple[Floats, Labels, Floats], test: tuple[Floats, Floats], images: int | None = None
) -> Bools:
    """Prediction sets of test images, (n_test, K) bool.

    name: of the score, a key of `SCORES`.
    calibration: probabilities (n, K), labels (n,) and uniform draws (n,). test: probabilities (n_test, K) and draws.
    images: source images of the calibration; by default each row is one.
    """
    probabilities, labels, uniform = calibration
    scores = SCORES[name](probabilities, uniform)
    limit = threshold(np.take_along_axis(scores, np.asarray(labels)[:, None], axis=1)[:, 0], images)
    return np.asarray(SCORES[name](*test) <= limit + intervals.TINY)


def judge(members: Bools, labels: Labels, condition: str) -> tuple[Metric, Metric]:
    """Coverage, a fraction, and mean size, in classes, of prediction sets, with intervals over the test images.

    Over several conditions the unweighted mean of each one's. The intervals take the threshold as it is.

    members: (n_images, n_conditions, K). labels: (n_images, n_conditions). Raises `Undefined` where there is no image.
    """
    covered = np.take_along_axis(members, np.asarray(labels)[..., None], axis=-1)[..., 0]
    sizes = members.sum(axis=-1).mean(axis=1)
    interval = intervals.of_mean(sizes, 0.0, float(members.shape[-1]))
    size = Metric("set_size", condition, float(sizes.mean()), interval, len(sizes), "classes", False)
    return mean_accuracy(covered, "coverage", condition), size
