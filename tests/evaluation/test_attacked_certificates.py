"""Certificates under attack: those that hold withstand, those of a broken procedure do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import plugins
from harness.base import noise
from harness.evaluation.attacked.certified import (
    AttackedCertificates,
    attack_certificates,
    other_answers,
    smoothed_votes,
)
from harness.evaluation.views.batch import BatchViews
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Batch, HarnessError, Noise, ThreatModel

SIGMA = 0.25
IDS = ("a", "b", "c", "d")
NORMAL = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
DISTANCE = SIGMA * torch.tensor([1.0, 1.5, 2.0, 0.2])


class Plane(nn.Module):
    """Two classes on both sides of a plane, for which the radius of smoothing is the distance to it."""

    def forward(self, x: Tensor) -> Tensor:
        side = 10 * ((x - 0.5) * NORMAL / NORMAL.norm()).flatten(1).sum(1)
        return torch.stack([side, -side], 1)


def under_attack(radius: Tensor, eps: float, norm: str = "l2") -> AttackedCertificates:
    images = 0.5 + DISTANCE[:, None, None, None] * NORMAL / NORMAL.norm()
    classifier = TiledClassifier(Plane(), Tiles(400))

    def keyed(rows: Tensor) -> Noise:
        ids = [IDS[row] for row in rows]
        return lambda purpose: noise.gaussian((3, 8, 8), seed=0, purpose=purpose, samples=ids)

    def votes(attacked: Tensor, rows: Tensor) -> Tensor:
        ids = tuple(IDS[row] for row in rows)
        views = BatchViews(Batch(ids, attacked, torch.zeros(len(rows), dtype=torch.int64)), None, Tiles(400), 0)
        return smoothed_votes(views, classifier, plugins.smoother.configure("gaussian").plugin, SIGMA, 500, 2)

    return attack_certificates(
        images, torch.zeros(4, dtype=torch.int64), radius,
        classifier=classifier, attack=plugins.attack.configure("smooth-pgd:steps=8,draws=4").plugin,
        threat=ThreatModel(norm, eps), noise=keyed, votes=votes, alpha=0.001, certified_at=0.001,
    )  # fmt: skip


def test_true_certificates_withstand_and_those_of_a_broken_procedure_are_found() -> None:
    true = under_attack(0.9 * DISTANCE, eps=0.2)
    assert true.rows.tolist() == [0, 1, 2] and not true.broken.any()
    assert true.counts.sum(1).tolist() == [500] * 3
    moved = (true.images - (0.5 + DISTANCE[:3, None, None, None] * NORMAL / NORMAL.norm())).flatten(1).norm(dim=1)
    assert (moved <= 0.2 + 1e-5).all() and (moved > 0.19).all()
    assert true.expected == pytest.approx(0.006)
    assert true.sentence == "0 of 3 attacked certificates are broken; by chance up to 0.006 are expected."
    false = under_attack(torch.full((4,), 0.5), eps=0.45)
    assert false.broken.tolist() == [True, True, False, True]


def test_an_abstention_breaks_no_certificate() -> None:
    counts = np.array([[500, 0], [240, 260], [0, 500], [200, 300]])
    assert other_answers(counts, np.zeros(4, int), 0.001).tolist() == [False, False, True, True]


def test_certificates_of_smaller_radius_and_abstentions_are_not_attacked() -> None:
    nothing = under_attack(torch.zeros(4), eps=0.1)
    assert not len(nothing.rows) and nothing.expected == 0 and nothing.sentence.startswith("0 of 0")


def test_certificates_hold_in_l2_balls() -> None:
    with pytest.raises(HarnessError, match="hold in l2 balls, not under linf 0"):
        under_attack(DISTANCE, eps=0.1, norm="linf")
