"""Flags: planted obfuscations raise them, honest classifiers do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import plugins
from harness.base import noise
from harness.data import open_dataset
from harness.evaluation.attacked.checking import flags, largest_fall
from harness.evaluation.attacked.flags import LOOKED_AT, SIGNS, Flag, flag_columns, flags_in
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Batch, GradientClassifier, HarnessError, Noise, ThreatModel

THREAT = ThreatModel("linf", 8 / 255)


@cache
def digits() -> Batch:
    some = open_dataset("digits", "test").read(list(range(0, 15 * LOOKED_AT, 15)))
    return replace(some, images=pooled(some.images))


def pooled(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 4)


class Features(nn.Module):
    """Logistic regression on fixed random features of eight-pixel digits: small, smooth, and nine in ten are right."""

    def __init__(self) -> None:
        super().__init__()
        train = open_dataset("digits", "train").read(list(range(600)))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(192, 300), nn.Tanh())
        with torch.no_grad():
            x = self.hidden(pooled(train.images))
            y = F.one_hot(train.labels, 10).float() - 0.1
            self.weight = torch.linalg.solve(x.T @ x + torch.eye(300), x.T @ y)

    def forward(self, x: Tensor) -> Tensor:
        return 8 * self.hidden(x) @ self.weight


@cache
def honest() -> nn.Module:
    return Features().requires_grad_(False)


def keyed(purpose: str) -> Tensor:
    some = digits()
    return noise.gaussian(some.images.shape[1:], seed=0, purpose=purpose, samples=some.ids)


def raised(network: nn.Module, threat: ThreatModel = THREAT, attack: str = "pgd", **options: Any) -> dict[str, Flag]:
    classifier = TiledClassifier(network, Tiles(20), Tiles(20))
    plugin = plugins.attack.configure(attack).plugin
    measured = flags(classifier, digits().images, digits().labels, plugin, threat, keyed, **options)
    assert [flag.name for flag in measured] == [name for name in SIGNS if name in {f.name for f in measured}]
    return {flag.name: flag for flag in measured if flag.raised}


class Planted(nn.Module):
    """The honest classifier behind something that hides its gradients, or makes them useless."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.inner = kind, honest()

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "quantiser":
            return self.inner((x * 15).round() / 15)
        if self.kind == "resize":
            side = int(torch.randint(6, 9, ()))
            small = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
            return self.inner(F.interpolate(small, size=x.shape[-2:], mode="bilinear"))
        return self.inner(x) * float(self.kind)


def test_an_honest_classifier_raises_no_flag() -> None:
    for threat in (THREAT, ThreatModel("l2", 0.5)):
        assert raised(honest(), threat) == {}


def test_a_quantiser_is_seen_by_its_zero_gradients() -> None:
    signs = raised(Planted("quantiser"))
    assert {"zero_gradients", "loss_falls", "left_without_bounds"} <= set(signs)
    assert signs["zero_gradients"].value == 1 and "on 100% of" in signs["zero_gradients"].sentence


def test_a_random_resize_is_seen_by_answers_that_do_not_repeat() -> None:
    assert "unrepeatable" in raised(Planted("resize"))


def test_logits_so_large_that_their_loss_is_flat_are_seen() -> None:
    signs = raised(Planted("1e4"))
    assert "zero_gradients" in signs and signs["zero_gradients"].value > 0.5
    assert signs["left_without_bounds"].value > 0.5


def test_logits_that_are_merely_small_hide_nothing_and_raise_no_flag() -> None:
    assert raised(Planted("1e-4")) == {}


@dataclass(frozen=True)
class Nudge:
    """A weak attack that never reaches far: each step a tenth of the gradient's sign."""

    steps: int = 1

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        inner = plugins.attack.configure(f"pgd:steps={self.steps},step=0.1,random_start=false").plugin
        result: Tensor = inner(images, labels, classifier, noise, threat)
        return result


def test_an_attack_that_was_stopped_too_early_and_one_that_sees_more_are_seen() -> None:
    classifier, some = TiledClassifier(honest(), Tiles(20), Tiles(20)), digits()
    strong = plugins.attack.configure("pgd").plugin
    wide = ThreatModel("linf", 0.15)
    early = flags(classifier, some.images, some.labels, Nudge(4), ThreatModel("linf", 0.07), keyed)
    assert {f.name: f.raised for f in early}["longer_attack"]

    def elsewhere(images: Tensor, labels: Tensor, seen: Any, noise: Noise, threat: ThreatModel) -> Tensor:
        result: Tensor = strong(images, labels, classifier, noise, threat)
        return result

    by_name = raised(Planted("quantiser"), wide, black_boxes=[("transfer", elsewhere)])
    assert by_name["black_box"].value > 0 and "fools" in by_name["black_box"].sentence


def test_of_an_ensemble_the_member_that_it_names_is_checked() -> None:
    class Both:
        members = (("first", None), ("second", Nudge()))
        checked = "second"

    classifier, some = TiledClassifier(honest(), Tiles(20), Tiles(20)), digits()
    expected = flags(classifier, some.images, some.labels, Nudge(), THREAT, keyed)
    assert flags(classifier, some.images, some.labels, Both(), THREAT, keyed) == expected  # type: ignore[arg-type]


def test_flags_survive_the_sample_table() -> None:
    measured = [Flag("zero_gradients", 0.25, 18), Flag("loss_falls", float("nan"), 18), Flag("black_box", 0.0, 18)]
    rows = {name: column.numpy() for name, column in flag_columns(measured, 3).items()}
    assert all(column.shape == (3,) for column in rows.values())
    again = flags_in(rows)
    assert [(f.name, f.n, f.raised) for f in again] == [
        ("zero_gradients", 18, True), ("loss_falls", 18, True), ("black_box", 18, False),
    ]  # fmt: skip
    assert flags_in({}) == [] and flags_in({"flag_n": np.zeros(0)}) == []


def test_no_image_that_is_right_gives_no_flags() -> None:
    classifier, some = TiledClassifier(honest(), Tiles(20), Tiles(20)), digits()
    wrong = (classifier(some.images).argmax(1) + 1) % 10
    assert flags(classifier, some.images, wrong, Nudge(), THREAT, keyed) == []


@pytest.mark.parametrize(
    ("losses", "fall"), [([0, 1, 2, 3], 0.0), ([0, 4, 2, 3], 0.5), ([1, 1, 1, 1], 1.0), ([2, 1, 1, 0], 1.0)]
)
def test_the_fall_of_a_loss_is_a_share_of_its_rise(losses: list[float], fall: float) -> None:
    assert largest_fall(losses) == fall


def test_a_loss_without_a_gradient_keeps_its_message() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return honest()(x.detach())

    with pytest.raises(HarnessError, match="does not depend on the images"):
        raised(Cut())
