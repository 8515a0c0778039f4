"""Attack arithmetic against closed forms, and the attacks made of it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from smoothed_attack import smooth_pgd
from torch import Tensor, nn
from torch.nn import functional as F

from harness import plugins
from harness.attacks import losses, projections, steps
from harness.attacks.ascent import ascend
from harness.attacks.norms import l2_norm
from harness.base import noise
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import HarnessError, ThreatModel

LOGITS = torch.tensor([[3.0, 1.0, 0.0, -2.0], [1.0, 3.0, 2.5, 0.0], [5.0, 4.0, 1.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 2])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Losses.


def test_losses_have_their_closed_forms() -> None:
    expected = [-(z[y] - z.exp().sum().log()) for z, y in zip(LOGITS, LABELS, strict=True)]
    torch.testing.assert_close(losses.cross_entropy(LOGITS, LABELS), torch.stack(expected), rtol=1e-12, atol=0)
    assert losses.margin(LOGITS, LABELS).tolist() == [1 - 3, 3 - 2.5, 5 - 1]
    assert losses.dlr(LOGITS, LABELS).tolist() == pytest.approx([-2 / 3, 0.5 / 2, 1.0], rel=1e-11)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses_are_of_one_row_alone_and_differentiable(name: str) -> None:
    loss = losses.loss_named(name)
    logits, labels = normal(5, 6), torch.tensor([0, 1, 2, 3, 5])
    together = loss(logits, labels)
    assert together.shape == (5,)
    for row in range(5):
        assert torch.equal(loss(logits[row : row + 1], labels[row : row + 1]), together[row : row + 1])
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())


def test_dlr_does_not_see_shifts_and_scalings() -> None:
    for other in (LOGITS + 7, LOGITS * 100):
        torch.testing.assert_close(losses.dlr(other, LABELS), losses.dlr(LOGITS, LABELS), rtol=1e-9, atol=0)


def test_dlr_has_no_gradient_where_the_true_class_ranks_third() -> None:
    logits = LOGITS[2:].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses.dlr(logits, LABELS[2:]).sum(), logits)
    assert gradient.abs().max() < 1e-11


def test_losses_say_what_they_need() -> None:
    with pytest.raises(HarnessError, match="3 classes or more, not 2"):
        losses.dlr(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(HarnessError, match="must be one of ce, margin, dlr"):
        losses.loss_named("cw")


# Steps and projections.


@pytest.mark.parametrize("size", [0.3, torch.tensor([0.1, 0.2, 0.3, 0.0], dtype=torch.float64)], ids=["one", "each"])
def test_steps_have_their_length_and_ascend_most(size: float | Tensor) -> None:
    """No other displacement of that length gains more on a linear loss: Hoelder's inequality holds with equality."""
    gradient = normal(4, 3, 5, 5)
    sizes = torch.as_tensor(size, dtype=torch.float64).expand(4)
    gain = (steps.l2(gradient, size) * gradient).flatten(1).sum(1)
    torch.testing.assert_close(gain, sizes * gradient.flatten(1).norm(dim=1), rtol=1e-12, atol=1e-15)
    gain = (steps.linf(gradient, size) * gradient).flatten(1).sum(1)
    torch.testing.assert_close(gain, sizes * gradient.flatten(1).abs().sum(1), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(steps.l2(gradient, size).flatten(1).norm(dim=1), sizes, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(steps.linf(gradient, size).flatten(1).abs().amax(1), sizes, rtol=1e-12, atol=1e-15)


def test_an_image_without_a_gradient_does_not_move() -> None:
    zero = torch.zeros(2, 3, 4, 4)
    assert torch.equal(steps.l2(zero, 0.5), zero) and torch.equal(steps.linf(zero, 0.5), zero)


@pytest.mark.parametrize("radius", [0.7, torch.tensor([0.1, 0.5, 2.0, 0.0], dtype=torch.float64)], ids=["one", "each"])
def test_projections_end_in_the_ball_and_leave_its_points_alone(radius: float | Tensor) -> None:
    delta, radii = normal(4, 3, 5, 5), torch.as_tensor(radius, dtype=torch.float64).expand(4)
    for project, order in ((projections.l2, 2), (projections.linf, torch.inf)):
        inside = project(delta, radius)
        norms = torch.linalg.vector_norm(inside.flatten(1), ord=order, dim=1)
        torch.testing.assert_close(norms, radii, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(project(0.999 * inside, radius), 0.999 * inside, rtol=0, atol=0)


def test_projections_are_the_nearest_points_of_the_ball() -> None:
    """A projection p onto a convex set fulfils <x - p, q - p> <= 0 for every q in it."""
    delta, radius = normal(1, 3, 4, 4), 0.7
    for project in (projections.l2, projections.linf):
        nearest = project(delta, radius)
        for seed in range(20):
            other = project(normal(1, 3, 4, 4, seed=seed + 1), radius)
            assert float(((delta - nearest) * (other - nearest)).sum()) <= 1e-12


def test_the_box_shortens_every_coordinate() -> None:
    images, delta = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)), normal(4, 3, 5, 5).float()
    within = projections.box(images, delta)
    moved = images + within
    assert 0 <= moved.min() <= moved.max() <= 1
    assert (within.abs() <= delta.abs() + 1e-7).all() and (within * delta >= 0).all()


def test_norms_have_the_same_bits_beside_other_images() -> None:
    """Also with several threads, which must not share one long row: they would sum it in another order."""
    images, threads = normal(3, 3, 224, 224).float(), torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        together, alone = l2_norm(images), l2_norm(images[1:2])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(together[1:2], alone) and torch.equal(together, l2_norm(images))
    torch.testing.assert_close(together.flatten(), images.flatten(1).norm(dim=1), rtol=1e-5, atol=0)


# The ascent.


@pytest.mark.parametrize(
    ("step", "project", "dual"), [(steps.l2, projections.l2, 2), (steps.linf, projections.linf, 1)]
)
def test_ascent_on_a_linear_loss_ends_where_the_ball_ends(step: Any, project: Any, dual: int) -> None:
    """The largest value of <w, x> in a ball is <w, x_0> + radius |w|_dual; the box is far away."""
    weight, images = normal(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64)
    moved = ascend(
        lambda x, number: weight, images, torch.zeros_like(images),
        step=step, size=0.03, project=project, radius=0.1, steps=5,
    )  # fmt: skip
    gain = ((moved - images) * weight).flatten(1).sum(1)
    expected = 0.1 * torch.linalg.vector_norm(weight.flatten(1), ord=dual, dim=1)
    torch.testing.assert_close(gain, expected, rtol=1e-12, atol=0)


def test_ascent_stays_in_the_box() -> None:
    images = torch.tensor([0.0, 0.02, 0.5, 0.99, 1.0]).view(1, 1, 1, 5)
    for sign in (1.0, -1.0):
        moved = ascend(
            lambda x, number, sign=sign: torch.full_like(x, sign), images, torch.zeros_like(images),
            step=steps.linf, size=0.04, project=projections.linf, radius=0.1, steps=4,
        )  # fmt: skip
        torch.testing.assert_close(moved, (images + sign * 0.1).clamp(0, 1))
        assert 0 <= moved.min() <= moved.max() <= 1


# Attacks.

THREAT = ThreatModel("linf", 8 / 255)


class Small(nn.Module):
    """A fixed random classifier of eight-pixel images into five classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
            )

    def forward(self, x: Tensor) -> Tensor:
        return 5 * self.layers(x * 2 - 1)


def digits_like(count: int) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def attacked(
    name: str, classifier: Any, images: Tensor, labels: Tensor, ids: list[str], threat: ThreatModel = THREAT
) -> Tensor:
    def eps(purpose: str) -> Tensor:
        return noise.gaussian(images.shape[1:], seed=0, purpose=purpose, samples=ids)

    adversarial: Tensor = plugins.attack.configure(name).plugin(images, labels, classifier, eps, threat)
    return adversarial


QUICK = {
    "apgd-ce": "steps=10", "apgd-dlr": "steps=10", "apgd-t": "steps=5,targets=2", "fab": "restarts=2,steps=5",
    "fab-t": "steps=10,targets=2", "square": "queries=20",
}  # fmt: skip
"""Settings by attack under which the table-driven test is quick."""


def test_every_attack_stays_in_its_ball_and_raises_the_loss_and_gives_the_same_bits_in_any_batch() -> None:
    """One table-driven test over every attack there is, in the norms that it knows."""
    images, ids = digits_like(7), [f"image-{k}" for k in range(7)]
    classifier = TiledClassifier(Small(), Tiles(4), Tiles(3))
    labels = classifier(images).argmax(1)
    entries = [e for e in plugins.attack.entries() if not e.name.startswith("test/")]
    entries = [e for e in entries if not getattr(plugins.attack.configure(e.name).plugin, "members", ())]
    for entry, threat in product(entries, (THREAT, ThreatModel("l2", 0.5))):
        name = f"{entry.name}:{QUICK.get(entry.name, '')}".rstrip(":")
        plugin = plugins.attack.configure(name).plugin
        if getattr(plugin, "members", None):
            continue  # an ensemble of others in this table
        try:
            adversarial = attacked(name, classifier, images, labels, ids, threat)
        except HarnessError as reason:
            assert f"norm={'l2' if threat.norm == 'linf' else 'linf'}" in str(reason), entry.name
            continue
        assert adversarial.shape == images.shape and 0 <= adversarial.min() <= adversarial.max() <= 1, entry.name
        order = torch.inf if threat.norm == "linf" else 2
        moved = torch.linalg.vector_norm((adversarial - images).flatten(1), ord=order, dim=1)
        if getattr(plugin, "minimal", False):
            assert (classifier(adversarial).argmax(1) != labels).all() and (moved > 0).all(), entry.name
        else:
            assert (moved <= threat.eps + 1e-6).all() and (moved > 0.5 * threat.eps).all(), entry.name
        before, after = (losses.cross_entropy(classifier(x), labels) for x in (images, adversarial))
        assert (after > before).all(), entry.name
        for rows in ([0], [2, 3, 4, 5, 6], [6, 0, 3]):
            some = [ids[row] for row in rows]
            alone = attacked(name, classifier, images[rows], labels[rows], some, threat)
            assert torch.equal(alone, adversarial[rows]), entry.name


@pytest.mark.parametrize(
    ("name", "threat"),
    [("pgd", ThreatModel("linf", 1)), ("pgd:loss=margin,random_start=false", ThreatModel("linf", 1)),
     ("apgd-ce:steps=20", ThreatModel("linf", 1)), ("apgd-t:steps=20", ThreatModel("l2", 20)),
     ("square:queries=300", ThreatModel("linf", 1)), ("pgd:step=0.1", ThreatModel("l2", 20)),
     ("pgd:step=0.1,loss=dlr", ThreatModel("l2", 20))],
)  # fmt: skip
def test_an_attack_without_bounds_leaves_nothing_standing(name: str, threat: ThreatModel) -> None:
    """If it did, the attack and not the classifier would be what is measured (Carlini et al., 2019)."""
    images, classifier = digits_like(7), TiledClassifier(Small(), Tiles(4))
    labels = classifier(images).argmax(1)
    adversarial = attacked(name, classifier, images, labels, [str(k) for k in range(7)], threat)
    assert (classifier(adversarial).argmax(1) != labels).all()


def test_pgd_is_the_textbook_loop() -> None:
    """The step clip(x + step sign(gradient)) of Madry et al., written down once more with plain autograd."""
    network, images = Small(), digits_like(3)
    labels = torch.tensor([0, 1, 2])
    expected = images
    for _ in range(5):
        x = expected.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(x), labels, reduction="sum"), x)
        expected = (expected + 0.02 * gradient.sign()).clamp(images - 0.05, images + 0.05).clamp(0, 1)
    classifier = TiledClassifier(network, Tiles(3), Tiles(3))
    adversarial = attacked(
        "pgd:step=0.4,steps=5,random_start=false", classifier, images, labels, ["a"] * 3, ThreatModel("linf", 0.05)
    )
    torch.testing.assert_close(adversarial, expected, rtol=0, atol=1e-6)


def test_averaging_draws_of_a_classifier_without_noise_changes_nothing_but_rounding() -> None:
    images, classifier = digits_like(3), TiledClassifier(Small(), Tiles(4))
    labels = classifier(images).argmax(1)
    one, several = (
        attacked(f"pgd:steps=3,draws={draws}", classifier, images, labels, ["a", "b", "c"]) for draws in (0, 2)
    )
    torch.testing.assert_close(one, several, rtol=0, atol=1e-6)


class Recording:
    """A classifier under attack that notes which draws are asked for."""

    def __init__(self, classifier: TiledClassifier) -> None:
        self._classifier = classifier
        self.draws: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        return self._classifier(images)

    def gradient(self, images: Tensor, loss: Any, *rows: Tensor) -> tuple[Tensor, Tensor]:
        return self._classifier.gradient(images, loss, *rows)

    def drawn(self, draw: int) -> Recording:
        self.draws.append(draw)
        return self


def test_an_attack_that_averages_draws_never_sees_those_of_the_evaluation() -> None:
    images, classifier = digits_like(2), Recording(TiledClassifier(Small(), Tiles(4)))
    attacked("pgd:steps=3,draws=2", classifier, images, torch.tensor([0, 1]), ["a", "b"])
    assert classifier.draws == [1, 2, 3, 4, 5, 6]
    classifier.draws.clear()
    attacked("pgd:steps=3", classifier, images, torch.tensor([0, 1]), ["a", "b"])
    assert classifier.draws == []


def test_smooth_pgd_takes_the_gradient_of_the_mean_softmax() -> None:
    """One step of the plugin, which weighs the draws' gradients, against the reference, which differentiates."""
    network, images, ids = Small(), digits_like(3), ["a", "b", "c"]
    labels = torch.tensor([0, 1, 2])

    def logits(x: Tensor, step: int) -> Tensor:
        purposes = [f"smooth-pgd/{step}/{draw}" for draw in range(8)]
        draws = [noise.gaussian(x.shape[1:], seed=0, purpose=p, samples=ids) for p in purposes]
        return torch.stack([network(x + 0.25 * eps) for eps in draws])

    expected = smooth_pgd(logits, images, labels, torch.full((3,), 0.5), steps=4)
    adversarial = attacked(
        "smooth-pgd:steps=4", TiledClassifier(network, Tiles(4)), images, labels, ids, ThreatModel("l2", 0.5)
    )
    torch.testing.assert_close(adversarial, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:step=-1", "step=-1.*must not be negative"),
        ("pgd:loss=cw", "must be one of ce, margin, dlr"),
        ("smooth-pgd:draws=0", "draws=0 at least 1"),
    ],
)
def test_impossible_settings_of_an_attack_are_refused(text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        plugins.attack.configure(text)


@pytest.mark.parametrize(
    ("norm", "eps", "message"),
    [
        ("l1", 1.0, "norm='l1' must be one of linf, l2"),
        ("linf", 8.0, r"images lie in \[0, 1\].*eps=8/255"),
        ("l2", float("nan"), "eps=nan must be a number"),
        ("l2", -0.5, "at least 0"),
    ],
)
def test_an_impossible_threat_model_is_refused(norm: str, eps: float, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        ThreatModel(norm, eps)


def test_a_threat_model_is_written_as_papers_write_it() -> None:
    assert [str(ThreatModel(*pair)) for pair in (("linf", 8 / 255), ("linf", 0.3), ("l2", 0.5))] == [
        "linf 8/255", "linf 0.3", "l2 0.5",
    ]  # fmt: skip
