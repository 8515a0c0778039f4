"""Memorisation: samples that lie nearer to a training image than that image's own nearest neighbour.

Fresh images of the training distribution do so, too: in many dimensions about half of them. The share therefore stands
beside the one expected of them, and beside the share of real test images; only what exceeds both is memorised.
"""

from __future__ import annotations

import numpy as np

from harness.metrics.generation.distances import NearestOthers
from harness.metrics.generation.estimates import IntervalEstimate, share
from harness.metrics.generation.neighbours import Neighbours


def memorised(neighbours: Neighbours) -> IntervalEstimate:
    """Share of generated samples nearer to a training image than that image's own nearest neighbour.

    The interval is about other samples of the same generator, by Clopper & Pearson: Wilson's fails for shares near 0
    (results/coverage.md). neighbours: with the training set as reference.
    """
    return share(neighbours.memorised, len(neighbours.memorised))


def expected_memorised(reference: NearestOthers) -> float:
    """Share expected of fresh images of the training distribution, without memory.

    Leaves out each training image in turn, and looks at it as at a generated one. It lies nearer to some other image
    than that image's nearest neighbour among the rest exactly where it is itself that nearest neighbour, alone: the
    share of images that are the nearest neighbour of at least one other.

    reference: neighbours within the training set, k >= 2.
    """
    alone = reference.squared[:, 0] < reference.squared[:, 1]
    return len(np.unique(reference.first[alone])) / len(reference.first)
