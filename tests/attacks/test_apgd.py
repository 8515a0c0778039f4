"""Auto-PGD against recordings of the authors' code, and what attacks ask of a classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers import RECORDED_FOLDER
from torch import Tensor, nn

from harness import plugins
from harness.attacks import losses
from harness.attacks.apgd import apgd, windows
from harness.attacks.attempts import random_start
from harness.attacks.passes import Passes
from harness.base import noise
from harness.base.errors import Notice
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import HarnessError, ThreatModel

FILE = np.load(RECORDED_FOLDER / "apgd.npz")
"""fra31/auto-attack a3922004 on 16 digits: images in float32, the network in float64, its logits rounded to float32."""


def recorded(name: str) -> Tensor:
    return torch.from_numpy(FILE[name])


class Recorded(nn.Module):
    """The network of the recording."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.SiLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(384, 10),
        ).double()  # fmt: skip
        self.layers.load_state_dict({k[2:]: recorded(k).double() for k in FILE if k.startswith("w/")})

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x.double()).float()
        return logits


IMAGES, LABELS = recorded("images").float() / 255, recorded("labels")
CLASSIFIER = TiledClassifier(Recorded(), Tiles(16))
LOSSES: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
    "ce": (losses.cross_entropy, []),
    "dlr": (losses.dlr, []),
    "dlr-t": (losses.targeted_dlr, [recorded("target2")]),
}


def attacked(text: str, classifier: Any, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
    ids = [str(k) for k in range(len(images))]

    def eps(purpose: str) -> Tensor:
        return noise.gaussian(images.shape[1:], seed=0, purpose=purpose, samples=ids)

    adversarial: Tensor = plugins.attack.configure(text).plugin(images, labels, classifier, eps, threat)
    return adversarial


# The ascent.


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("norm", "threat"), [("Linf/16", ("linf", 16 / 255)), ("L2/0.5", ("l2", 0.5))])
def test_apgd_is_that_of_the_authors_bit_for_bit(loss: str, norm: str, threat: tuple[str, float]) -> None:
    function, others = LOSSES[loss]
    passes = Passes(CLASSIFIER, function, LABELS, *others)
    outcome = apgd(passes, IMAGES, IMAGES, norm=threat[0], eps=threat[1], steps=100, until_falls=False)
    expected = f"apgd/{norm}/{loss}"
    assert torch.equal(outcome.loss, recorded(f"{expected}/loss_best"))
    assert torch.equal(outcome.fell, ~recorded(f"{expected}/robust"))
    assert torch.equal(outcome.losses.T, recorded(f"{expected}/loss_steps"))
    assert torch.equal(outcome.best[:4], recorded(f"{expected}/best"))
    torch.testing.assert_close(outcome.size / threat[1], recorded(f"{expected}/size"), rtol=1e-6, atol=0)


def test_steps_are_reviewed_where_the_authors_review_them() -> None:
    expected = {100: [22, 41, 57, 70, 80, 87, 93, 99], 50: [11, 21, 30, 38, 45], 10: [2, 3, 4, 5, 6, 7, 8, 9, 10]}
    for steps, reviews in expected.items():
        assert [number + 1 for number in windows(steps)] == reviews


def test_an_image_that_falls_is_left_alone_and_the_same_images_fall() -> None:
    looks: list[int] = []
    passes = Passes(CLASSIFIER, losses.cross_entropy, LABELS)

    def counted(x: Tensor, places: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
        looks.append(len(x))
        return passes(x, places, number)

    ball: Any = {"norm": "linf", "eps": 0.12, "steps": 30}
    stopped = apgd(counted, IMAGES, IMAGES, **ball)
    whole = apgd(passes, IMAGES, IMAGES, until_falls=False, **ball)
    assert torch.equal(stopped.fell, whole.fell) and int(whole.fell.sum()) > 2
    assert looks == sorted(looks, reverse=True) and sum(looks) < 20 * 16
    assert torch.equal(stopped.best[~whole.fell], whole.best[~whole.fell])
    for outcome in (stopped, whole):
        assert torch.equal(CLASSIFIER(outcome.adversarial).argmax(1) != LABELS, outcome.fell)


def test_random_starts_reach_the_surface_of_the_ball() -> None:
    images, draw = (
        torch.full((3, 3, 8, 8), 0.5),
        noise.gaussian((3, 8, 8), seed=0, purpose="x", samples=["a", "b", "c"]),
    )
    for norm, order in (("linf", torch.inf), ("l2", 2)):
        moved = random_start(images, draw, ThreatModel(norm, 0.25)) - images
        length = torch.linalg.vector_norm(moved.flatten(1), ord=order, dim=1)
        torch.testing.assert_close(length, torch.full((3,), 0.25), rtol=1e-5, atol=0)
    assert random_start(torch.rand(3, 3, 8, 8), draw, ThreatModel("l2", 9)).min() == 0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_more_targets_break_no_fewer_images(norm: str) -> None:
    threat = ThreatModel(norm, 0.1 if norm == "linf" else 0.8)
    for few, many in (
        ("apgd-t:steps=10,targets=1", "apgd-t:steps=10"),
        ("apgd-ce:steps=10", "apgd-ce:steps=10,restarts=2"),
    ):
        one, more = (CLASSIFIER(attacked(text, CLASSIFIER, IMAGES, LABELS, threat)).argmax(1) for text in (few, many))
        assert ((more != LABELS) >= (one != LABELS)).all()


@pytest.mark.parametrize("loss", ["ce", "cw"])
@pytest.mark.parametrize(("norm", "threat"), [("Linf/16", ("linf", 16 / 255)), ("L2/0.5", ("l2", 0.5))])
def test_pgd_has_the_losses_of_the_recording(loss: str, norm: str, threat: tuple[str, float]) -> None:
    """Constant steps of 2/255, linf, and 15/255, l2, from the image; 20 of them, and the last iterate."""
    name = "margin" if loss == "cw" else "ce"
    share = (2 / 255 if threat[0] == "linf" else 15 / 255) / threat[1]
    text = f"pgd:step={share!r},steps=20,loss={name},random_start=false"
    logits = CLASSIFIER(attacked(text, CLASSIFIER, IMAGES, LABELS, ThreatModel(*threat)))
    values = losses.loss_named(name)(logits, LABELS)
    torch.testing.assert_close(values, recorded(f"pgd/{norm}/{loss}/20"), rtol=1e-4, atol=1e-5)


# Losses.


def test_targeted_losses_have_their_closed_forms() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0, -2.0], [1.0, 3.0, 2.5, 0.0]], dtype=torch.float64)
    labels, targets = torch.tensor([0, 2]), torch.tensor([2, 1])
    assert losses.targeted_dlr(logits, labels, targets).tolist() == pytest.approx([-3 / 4, 0.5 / 2.5], rel=1e-11)
    assert losses.targeted_margin(logits, labels, targets).tolist() == [-3, 0.5]
    three = losses.targeted_dlr_of_three(logits[:, :3], labels, targets)
    assert three.tolist() == pytest.approx([-3 / 3, 0.5 / 2], rel=1e-11)
    with pytest.raises(HarnessError, match="4 classes or more, not 3"):
        losses.targeted_dlr(logits[:, :3], labels, targets)


class Linear(nn.Module):
    """Logits of some classes, linear in the image; `after` is applied to them."""

    def __init__(self, classes: int, after: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        weight = torch.randn(classes, 48, generator=torch.Generator().manual_seed(classes))
        self.register_buffer("weight", weight)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after((x.flatten(1) - 0.5) @ self.weight.T)


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [("apgd-dlr", 2, "margin"), ("apgd-t", 2, "margin"), ("apgd-t", 3, r"z_\(1\) - z_\(3\)")],
)
def test_with_few_classes_an_attack_takes_the_form_that_is_defined_and_says_so(
    name: str, classes: int, message: str
) -> None:
    classifier, images = TiledClassifier(Linear(classes), Tiles(4)), torch.rand(4, 3, 4, 4)
    labels = classifier(images).argmax(1)
    with pytest.warns(Notice, match=message):
        adversarial = attacked(f"{name}:steps=10", classifier, images, labels, ThreatModel("linf", 0.5))
    assert (classifier(adversarial).argmax(1) != labels).all()


# The classifier under attack.


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-t", "fab-t", "square"])
def test_probabilities_are_refused(name: str) -> None:
    classifier = TiledClassifier(Linear(5, lambda z: z.softmax(1)), Tiles(4))
    with pytest.raises(HarnessError, match=r"probabilities, not logits.*Remove the softmax"):
        attacked(name, classifier, torch.rand(4, 3, 4, 4), torch.zeros(4, dtype=torch.int64), ThreatModel())


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "fab-t"])
def test_gradients_that_are_no_numbers_are_refused(name: str) -> None:
    classifier = TiledClassifier(Linear(5, lambda z: z + (z - z).sqrt()), Tiles(4))
    images = torch.rand(4, 3, 4, 4)
    with pytest.raises(HarnessError, match=r"NaN or infinite for 4 of 4 images.*--attack square"):
        attacked(name, classifier, images, classifier(images).argmax(1), ThreatModel())


class Noisy:
    """A stochastic defence: the logits of a classifier, which notes the draws that it is asked for."""

    def __init__(self, classifier: TiledClassifier, draws: list[int], draw: int = 0) -> None:
        self._classifier, self.draws, self._draw = classifier, draws, draw

    def __call__(self, images: Tensor) -> Tensor:
        return self._classifier(images)

    def gradient(self, images: Tensor, loss: Any, *rows: Tensor) -> tuple[Tensor, Tensor]:
        self.draws.append(self._draw)
        return self._classifier.gradient(images, loss, *rows)

    def drawn(self, draw: int) -> Noisy:
        return Noisy(self._classifier, self.draws, draw)


def test_draws_are_fresh_in_every_look_and_no_image_is_left_alone() -> None:
    defence = Noisy(CLASSIFIER, [])
    attacked("apgd-ce:steps=3,draws=2,restarts=2", defence, IMAGES, LABELS, ThreatModel("linf", 0.2))
    assert defence.draws == list(range(1, 17))


class Doubtful(TiledClassifier):
    """A classifier whose evaluation takes longer to be convinced than its gradients."""

    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images) + 0.3 * nn.functional.one_hot(LABELS[: len(images)], 10)

    def of(self, rows: list[int]) -> Doubtful:
        return self


def test_an_image_counts_as_fallen_when_the_evaluation_says_so() -> None:
    doubtful = Doubtful(Recorded(), Tiles(16))
    threat = ThreatModel("linf", 0.12)
    adversarial = attacked("apgd-ce:steps=20", doubtful, IMAGES[:1], LABELS[:1], threat)
    first = attacked("apgd-ce:steps=20", CLASSIFIER, IMAGES[:1], LABELS[:1], threat)
    assert (doubtful(first).argmax(1) == LABELS[:1]).all()
    assert (doubtful(adversarial).argmax(1) != LABELS[:1]).all()
