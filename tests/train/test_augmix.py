"""AugMix against its authors' code, and the Jensen-Shannon loss against its formula.

recorded/augmix.npz was recorded with the unmodified augmentations.py and `aug` (of cifar.py) of google-research/augmix
(9b9824c7) on Pillow 13, their random draws replaced or written down. It holds

- img23, a photograph of 23 pixels;
- SIDE/OPERATION/LEVEL/SIGN, of 224 pixels (from the photograph in recorded/corruptions.npz) every 16th row and column;
- mixtures, what `aug` drew for img23 six times (severity 3, 3, 1, 10, 3, 3; three chains, at last two and one), and
  mixed/NUMBER, every second row and column of what it made of them.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import RECORDED_FOLDER
from PIL import Image
from scipy import stats

from harness.base import noise
from harness.train.augment import augmix
from harness.train.augment.augmix import AugMix, Link, Mixture, operations
from harness.train.objectives.consistency import jensen_shannon
from harness.types import HarnessError

DATA = RECORDED_FOLDER
RECORDED = np.load(DATA / "augmix.npz")
PHOTOS = {"23": RECORDED["img23"], "224": np.load(DATA / "corruptions.npz")["img224"]}
CASES = sorted(key for key in RECORDED.files if key[0].isdigit())
MIXTURES = [
    Mixture([[Link(*link) for link in chain] for chain in drawn["chains"]], drawn["weights"], drawn["m"])
    for drawn in json.loads(str(RECORDED["mixtures"]))
]
KEY: dict[str, Any] = {"seed": 3, "epoch": 2, "view": 0}


def some(count: int, side: int = 32) -> tuple[torch.Tensor, list[str]]:
    """Images with more than 8 bits, and their ids."""
    images = noise.gaussian((3, 4, 4), seed=0, purpose="test", samples=[f"s{i}" for i in range(count)])
    return torch.nn.functional.interpolate(images, size=side, mode="bicubic").sigmoid(), [f"s{i}" for i in range(count)]


def draws(count: int, **settings: Any) -> list[Mixture]:
    return [AugMix(**settings).draw(rng) for rng in noise.generators(0, "test", [str(i) for i in range(count)])]


@pytest.mark.parametrize("case", CASES)
def test_operations_are_the_published_ones(case: str) -> None:
    side, name, level, sign = case.split("/")
    result = np.asarray(operations()[name](Image.fromarray(PHOTOS[side]), float(level), int(sign)))
    step = 16 if side == "224" else 1
    assert np.array_equal(result[::step, ::step], RECORDED[case])


def test_the_record_has_every_operation_at_two_sizes() -> None:
    assert {tuple(case.split("/")[:2]) for case in CASES} == {(side, name) for side in PHOTOS for name in operations()}


@pytest.mark.parametrize("number", range(len(MIXTURES)))
def test_mixtures_are_the_published_ones(number: int) -> None:
    photo, mixture = RECORDED["img23"][None], MIXTURES[number]
    chains = torch.from_numpy(augmix.run_chains(photo, [mixture.chains])).movedim(-1, 2)
    mixed = augmix.mix(torch.from_numpy(photo).movedim(-1, 1) / 255, chains, [mixture])[0]
    assert np.abs(mixed[:, ::2, ::2].numpy() - RECORDED[f"mixed/{number}"]).max() < 3e-7


@pytest.mark.parametrize("shape", [(24, 90), (90, 24)])
def test_translation_goes_by_the_side_along_which_it_moves(shape: tuple[int, int]) -> None:
    """Level 9.99 moves by almost a third of that side: 29 of 90 pixels, 7 of 24."""
    rows, columns = np.indices(shape, dtype=np.uint8)
    picture = np.stack([rows, columns, np.full(shape, 255, np.uint8)], axis=-1)
    for name, axis in (("translate_y", 0), ("translate_x", 1)):
        moved = np.asarray(operations()[name](Image.fromarray(picture), 9.99, 1))
        pixels = {90: 29, 24: 7}[shape[axis]]
        inside = np.take(moved, range(shape[axis] - pixels), axis)
        assert np.array_equal(inside, np.take(picture, range(pixels, shape[axis]), axis))
        assert not np.take(moved, range(shape[axis] - pixels, shape[axis]), axis).any()


def resembles(values: Any, distribution: Any) -> bool:
    """Mean and variance within four standard errors, and the whole distribution by Kolmogorov and Smirnov."""
    x = np.asarray(values)
    squares = (x - distribution.mean()) ** 2
    return (
        abs(x.mean() - distribution.mean()) < 4 * distribution.std() / len(x) ** 0.5
        and abs(squares.mean() - distribution.var()) < 4 * squares.std() / len(x) ** 0.5
        and stats.kstest(x, distribution.cdf).pvalue > 1e-3
    )


@pytest.mark.parametrize("alpha, width", [(1.0, 3), (0.5, 2), (4.0, 4)])
def test_weights_are_dirichlet_and_m_is_beta(alpha: float, width: int) -> None:
    drawn = draws(3000, alpha=alpha, width=width)
    weights = np.array([x.weights for x in drawn])
    assert weights.shape == (3000, width) and np.allclose(weights.sum(1), 1)
    assert all(resembles(column, stats.beta(alpha, (width - 1) * alpha)) for column in weights.T)
    assert resembles([x.m for x in drawn], stats.beta(alpha, alpha))
    assert abs(stats.pearsonr(weights[:, 0], [x.m for x in drawn]).statistic) < 4 / 3000**0.5


@pytest.mark.parametrize("severity", [1.0, 3.0, 10.0])
def test_links_are_uniform(severity: float) -> None:
    links = [link for x in draws(1000, severity=severity) for chain in x.chains for link in chain]
    assert resembles([link.level for link in links], stats.uniform(0.1, severity - 0.1))
    names = [link.operation for link in links]
    assert stats.chisquare([names.count(name) for name in operations()]).pvalue > 1e-3
    assert stats.chisquare([[link.sign for link in links].count(sign) for sign in (-1, 1)]).pvalue > 1e-3


def test_depth_is_one_to_three_or_as_told() -> None:
    depths = [len(chain) for x in draws(1000) for chain in x.chains]
    assert set(depths) == {1, 2, 3} and stats.chisquare([depths.count(d) for d in (1, 2, 3)]).pvalue > 1e-3
    assert {len(chain) for x in draws(20, depth=5) for chain in x.chains} == {5}


def test_severity_is_strength() -> None:
    images, samples = some(64)
    changes = [float((AugMix(s)(images, samples=samples, **KEY) - images).abs().mean()) for s in (0.2, 1.0, 3.0, 10.0)]
    assert changes == sorted(changes) and changes[-1] > 1.2 * changes[0]
    levels = [np.array([link.level for x in draws(9, severity=s) for c in x.chains for link in c]) for s in (1.0, 10.0)]
    assert np.allclose((levels[0] - 0.1) / 0.9, (levels[1] - 0.1) / 9.9)


def test_an_image_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images, samples = some(14)
    together = AugMix()(images, samples=samples, **KEY)
    for size in (1, 7):
        parts = [
            AugMix()(images[i : i + size], samples=samples[i : i + size], **KEY) for i in range(0, len(images), size)
        ]
        assert torch.equal(torch.cat(parts), together)
    assert torch.equal(AugMix()(images.flip(0), samples=samples[::-1], **KEY).flip(0), together)
    strided = images.to(memory_format=torch.channels_last)
    assert torch.equal(AugMix()(strided, samples=samples, **KEY), together)
    monkeypatch.setattr(noise, "THREADED", 0)
    assert torch.equal(AugMix()(images, samples=samples, **KEY), together)


@pytest.mark.parametrize("change", [{"seed": 4}, {"epoch": 3}, {"view": 1}])
def test_every_seed_epoch_and_view_is_another(change: dict[str, int]) -> None:
    images, samples = some(8)
    one, other = (AugMix()(images, samples=samples, **key) for key in (KEY, KEY | change))
    assert all(not torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("shape", [(32, 32), (20, 45)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_are_images(shape: tuple[int, int], dtype: torch.dtype) -> None:
    images = some(32, max(shape))[0][..., : shape[0], : shape[1]].to(dtype)
    images[0], images[1] = 0, 1
    result = AugMix(severity=10)(images, samples=[str(i) for i in range(32)], **KEY)
    assert result.shape == images.shape and result.dtype == dtype
    assert float(result.min()) >= 0 and float(result.max()) <= 1


@pytest.mark.parametrize("value", [0, 1, 100, 255])
def test_constant_pictures_survive_every_operation(value: int) -> None:
    """They keep their value, are inverted, lose bits, or have black corners."""
    picture = Image.new("RGB", (32, 32), (value, value, value))
    for name, operation in operations().items():
        allowed = {"posterize": {value & mask for mask in (240, 224, 192, 128)}, "solarize": {value, 255 - value}}
        for level in (0.1, 3.0, 9.99):
            values = set(np.unique(np.asarray(operation(picture, level, 1))).tolist())
            assert values <= allowed.get(name, {value} if name in ("autocontrast", "equalize") else {0, value})


def test_chains_see_8_bits_and_the_mixture_keeps_them_all() -> None:
    """Rounding reaches the result through the image alone: times 1 - m."""
    images, samples = some(16)[0].double().mul(253).round().add(1).div(255), [str(i) for i in range(16)]
    lost = (0.4 / 255) * noise.gaussian((3, 32, 32), seed=0, purpose="lost", samples=samples).double().sign()
    exact, finer = (AugMix()(x, samples=samples, **KEY) for x in (images, images + lost))
    m = torch.tensor([AugMix().draw(rng).m for rng in noise.generators(3, "augmix/0", samples, 2)]).double()
    assert torch.allclose(finer - exact, (1 - m)[:, None, None, None] * lost, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "setting",
    [
        {"severity": 0.1},
        {"severity": 10.5},
        {"severity": math.nan},
        {"width": 0},
        {"depth": -1},
        {"alpha": 0.0},
        {"alpha": math.inf},
    ],
)
def test_bad_settings_are_refused(setting: dict[str, Any]) -> None:
    name, value = next(iter(setting.items()))
    with pytest.raises(HarnessError, match=f"AugMix has no {name} {value}. Give"):
        AugMix(**setting)


def test_every_image_needs_an_id() -> None:
    with pytest.raises(HarnessError, match="1 images and 2 sample ids"):
        AugMix()(torch.zeros(1, 3, 8, 8), samples=["a", "b"], **KEY)


def logits(views: int, scale: float = 2.0) -> list[torch.Tensor]:
    rng = noise.generator(0, "test", "logits")
    return [torch.from_numpy(rng.normal(size=(5, 7)) * scale).requires_grad_() for _ in range(views)]


@pytest.mark.parametrize("views", [2, 3])
def test_jensen_shannon_is_its_formula(views: int) -> None:
    """L = sum p (log p - log m) / (B V), and dL/dp = (log p - log m) / (B V), which softmax takes to the logits."""
    x = logits(views)
    loss = jensen_shannon(x)
    loss.backward()
    z = np.stack([view.detach().numpy() for view in x])
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    ratio = np.log(p) - np.log(p.mean(0))
    assert float(loss.detach()) == pytest.approx((p * ratio).sum() / (5 * views), rel=1e-12)
    by_hand = p * (ratio - (p * ratio).sum(-1, keepdims=True)) / (5 * views)
    assert np.allclose(np.stack([view.grad.numpy() for view in x]), by_hand, rtol=1e-9, atol=1e-15)


def test_jensen_shannon_is_zero_for_equal_views_and_log_v_for_contrary_ones() -> None:
    x = logits(1)[0]
    assert abs(float(jensen_shannon([x, x, x]).detach())) < 1e-15
    for views in (2, 3, 5):
        assert 0 < float(jensen_shannon(logits(views, scale=20)).detach()) < math.log(views)
        contrary = [60.0 * torch.eye(views, dtype=torch.float64)[i : i + 1] for i in range(views)]
        assert float(jensen_shannon(contrary)) == pytest.approx(math.log(views), rel=1e-12)


def test_jensen_shannon_holds_the_mixture_at_1e_7() -> None:
    """Two equal views that give one class 1e-9: its term is 1e-9 log(1e-9 / 1e-7), all others are zero."""
    x = torch.tensor([[0.0, math.log(1e-9)]], dtype=torch.float64)
    assert float(jensen_shannon([x, x])) == pytest.approx(1e-9 * math.log(1e-2), rel=1e-6)


def test_jensen_shannon_has_a_gradient_where_probabilities_underflow() -> None:
    x = [torch.tensor([[0.0, 200.0, 1.0]], requires_grad=True), torch.tensor([[0.0, 3.0, 1.0]], requires_grad=True)]
    jensen_shannon(x).backward()
    assert all(bool(torch.isfinite(view.grad).all()) for view in x) and float(x[1].grad.abs().max()) > 1e-3
