"""Attacks on test-time methods: they look at what they say, on draws that do not judge them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from small_denoisers import batch, gaussian_data
from torch import Tensor, nn

from harness import plugins
from harness.attacks.losses import cross_entropy
from harness.base import noise
from harness.evaluation.attacked.judging import JUDGED, judged_logits
from harness.evaluation.views.gradients import MethodClassifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import HarnessError, ThreatModel

SOME = batch(slice(0, 5))
THREAT = ThreatModel("linf", 0.1)


class Random(nn.Module):
    """A fixed random classifier of 16-pixel images into four classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(294, 4))

    def forward(self, x: Tensor) -> Tensor:
        return 4 * self.layers(x)


def defended(method: str = "de:times=100,300", ids: Any = SOME.ids) -> MethodClassifier:
    classifier = TiledClassifier(Random(), Tiles(8), Tiles(4))
    return MethodClassifier(plugins.method.configure(method).plugin, classifier, gaussian_data(0.5), Tiles(8), 0, ids)


def attacked(text: str, classifier: Any, rows: slice = slice(0, 5), labels: Tensor | None = None) -> Tensor:
    images, ids = SOME.images[rows], SOME.ids[rows]
    labels = classifier(images).argmax(1) if labels is None else labels

    def eps(purpose: str) -> Tensor:
        return noise.gaussian(images.shape[1:], seed=0, purpose=purpose, samples=ids)

    result: Tensor = plugins.attack.configure(text).plugin(images, labels, classifier, eps, THREAT)
    return result


def judged_loss(classifier: MethodClassifier, images: Tensor, labels: Tensor) -> Tensor:
    logits = judged_logits(classifier, images)
    return cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits))).unflatten(0, (-1, len(labels))).mean(0)


@cache
def answers() -> Tensor:
    """Classes that the undisturbed defence gives on the draws that judge."""
    return judged_logits(defended(), SOME.images).softmax(-1).mean(0).argmax(1)


@pytest.mark.parametrize("text", ["transfer", "bpda:steps=4", "pgd-eot:steps=4,draws=2"])
def test_attacks_on_a_defence_raise_its_loss_on_unseen_draws_and_keep_their_bits_in_any_batch(text: str) -> None:
    adversarial = attacked(text, defended(), labels=answers())
    assert 0 <= adversarial.min() <= adversarial.max() <= 1
    assert ((adversarial - SOME.images).abs() <= THREAT.eps + 1e-6).all()
    before, after = (judged_loss(defended(), x, answers()) for x in (SOME.images, adversarial))
    assert (after > before).all()
    rows = slice(1, 4)
    alone = attacked(text, defended(ids=SOME.ids[rows]), rows, answers()[rows])
    assert torch.equal(alone, adversarial[rows])


class Watched:
    """A classifier under attack that notes the draws whose gradients are taken."""

    def __init__(self, classifier: Any, seen: list[int], draw: int = 0) -> None:
        self._classifier, self._seen, self._draw = classifier, seen, draw

    def __call__(self, images: Tensor) -> Tensor:
        result: Tensor = self._classifier(images)
        return result

    def gradient(self, images: Tensor, loss: Any, *rows: Tensor) -> tuple[Tensor, Tensor]:
        self._seen.append(self._draw)
        values: tuple[Tensor, Tensor] = self._classifier.gradient(images, loss, *rows)
        return values

    def drawn(self, draw: int) -> Watched:
        return Watched(self._classifier.drawn(draw), self._seen, draw)

    def straight_through(self) -> Watched:
        return Watched(self._classifier.straight_through(), self._seen, self._draw)


@pytest.mark.parametrize("text", ["pgd-eot:steps=3,draws=2", "bpda:steps=3,draws=2"])
def test_every_step_takes_fresh_draws_and_none_that_judges(text: str) -> None:
    seen: list[int] = []
    attacked(text, Watched(defended(), seen), labels=answers())
    assert seen == [1, 2, 3, 4, 5, 6] and max(seen) < JUDGED
    assert plugins.attack.configure(text).plugin.calls(THREAT) == (6, 6)


def test_the_mean_gradient_over_draws_is_that_of_the_log_probabilities() -> None:
    """One step of PGD-EOT goes along the sign of the mean of the gradients of -log p_y, over the draws 1 to 3."""
    classifier = defended()
    mean = torch.stack(
        [classifier.drawn(k).gradient(SOME.images, cross_entropy, answers())[1] for k in (1, 2, 3)]
    ).mean(0)
    expected = (SOME.images + 0.05 * mean.sign()).clamp(0, 1)
    adversarial = attacked("pgd-eot:steps=1,draws=3,step=0.5", classifier, labels=answers())
    # Where the mean is zero but for rounding, its sign is anybody's.
    assert ((adversarial - expected).abs() < 1e-6).double().mean() > 0.999


def test_transfer_attacks_the_classifier_without_its_defence() -> None:
    plain = defended().undefended
    assert torch.equal(attacked("transfer:source=pgd:steps=5", defended(), labels=answers()),
                       attacked("pgd:steps=5", plain, labels=answers()))  # fmt: skip
    assert torch.equal(attacked("bpda:steps=5", plain), attacked("pgd:steps=5,step=0.125,random_start=false", plain))


def test_a_surrogate_of_dda_takes_its_gradient_from_fewer_steps() -> None:
    classifier = defended("dda:steps=20,start=6")
    labels = classifier(SOME.images).argmax(1)
    through, whole = (attacked(f"pgd-eot:steps=2,surrogate={n}", classifier, labels=labels) for n in (2, 0))
    assert torch.equal(through, attacked("pgd-eot:steps=2", classifier.surrogate(2), labels=labels))
    assert not torch.equal(through, whole)


def test_the_adaptive_attack_is_an_ensemble_and_hands_its_settings_on() -> None:
    plugin = plugins.attack.configure("adaptive:steps=7,draws=2,surrogate=3").plugin
    (first, _), (second, bpda), (third, through) = plugin.members
    assert (first, second, third) == ("transfer", "bpda", "pgd-eot")
    assert (bpda.steps, through.steps, through.draws, through.surrogate) == (7, 7, 2, 3)
    assert plugin.calls(THREAT) == (28, 28)
    assert all(member.draws for _, member in plugin.members), "known noise does not judge any of them"


def test_the_published_settings_are_a_preset() -> None:
    plugin = plugins.attack.configure("pgd-eot:preset=published").plugin
    assert plugin.calls(THREAT) == (4000, 4000)
    assert plugin.ascent.step * 8 / 255 == pytest.approx(0.007) and not plugin.ascent.random_start
    assert plugins.attack.configure("pgd-eot:preset=published").text == "pgd-eot:preset=published"


def test_the_adaptive_attack_needs_a_defence() -> None:
    plugin = plugins.attack.configure("adaptive").plugin
    with pytest.raises(HarnessError, match="Take --attack autoattack"):
        plugin.check(plugins.method.configure("default").plugin)
    plugin.check(plugins.method.configure("de").plugin)


def test_a_surrogate_that_does_not_fit_the_method_is_refused_before_the_run() -> None:
    for text in ("pgd-eot:surrogate=2", "adaptive:surrogate=2"):
        plugin = plugins.attack.configure(text).plugin
        with pytest.raises(HarnessError, match="surrogate=2 needs a method such as dda"):
            plugin.check(plugins.method.configure("de").plugin)
        plugin.check(plugins.method.configure("dda:steps=20,start=6").plugin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd-eot:draws=0", "draws=0 at least 1.*with pgd"),
        ("pgd-eot:preset=paper", "must be published"),
        ("pgd-eot:preset=published,steps=9", "preset=published sets step"),
        ("bpda:steps=-1", "steps=-1 must not be negative"),
        ("transfer:adaptive", "must be one attack within eps"),
        ("adaptive:draws=0", "draws=0 at least 1"),
    ],
)
def test_impossible_settings_are_refused(text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        plugins.attack.configure(text)


def test_a_surrogate_of_a_plain_classifier_is_refused() -> None:
    with pytest.raises(HarnessError, match="surrogate=2 needs a method such as dda"):
        attacked("pgd-eot:surrogate=2", defended().undefended)
