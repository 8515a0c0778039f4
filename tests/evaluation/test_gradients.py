"""Gradients of classifiers and of test-time methods by the images: right, and the same bits in any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from small_denoisers import SHORT, batch, gaussian_data, random_unet
from torch import Tensor, nn

from harness import plugins
from harness.attacks.losses import cross_entropy, margin
from harness.diffusion.adaptation import adapt
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.differentiable import adapt_differentiably
from harness.diffusion.schedule import linear
from harness.evaluation.attacked.judging import JUDGED, judged_logits
from harness.evaluation.records.keys import identity
from harness.evaluation.views.batch import BatchViews, view_noise
from harness.evaluation.views.gradients import GradientViews, MethodClassifier, log_probabilities
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import Adaptation, Classifier, HarnessError, RunSpec, ThreatModel, Views

LABELS = torch.tensor([0, 1, 2, 3, 0])


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


class Smooth(nn.Module):
    """A classifier of 16-pixel images into four classes, without corners."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.GroupNorm(2, 6), nn.SiLU(), nn.Flatten(), nn.Linear(384, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2).sub_(1)  # networks may write into what they are given
        logits: Tensor = 3 * self.layers(x)
        return logits


class TinyUnet(nn.Module):
    """A noise prediction that depends on x_t and on the time, without corners."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, return_dict: bool) -> tuple[Tensor]:
        hidden = torch.tanh(self.inner(x) + t[:, None, None, None] / 1000)
        return (0.9 * x + 0.5 * self.outer(hidden),)


def classifier(dtype: torch.dtype = torch.float32, gradient_tile: int = 4) -> TiledClassifier:
    return TiledClassifier(seeded(Smooth).to(dtype), Tiles(8), Tiles(gradient_tile))


def tiny_denoiser(dtype: torch.dtype = torch.float32) -> Denoiser:
    return Denoiser(seeded(TinyUnet).to(dtype).requires_grad_(False), linear())


def under(
    method: str, denoiser: Denoiser | None, network: TiledClassifier, rows: slice = slice(0, 5)
) -> MethodClassifier:
    return MethodClassifier(plugins.method.configure(method).plugin, network, denoiser, Tiles(8), 0, batch(rows).ids)


def slope(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, h: float = 1e-6) -> Tensor:
    """Derivatives (B,) of a function's values (B,) along a direction, by central differences."""
    return (function(x + h * direction) - function(x - h * direction)) / (2 * h)


def directions(x: Tensor) -> Iterator[Tensor]:
    for seed in range(3):
        yield torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


# Classifiers.


def test_the_gradient_of_a_classifier_is_that_of_plain_autograd() -> None:
    images, network = batch(slice(0, 5)).images, seeded(Smooth)
    x = images.clone().requires_grad_()
    expected_values = cross_entropy(network(x.clone()), LABELS)
    (expected,) = torch.autograd.grad(expected_values.sum(), x)
    with torch.no_grad():
        values, gradients = classifier().gradient(images, cross_entropy, LABELS)
    assert (values.dtype, gradients.dtype, gradients.shape) == (torch.float32, torch.float32, images.shape)
    torch.testing.assert_close(values, expected_values.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)
    assert not values.requires_grad and not gradients.requires_grad and not images.requires_grad


def test_the_gradient_of_a_classifier_agrees_with_finite_differences() -> None:
    images, under_attack = batch(slice(0, 5)).images.double(), classifier(torch.float64)
    _, gradients = under_attack.gradient(images, margin, LABELS)
    assert gradients.dtype == torch.float64
    for direction in directions(images):
        expected = slope(lambda x: under_attack.gradient(x, margin, LABELS)[0], images, direction)
        torch.testing.assert_close((gradients * direction).flatten(1).sum(1), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("tile", [1, 4, 16])
def test_gradients_are_bit_equal_at_any_batch_size(tile: int) -> None:
    under_attack, images = classifier(gradient_tile=tile), batch(slice(0, 5)).images
    values, gradients = under_attack.gradient(images, cross_entropy, LABELS)
    for rows in (slice(0, 1), slice(1, 4), slice(4, 5)):
        some = under_attack.gradient(images[rows], cross_entropy, LABELS[rows])
        assert torch.equal(some[0], values[rows]) and torch.equal(some[1], gradients[rows])


def test_gradients_are_in_float32_whatever_the_evaluation_computes_in() -> None:
    network, images = seeded(Smooth), batch(slice(0, 5)).images
    half = TiledClassifier(network, Tiles(8, dtype="bfloat16"), Tiles(4, dtype="bfloat16"))
    _, gradients = half.gradient(images, cross_entropy, LABELS)
    assert torch.equal(gradients, classifier().gradient(images, cross_entropy, LABELS)[1])


def test_a_loss_gets_rows_of_its_own_for_every_image() -> None:
    weights = torch.tensor([1.0, 0.0, 2.0, -1.0, 0.5])
    images, under_attack = batch(slice(0, 5)).images, classifier()
    _, plain = under_attack.gradient(images, cross_entropy, LABELS)
    _, weighted = under_attack.gradient(images, lambda z, y, w: w * cross_entropy(z, y), LABELS, weights)
    torch.testing.assert_close(weighted, weights[:, None, None, None] * plain, rtol=1e-5, atol=1e-7)


def test_losses_that_cannot_be_differentiated_are_refused() -> None:
    images, under_attack = batch(slice(0, 5)).images, classifier()
    with pytest.raises(HarnessError, match=r"one value per image, \(4,\) here; it gave a tensor of shape \(\)"):
        under_attack.gradient(images, lambda z: z.sum())
    with pytest.raises(HarnessError, match="does not depend on the images"):
        under_attack.gradient(images, lambda z: z.argmax(1).float())


def test_gradients_survive_a_halving_of_the_tile() -> None:
    network, images = seeded(Smooth), batch(slice(0, 5)).images
    tiles = Tiles(4)
    scarce = TiledClassifier(network, Tiles(8), tiles)

    def refuse(_: nn.Module, args: tuple[Any, ...]) -> None:
        if len(args[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    network.register_forward_pre_hook(refuse)
    _, gradients = scarce.gradient(images, cross_entropy, LABELS)
    assert (tiles.size, tiles.halved) == (2, 1)
    torch.testing.assert_close(gradients, classifier().gradient(images, cross_entropy, LABELS)[1], rtol=1e-4, atol=1e-6)


def test_the_gradient_tile_enters_a_key_only_where_it_is_not_the_usual_one() -> None:
    spec = RunSpec("digits", ("m",), ("default",))

    def settings(chosen: RunSpec) -> Any:
        return identity(chosen, 1, {}, ("", ""), "", "")["spec"]

    assert spec.gradient_tile == 16 and "gradient_tile" not in settings(spec) and "compile" not in settings(spec)
    assert settings(replace(spec, gradient_tile=8))["gradient_tile"] == 8
    with pytest.raises(HarnessError, match="gradient_tile=0 must be at least 1"):
        replace(spec, gradient_tile=0)


# Test-time methods.

METHODS = ["default", "de:times=0,100,300", "dda:steps=10,start=3,factor=2", "dda-se:steps=10,start=2,factor=2"]


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_a_method_agrees_with_finite_differences(method: str) -> None:
    images = batch(slice(0, 5)).images.double()
    under_attack = under(method, tiny_denoiser(torch.float64), classifier(torch.float64))
    values, gradients = under_attack.gradient(images, cross_entropy, LABELS)
    torch.testing.assert_close(values, cross_entropy(under_attack(images), LABELS), rtol=1e-9, atol=1e-9)
    for direction in directions(images):
        expected = slope(lambda x: under_attack.gradient(x, cross_entropy, LABELS)[0], images, direction)
        torch.testing.assert_close((gradients * direction).flatten(1).sum(1), expected, rtol=1e-5, atol=1e-7)


def test_the_gradient_through_denoised_views_is_that_of_plain_autograd() -> None:
    some, denoiser, network = batch(slice(0, 5)), random_unet(), seeded(Smooth)
    x = some.images.clone().requires_grad_()
    total: Any = 0
    for time in (100, 300):
        eps = view_noise(x.shape[1:], seed=0, purpose="denoise", ids=some.ids, step=time)
        t = torch.full((5,), time)
        total = total + network(denoiser.predict_x0(denoiser.diffuse(x, t, eps), t)).softmax(-1)
    (expected,) = torch.autograd.grad(-(total / 2).gather(1, LABELS[:, None]).log().sum(), x)
    under_attack = under("de:times=100,300", denoiser, TiledClassifier(network, Tiles(8), Tiles(4)))
    _, gradients = under_attack.gradient(some.images, cross_entropy, LABELS)
    torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def adapted_plainly(denoiser: Denoiser, images: Tensor, settings: Adaptation, draw: Callable[[int], Tensor]) -> Tensor:
    """Adaptation as one long graph: nothing is detached, nothing recomputed, attention unfused."""
    from harness.diffusion import adaptation
    from harness.diffusion.sampling import ancestral_step

    schedule, real = denoiser.schedule.respaced(settings.steps), torch.ones(len(images))
    reference, abar = images * 2 - 1, schedule.alpha_bar[settings.start]
    x = float(abar**0.5) * reference + float((1 - abar) ** 0.5) * draw(0)
    for step in range(settings.start):
        position = settings.start - 1 - step
        x0, v, gradient = adaptation.guidance(denoiser, schedule, x, position, reference, settings, real, True)
        x = ancestral_step(schedule, x, position, x0, v, draw(1 + step)) - settings.scale * gradient
    return ((x + 1) / 2).clamp(0, 1)


@pytest.mark.parametrize("out_channels", [3, 6])
def test_the_gradient_through_adaptation_is_that_of_one_long_graph(out_channels: int) -> None:
    """A real UNet with attention and learned variance: forward bits of `adapt`, gradient of plain autograd."""
    denoiser, some = random_unet(out_channels), batch(slice(0, 2))
    weight = torch.randn(some.images.shape, generator=torch.Generator().manual_seed(3))

    def draw(step: int) -> Tensor:
        return view_noise(some.images.shape[1:], seed=0, purpose="dda", ids=some.ids, step=step)

    x = some.images.clone().requires_grad_()
    adapted = adapt_differentiably(denoiser, x, SHORT, draw)
    assert torch.equal(adapted, adapt(denoiser, some.images, SHORT, draw, torch.ones(2)))
    (gradient,) = torch.autograd.grad((adapted * weight).sum(), x)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        plain = adapted_plainly(denoiser, x, SHORT, draw)
        (expected,) = torch.autograd.grad((plain * weight).sum(), x)
    torch.testing.assert_close(plain, adapted, rtol=0, atol=1e-4)
    torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))


def test_second_order_terms_of_the_guidance_are_not_dropped() -> None:
    """Without guidance the gradient is another one: the exact one holds the derivative of the guidance itself."""
    denoiser, some = tiny_denoiser(), batch(slice(0, 2))
    gradients = []
    for scale in (0, 6):
        under_attack = under(f"dda:steps=10,start=3,factor=2,scale={scale}", denoiser, classifier(), slice(0, 2))
        gradients.append(under_attack.gradient(some.images, cross_entropy, LABELS[:2])[1])
    assert (gradients[0] - gradients[1]).norm() > 1e-2 * gradients[0].norm()


def test_an_image_that_is_adapted_perfectly_has_a_finite_gradient() -> None:
    """The norm of the guidance has no derivative at zero, where a black image that stays black is."""
    denoiser = Denoiser(seeded(lambda: Silent()), linear())
    black = torch.zeros(1, 3, 16, 16, requires_grad=True)
    adapted = adapt_differentiably(denoiser, black, SHORT, lambda step: torch.full((1, 3, 16, 16), -5.0))
    (gradient,) = torch.autograd.grad(adapted.sum(), black)
    assert gradient.isfinite().all()


class Silent(nn.Module):
    """A noise prediction of nothing: whatever is very dark is predicted black."""

    def forward(self, x: Tensor, t: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (0 * x,)


@pytest.mark.parametrize("method", ["de:times=0,100,300", "dda:steps=10,start=2,factor=2"])
def test_gradients_of_methods_are_bit_equal_at_any_batch_size(method: str) -> None:
    denoiser, network = random_unet(), classifier(gradient_tile=2)
    of_all = under(method, denoiser, network)
    images = batch(slice(0, 5)).images
    values, gradients = of_all.gradient(images, cross_entropy, LABELS)
    for rows in (slice(0, 1), slice(1, 4)):
        some = of_all.of(range(5)[rows]).gradient(images[rows], cross_entropy, LABELS[rows])
        assert torch.equal(some[0], values[rows]) and torch.equal(some[1], gradients[rows])


@pytest.mark.parametrize("draw", [0, 3])
@pytest.mark.parametrize("method", ["de:times=0,100,300", "dda:steps=10,start=3,factor=2"])
def test_an_attack_differentiates_what_the_evaluation_computes(method: str, draw: int) -> None:
    """The values of the gradient's pass are those of the method on ordinary views, under every draw."""
    under_attack = under(method, tiny_denoiser(), classifier()).drawn(draw)
    images = batch(slice(0, 5)).images
    values, _ = under_attack.gradient(images, cross_entropy, LABELS)
    torch.testing.assert_close(values, cross_entropy(under_attack(images), LABELS), rtol=1e-4, atol=1e-5)
    if not draw:
        views = BatchViews(batch(slice(0, 5)), under_attack.denoiser, Tiles(8), 0)
        plain = under_attack.method(views, under_attack.classifier)
        assert torch.equal(log_probabilities(plain), under_attack(images))


def test_draws_of_a_method_have_other_gradients() -> None:
    under_attack, images = under("de:times=100,300", tiny_denoiser(), classifier()), batch(slice(0, 5)).images
    first, other, again = (under_attack.drawn(draw).gradient(images, cross_entropy, LABELS)[1] for draw in (1, 2, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_views_of_a_tile_are_those_of_the_batch() -> None:
    some, denoiser = batch(slice(0, 5)), tiny_denoiser()
    ordinary = BatchViews(some, denoiser, Tiles(5), 0)
    tile = GradientViews(some.images, some.ids, denoiser, 0)
    assert tile.original() is some.images and next(tile.denoised((0,))) is some.images
    for draw in (0, 1):
        for differentiable, plain in zip(
            tile.denoised((50, 400), draw), ordinary.denoised((50, 400), draw), strict=True
        ):
            torch.testing.assert_close(differentiable, plain, rtol=0, atol=1e-5)
        torch.testing.assert_close(tile.adapted(SHORT, draw), ordinary.adapted(SHORT, draw), rtol=0, atol=1e-4)
    assert tile.adapted(SHORT) is tile.adapted(SHORT)


def test_what_has_no_gradient_is_refused_with_the_reason() -> None:
    @dataclass(frozen=True)
    class Hard:
        def __call__(self, views: Views, network: Classifier) -> Tensor:
            return nn.functional.one_hot(network(views.original()).argmax(1), 4).float()

    images, denoiser, network = batch(slice(0, 5)).images, tiny_denoiser(), classifier()
    with pytest.raises(HarnessError, match=r"detached, discrete or under torch\.no_grad"):
        replace(under("default", None, network), method=Hard()).gradient(images, cross_entropy, LABELS)
    with pytest.raises(HarnessError, match="Attack dda with norm=sample"):
        under("dda:norm=batch4", denoiser, network).gradient(images, cross_entropy, LABELS)
    with pytest.raises(HarnessError, match="--denoiser"):
        under("de", None, network).gradient(images, cross_entropy, LABELS)
    with pytest.raises(HarnessError, match="without a diffusion time"):
        under("denoised", denoiser, network).gradient(images, cross_entropy, LABELS)
    with pytest.raises(HarnessError, match="1000"):
        under("de:times=1000", denoiser, network).gradient(images, cross_entropy, LABELS)
    with pytest.raises(ValueError, match="5 images for 2 samples"):
        under("default", None, network, slice(0, 2)).gradient(images, cross_entropy, LABELS)
    compiled = gaussian_data(1.0)
    compiled.network.compile()
    with pytest.raises(HarnessError, match="Leave --compile out"):
        under("dda:steps=10,start=2", compiled, network).gradient(images, cross_entropy, LABELS)


def test_pgd_through_a_method_breaks_more_than_one_that_looks_past_it() -> None:
    """The adaptive attack finds what the transferred one misses: the gradient leads through the defence."""
    images, denoiser, network = batch(slice(0, 5)).images, tiny_denoiser(), classifier()
    defended = under("de:times=200,400", denoiser, network)
    labels = defended(images).argmax(1)
    attack = plugins.attack.configure("pgd:steps=5,random_start=false").plugin
    adaptive, transferred = (
        cross_entropy(defended(attack(images, labels, target, lambda purpose: images, ThreatModel())), labels)
        for target in (defended, network)
    )
    assert adaptive.mean() > transferred.mean() > cross_entropy(defended(images), labels).mean()


# What attacks on defences ask of a classifier.


def peak_memory(function: Callable[[], object]) -> int:
    """Largest number of bytes that tensors of one call hold at once, on the CPU."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    assert profiler.profiler is not None
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = torch.tensor([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).cumsum(0)
    return int(held.max())


def test_a_method_over_many_times_needs_the_memory_of_one() -> None:
    images = batch(slice(0, 5)).images
    peaks = []
    for times in ("100", "100,200,300,400"):
        under_attack = under(f"de:times={times}", random_unet(), classifier())
        peaks.append(peak_memory(partial(under_attack.gradient, images, margin, LABELS)))
    # Three more views of the tile, and what autograd keeps of each, are small beside the activations of one UNet.
    assert peaks[0] < peaks[1] < 1.25 * peaks[0]


@pytest.mark.parametrize("method", ["de:times=100,300", "dda:steps=10,start=2,factor=2"])
def test_gradients_straight_through_take_each_view_for_the_image(method: str) -> None:
    """The value is that of the method; the gradient that of the classifier at the views, as if they were the image."""
    images, network = batch(slice(0, 5)).images, classifier()
    under_attack = under(method, tiny_denoiser(), network).drawn(2)
    values, gradients = under_attack.straight_through().gradient(images, cross_entropy, LABELS)
    torch.testing.assert_close(values, under_attack.gradient(images, cross_entropy, LABELS)[0], rtol=0, atol=1e-6)
    views = BatchViews(batch(slice(0, 5)), under_attack.denoiser, Tiles(8), 0).drawn(2)
    settings = under_attack.method
    shown = [views.adapted(settings)] if isinstance(settings, Adaptation) else list(views.denoised((100, 300)))
    leaves = [view.clone().requires_grad_() for view in shown]
    total = torch.stack([network.network(leaf.clone()).softmax(-1) for leaf in leaves]).mean(0)
    expected = torch.autograd.grad(-total.gather(1, LABELS[:, None]).log().sum(), leaves)
    torch.testing.assert_close(gradients, torch.stack(expected).sum(0), rtol=1e-3, atol=1e-5)


def test_a_plain_classifier_has_no_defence_to_take_away() -> None:
    plain = classifier()
    assert plain.undefended is plain and plain.straight_through() is plain and plain.of([0]) is plain
    defended = under("de:times=0,100", tiny_denoiser(), plain)
    assert defended.undefended is plain


def test_judging_draws_are_ten_that_no_attack_takes() -> None:
    images, defended = batch(slice(0, 5)).images, under("de:times=100,300", tiny_denoiser(), classifier())
    logits = judged_logits(defended, images)
    assert logits.shape == (10, 5, 4) and len({tuple(row.flatten().tolist()) for row in logits}) == 10
    assert torch.equal(logits[3], defended.drawn(JUDGED + 3)(images))
    plain = classifier()
    assert torch.equal(judged_logits(plain, images), plain(images).expand(10, -1, -1))


def test_a_surrogate_adapts_from_the_same_noise_level_in_fewer_steps() -> None:
    """On a denoiser of Gaussian data a third of the steps come closer to the whole adaptation than the image itself."""
    settings, denoiser, some = Adaptation(steps=100, start=30), gaussian_data(0.5), batch(slice(0, 5))
    short = settings.shortened(10)
    assert (short.start, short.steps, short.scale) == (10, 34, 18.0)
    levels = [denoiser.schedule.respaced(s.steps).alpha_bar[s.start] for s in (settings, short)]
    assert abs(levels[0] - levels[1]) < 0.03
    defended = under("dda:steps=100,start=30", denoiser, classifier())
    views = BatchViews(some, denoiser, Tiles(8), 0)
    whole, fewer = views.adapted(settings), views.adapted(short)
    assert (fewer - whole).norm() < (some.images - whole).norm()
    assert defended.surrogate(10).method == replace(defended.method, start=10, steps=34, scale=18.0)  # type: ignore[type-var]
    with pytest.raises(HarnessError, match="from 1 to the defence's 30"):
        defended.surrogate(31)
    with pytest.raises(HarnessError, match="no chain of steps"):
        under("de:times=100", denoiser, classifier()).surrogate(5)
