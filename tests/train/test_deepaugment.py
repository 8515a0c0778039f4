"""DeepAugment: the published program, its families one by one, and copies of data sets.

recorded/deepaugment.npz holds the outputs of the authors' programs on the weights and pictures below;
recorded/deepaugment_record.py recorded them.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import RECORDED_FOLDER
from PIL import Image
from torch import Tensor, nn

from harness import cli, plugins
from harness.base import noise
from harness.base.errors import Notice
from harness.base.files import file_sha256
from harness.data import ArrayDataset
from harness.models.checkpoint import read_checkpoint, write_checkpoint
from harness.models.fingerprint import fingerprint
from harness.models.lookup import bundled, find_classifier, load_autoencoder
from harness.train.augment import offline
from harness.train.augment.deepaugment import ACTIVATIONS, CODE, WEIGHTS, Distorter, Distortion, Option, Rng
from harness.train.augment.deepaugment.filters import drop_or_sign, filters, rotate, scale
from harness.train.augment.offline import Copied, CopySpec, names
from harness.train.objectives.reconstruction import Reconstruction
from harness.train.step import Step
from harness.types import Batch, Geometry, HarnessError

RECORDING = RECORDED_FOLDER / "deepaugment.npz"
NOISE2NET = (4, 3, 0.6, (7, 6))
"""Planes, images, strength and size of the recorded Noise2Net."""


def rng(seed: int = 0) -> Rng:
    return np.random.default_rng(seed)


def random_state(layout: dict[str, list[int]], seed: int, size: float = 0.5) -> dict[str, Tensor]:
    """Normal numbers, small enough that a deep network stays finite."""
    draw = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(draw.standard_normal(shape, dtype=np.float32))
        * (size / (np.prod(shape[1:]) if len(shape) > 1 else 64) ** 0.5)
        for name, shape in layout.items()
    }


def picture(seed: int, height: int, width: int = 0, *, images: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((images, 3, height, width or height), dtype=np.float32))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return dict(np.load(RECORDING))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, recorded: dict[str, Any]) -> Path:
    """Weights files as published, with the recorded random numbers, and an untrained autoencoder."""
    folder = tmp_path_factory.mktemp("networks")
    torch.save(random_state(json.loads(str(recorded["edsr_layout"])), 1), folder / "edsr.pt")
    torch.save(random_state(json.loads(str(recorded["cae_layout"])), 3, 1.25), folder / "cae.pt")
    torch.manual_seed(0)
    header = {"kind": "autoencoder", "architecture": "autoencoder", "arguments": {}, "dataset": "digits"}
    write_checkpoint(folder / "autoencoder.pt", plugins.architecture["autoencoder"].build(), header)
    return folder


@pytest.fixture(scope="module")
def edsr(files: Path) -> Any:
    return plugins.distorter.configure(f"edsr:weights={files / 'edsr.pt'}").plugin


@pytest.fixture(scope="module")
def cae(files: Path) -> Any:
    return plugins.distorter.configure(f"cae:weights={files / 'cae.pt'}").plugin


@pytest.fixture(scope="module")
def autoencoder(files: Path) -> Any:
    return plugins.distorter.configure(f"autoencoder:weights={files / 'autoencoder.pt'}").plugin


def module(name: str) -> Any:
    return sys.modules[f"harness.registry.distorters.{name}"]


# Against the published program.


def same(ours: Tensor, theirs: np.ndarray) -> None:
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-4, atol=2e-5)


def upscale(edsr: Any, state: Any, before: Any, through: Any, seed: int = 0) -> Tensor:
    draw = rng(seed)
    return edsr.apply(state, 255 * picture(2, 3), partial(before, rng=draw), partial(through, rng=draw))


def test_edsr_is_the_published_network(edsr: Any, recorded: dict[str, Any]) -> None:
    m = module("edsr")
    same(upscale(edsr, edsr.network.state_dict(), m.unchanged, m.THROUGH[-1]), recorded["edsr_plain"])


@pytest.mark.parametrize("k", range(17))
def test_edsr_weights_change_as_published(k: int, edsr: Any, recorded: dict[str, Any]) -> None:
    m = module("edsr")
    theirs = recorded[f"edsr_option_{k}"]
    state = m.OPTIONS[k](edsr.network.state_dict(), rng(k))
    same(upscale(edsr, state, m.unchanged, m.THROUGH[-1]), theirs)
    assert np.abs(theirs - recorded["edsr_plain"]).max() > 1e-3, "the recording shows the change"


@pytest.mark.parametrize("k", [1, 2, 3])
def test_edsr_features_change_as_published(k: int, edsr: Any, recorded: dict[str, Any]) -> None:
    m = module("edsr")
    theirs = recorded[f"edsr_before_{k}"]
    same(upscale(edsr, edsr.network.state_dict(), m.BEFORE[k - 1], m.THROUGH[-1], seed=k), theirs)
    assert np.abs(theirs - recorded["edsr_plain"]).max() > 1e-3


@pytest.mark.parametrize("k, seed", [(k, seed) for k in (1, 2, 3, 4) for seed in (0, 1)])
def test_edsr_blocks_change_as_published(k: int, seed: int, edsr: Any, recorded: dict[str, Any]) -> None:
    m = module("edsr")
    theirs = recorded[f"edsr_through_{k}_{seed}"]
    same(upscale(edsr, edsr.network.state_dict(), m.unchanged, m.THROUGH[k - 1], seed=seed), theirs)
    assert np.abs(theirs - recorded["edsr_plain"]).max() > 1e-3


def look(cae: Any, state: Any, change: Callable[[Tensor], Tensor]) -> Tensor:
    return cae.apply(state, picture(4, 12), change)


def plain_bits(code: Tensor) -> Tensor:
    return torch.where(torch.from_numpy(rng().random(code.shape, dtype=np.float32)) <= (1 + code) / 2, 1.0, -1.0)


def test_the_compressive_autoencoder_is_the_published_network(cae: Any, recorded: dict[str, Any]) -> None:
    same(look(cae, cae.network.state_dict(), plain_bits), recorded["cae_plain"])


@pytest.mark.parametrize("k", range(9))
def test_its_code_changes_as_published(k: int, cae: Any, recorded: dict[str, Any]) -> None:
    draw = rng(json.loads(str(recorded["cae_seeds"]))[f"code_{k}"])
    theirs = recorded[f"cae_code_{k}"]
    same(look(cae, cae.network.state_dict(), lambda code: module("cae").bits(code, CODE[k], draw)), theirs)
    assert np.abs(theirs - recorded["cae_plain"]).max() > 1e-3


@pytest.mark.parametrize("k", range(8))
def test_its_weights_change_as_published(k: int, cae: Any, recorded: dict[str, Any]) -> None:
    seed = json.loads(str(recorded["cae_seeds"]))[f"option_{k}"]
    theirs = recorded[f"cae_option_{k}"]
    same(look(cae, cae.options()[k](cae.network.state_dict(), rng(seed)), plain_bits), theirs)
    assert np.abs(theirs - recorded["cae_plain"]).max() > 1e-3


def test_noise2net_is_the_published_network(recorded: dict[str, Any]) -> None:
    m = module("noise2net")
    planes, images, eps, size = NOISE2NET
    draw = rng()
    structures = [m.draw_structure(draw) for _ in range(m.BLOCKS)]
    rngs = noise.children(draw, images)
    x = picture(5, *size, images=images)
    for structure in structures:
        x = x + eps * m.block(x, m.draw_weights(rngs, structure, planes), structure)
    same(x.flatten(0, 1), recorded["noise2net"])


# The families.


KERNELS = torch.from_numpy(np.random.default_rng(6).standard_normal((24, 24, 3, 3))).float()
OFFSETS = torch.arange(24.0) + 1
FEATURES = torch.from_numpy(np.random.default_rng(7).standard_normal((3, 32, 6, 8))).float()


@pytest.mark.parametrize("name", WEIGHTS)
def test_changes_of_weights_keep_shapes_and_arguments(name: str) -> None:
    weight, bias = KERNELS.clone(), OFFSETS.clone()
    (a, b), (c, d) = (WEIGHTS[name](weight, bias, rng(3)) for _ in range(2))
    assert torch.equal(a, c) and torch.equal(b, d), "one generator, one change"
    assert torch.equal(weight, KERNELS) and torch.equal(bias, OFFSETS)
    assert a.shape == weight.shape and b.shape == bias.shape and a.dtype == torch.float32
    assert not torch.equal(a, weight) and bool(a.isfinite().all())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_changes_of_activations_are_shared_by_all_images(name: str) -> None:
    x = FEATURES.clone()
    all_of_them = ACTIVATIONS[name](x, rng(3))
    assert torch.equal(x, FEATURES) and all_of_them.shape == x.shape
    assert not torch.equal(all_of_them, x)
    torch.testing.assert_close(ACTIVATIONS[name](x[1:2], rng(3)), all_of_them[1:2], rtol=1e-5, atol=1e-5)


def test_rotations_are_all_three() -> None:
    seen = {tuple(rotate(KERNELS, OFFSETS, rng(k))[0][0, 0].flatten().tolist()) for k in range(40)}
    corner = KERNELS[0, 0].numpy()
    assert seen == {tuple(np.rot90(corner, k).flatten().tolist()) for k in (1, 2, 3)}
    planes = {tuple(rotate(KERNELS, OFFSETS, rng(k), channels=True)[0].flatten().tolist()) for k in range(60)}
    kernels = KERNELS.numpy()
    turns = [np.rot90(kernels, k, axes) for k in (1, 2, 3) for axes in ((2, 3), (0, 1))]
    assert planes == {tuple(turn.flatten().tolist()) for turn in turns}


def test_the_strongest_entry_of_each_kernel_is_kept() -> None:
    strongest = WEIGHTS["strongest"](KERNELS, OFFSETS, rng())[0].flatten(0, 1).numpy()
    for kernel, before in zip(strongest, KERNELS.flatten(0, 1).numpy(), strict=True):
        assert (kernel != 0).sum() == 1 and kernel.max(initial=-9, where=kernel != 0) == before.max()
        assert kernel.flat[before.argmax()] == before.max()


@pytest.mark.parametrize("draws", [12, 0.5, 0])
def test_filters_are_drawn_with_replacement_and_changed_once(draws: float) -> None:
    expected = 24 * (1 - (23 / 24) ** 12) if draws else 24
    counts = []
    for seed in range(300):
        weight, bias = filters(torch.neg, draws)(KERNELS, OFFSETS, rng(seed))
        flipped = (weight == -KERNELS).flatten(1).all(1)
        assert bool((flipped | (weight == KERNELS).flatten(1).all(1)).all()), "each filter wholly or not at all"
        assert torch.equal(flipped, bias < 0)
        counts.append(float(flipped.sum()))
    assert abs(np.mean(counts) - expected) < 4 * 2.0 / 300**0.5
    assert torch.equal(filters(torch.neg, 5, bias=False)(KERNELS, OFFSETS, rng())[1], OFFSETS)


def test_weights_grow_by_factors_between_one_and_nine() -> None:
    """E u = 1/2 and E uU = 1/4: the mean factor is 3; for a given draw of u it is 1 + 4u."""
    factors = torch.stack([scale(KERNELS, OFFSETS, rng(k))[0] / KERNELS for k in range(200)])
    assert float(factors.min()) >= 1 - 1e-6 and float(factors.max()) < 9 + 1e-5
    assert abs(float(factors.mean()) - 3) < 4 * 4 * 0.289 / 200**0.5
    means = factors.flatten(1).mean(1)
    torch.testing.assert_close(means, 1 + (factors.flatten(1).max(1).values - 1) / 2, rtol=0.05, atol=0)


def test_coins_are_fair() -> None:
    count = KERNELS.numel()
    for name, tails in (("drop", 0.0), ("sign", -1.0)):
        factors = WEIGHTS[name](KERNELS, OFFSETS, rng(1))[0] / KERNELS
        assert set(factors.round().unique().tolist()) == {tails, 1.0}
        assert abs(float((factors > 0.5).float().mean()) - 0.5) < 4 * 0.5 / count**0.5
    dropped = sum(bool((drop_or_sign(KERNELS, OFFSETS, rng(k))[0] == 0).any()) for k in range(200))
    assert abs(dropped - 100) < 4 * 50**0.5


def test_noise_is_uniform_within_half() -> None:
    added = WEIGHTS["noise"](KERNELS, OFFSETS, rng())[0] - KERNELS
    assert float(added.abs().max()) <= 0.5 + 1e-6
    assert abs(float(added.mean())) < 4 * 0.289 / added.numel() ** 0.5
    assert float(added.std()) == pytest.approx(12**-0.5, rel=0.03)


def kernels_of(name: str, seed: int) -> np.ndarray:
    """Kernels (I, I, 3, 3) that weights are convolved with, by their effect on points: channel j of filter j."""
    points = torch.zeros(24, 24, 3, 3)
    points[torch.arange(24), torch.arange(24), 1, 1] = 1
    return WEIGHTS[name](points, OFFSETS, rng(seed))[0].flip(2, 3).transpose(0, 1).numpy()


def test_kernels_that_kernels_are_convolved_with() -> None:
    moves = kernels_of("shift", 0)
    assert np.array_equal(moves, np.broadcast_to(moves[:1], moves.shape)), "alike for all outputs"
    assert (np.abs(moves).sum((2, 3)) == 1).all() and set(np.unique(moves)) == {-1.0, 0.0, 1.0}
    assert len({tuple(np.argwhere(kernel)[0]) for kernel in moves[0]}) > 4
    highs = []
    for seed in range(50):
        numbers = 6 * kernels_of("uniform", seed)
        assert numbers.min() >= -1 and numbers.max() < 1
        highs.append((numbers.max() + 1) / 2)
        assert numbers.mean() == pytest.approx(highs[-1] - 1, abs=0.03)
    assert abs(np.mean(highs) - 0.5) < 4 * 0.289 / 50**0.5
    shares = kernels_of("dirichlet", 0)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum((2, 3)), 1, atol=1e-5)
    # The largest of nine numbers with alpha = 0.1 is nearly all: their variance is (1/9)(8/9) / (0.9 + 1).
    assert shares.var() == pytest.approx(8 / 81 / 1.9, rel=0.05)


def test_any_kernels_are_mixed_as_a_sum_over_channels() -> None:
    z, weight = kernels_of("uniform", 3), KERNELS.double().numpy()
    n, m = 5, 7
    padded = np.pad(weight[n], ((0, 0), (1, 1), (1, 1)))
    expected = [[float((padded[:, a : a + 3, b : b + 3] * z[m]).sum()) for b in range(3)] for a in range(3)]
    mixed = WEIGHTS["uniform"](KERNELS, OFFSETS, rng(3))[0][n, m]
    np.testing.assert_allclose(mixed.numpy(), expected, atol=1e-5)


def test_spots() -> None:
    x = torch.ones(2, 4, 100, 100)
    for name, value, share in (("zero", 0.0, 0.2), ("sign", -1.0, 0.1)):
        hit = ACTIVATIONS[name](x, rng()) == value
        assert torch.equal(hit, hit[:1, :1].expand_as(hit)), "the same in all channels"
        assert abs(float(hit.float().mean()) - share) < 4 * (share / 1e4) ** 0.5
    first, second = module("edsr").BEFORE[1:3]
    for change, share in ((first, 0.05), (second, 0.025)):
        hit = change(x, rng()) != 1
        assert not torch.equal(hit[:, 0], hit[:, 1]) and torch.equal(hit[0], hit[1])
        assert abs(float(hit.float().mean()) - share) < 4 * (share / 4e4) ** 0.5


def test_channels_are_permuted_copied_and_reversed() -> None:
    order = ACTIVATIONS["permute"](torch.arange(32.0)[None, :, None, None], rng()).flatten().tolist()
    assert sorted(order[:10]) == list(range(10)) != order[:10] and order[10:] == list(range(10, 32))
    distinct = [len(ACTIVATIONS["copy"](torch.arange(64.0)[None, :, None, None], rng(k)).unique()) for k in range(50)]
    assert min(distinct) >= 59 and max(distinct) <= 64 and np.mean(distinct) < 60
    ways = [ACTIVATIONS["reverse"](FEATURES, rng(k)) for k in range(300)]
    upside = sum(torch.equal(way, FEATURES.flip(1).flip(2)) for way in ways)
    assert upside + sum(torch.equal(way, FEATURES.flip(1).flip(3)) for way in ways) == 300
    assert abs(upside - 100) < 4 * (300 * 2 / 9) ** 0.5


def test_channels_are_turned_in_three_ways() -> None:
    flips = [FEATURES.flip(2), FEATURES.flip(3), FEATURES.flip(2, 3)]
    counts = Counter(
        k for seed in range(150) for k in range(3) if torch.equal(ACTIVATIONS["turn"](FEATURES, rng(seed)), flips[k])
    )
    assert sum(counts.values()) == 150 and min(counts.values()) > 25
    some = [ACTIVATIONS["turn-some"](FEATURES, rng(seed)) for seed in range(50)]
    turned = [int((x != FEATURES).flatten(2).any(2)[0].sum()) for x in some]
    assert max(turned) == 5 and abs(np.mean(turned) - 32 * (1 - (31 / 32) ** 5)) < 0.3


def kernels_on(name: str, seed: int) -> np.ndarray:
    """The kernels (C, C, 3, 3) that activations are convolved with, from what becomes of single points."""
    points = torch.eye(16)[:, :, None, None] * F.pad(torch.ones(1, 1, 1, 1), (2, 2, 2, 2))
    answer = ACTIVATIONS[name](points, rng(seed))[:, :, 1:4, 1:4]
    return answer.flip(2, 3).transpose(0, 1).numpy()


def test_kernels_that_activations_are_convolved_with() -> None:
    identity = np.zeros((16, 16, 3, 3))
    identity[range(16), range(16), 1, 1] = 1
    blend = kernels_on("blend", 0) - identity
    assert np.abs(blend).max() <= 0.1 + 1e-6 and blend.std() == pytest.approx(0.2 / 12**0.5, rel=0.05)
    added = [kernels_on("mix", seed) - identity for seed in range(60)]
    assert all(set(np.unique(a)) <= {0.0, 1.0} and a.sum((1, 2, 3)).max() == 1 for a in added)
    # Half of the channels; one in 16 * 9 picks is the channel itself at its own place, and shows nothing.
    expected = 8 * (1 - 1 / 144)
    assert abs(np.mean([a.sum() for a in added]) - expected) < 4 * 2 / 60**0.5
    again = []
    for seed in range(60):
        moves = kernels_on("shift", seed)
        assert (moves.sum((1, 2, 3)) == 1).all() and (moves[range(16), range(16)].sum((1, 2)) == 1).all()
        places = [tuple(np.argwhere(moves[k, k])[0]) for k in range(16)]
        again.append(np.mean([a != b for a, b in pairwise(places)]))
    # A new place is the old one in one of nine cases.
    assert abs(np.mean(again) - 0.2 * 8 / 9) < 4 * (0.178 * 0.822 / 900) ** 0.5


def test_a_code_is_amplified_from_minus_one() -> None:
    factors = torch.stack([(ACTIVATIONS["amplify"](FEATURES, rng(k)) + 1) / (FEATURES + 1) for k in range(100)])
    usual = factors[:, (FEATURES + 1).abs() > 0.05]
    assert float(usual.min()) > 3 - 1e-3 and float(usual.max()) < 7 + 1e-3
    assert abs(float(usual.mean()) - 4) < 4 * 2 * 0.289 / 100**0.5
    assert torch.equal(ACTIVATIONS["amplify"](-torch.ones(1, 4, 2, 2), rng()), -torch.ones(1, 4, 2, 2))


def test_relu_in_one_case_of_three_else_gelu() -> None:
    relu = sum(torch.equal(ACTIVATIONS["activate"](FEATURES, rng(k)), FEATURES.clamp(min=0)) for k in range(300))
    assert abs(relu - 100) < 4 * (300 * 2 / 9) ** 0.5
    gelu = next(x for k in range(9) if float((x := ACTIVATIONS["activate"](FEATURES, rng(k))).min()) < 0)
    normal = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(gelu, FEATURES * normal.cdf(FEATURES), atol=1e-5, rtol=1e-4)


def test_bits_have_the_code_as_their_mean() -> None:
    code = torch.linspace(-1.2, 1.2, 4000).expand(1, 1, 50, 4000)
    m = module("cae")
    drawn = m.bits(code, "permute", rng())
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    mean = drawn.mean((0, 1, 2)).reshape(40, 100).mean(1)
    expected = code[0, 0, 0].clamp(-1, 1).reshape(40, 100).mean(1)
    assert float((mean - expected).abs().max()) < 4 * 1 / 5000**0.5


# How changes are drawn.


def test_options_draw_layers_and_leave_the_network_alone(autoencoder: Any) -> None:
    state = {f"{place}.{part}": torch.ones(2, 2, 1, 1) for place in "abc" for part in ("weight", "bias")}
    seen: Counter[str] = Counter()
    for seed in range(300):
        changed = Option(list("abc"), {"": filters(torch.neg)})(state, rng(seed))
        seen.update({name[0] for name in state if not torch.equal(changed[name], state[name])})
    assert sum(seen.values()) == 300 and max(abs(seen[place] - 100) for place in "abc") < 4 * (300 * 2 / 9) ** 0.5
    before = fingerprint(autoencoder.network)
    autoencoder(picture(0, 32, images=2), rng())
    assert fingerprint(autoencoder.network) == before


def test_every_family_is_drawn_equally_often(
    edsr: Any, cae: Any, autoencoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: Counter[Any] = Counter()

    def counted(key: Any) -> Any:
        def change(state: Any, rng: Rng) -> Any:
            drawn[key] += 1
            return state

        return change

    for distorter, count, times in ((edsr, 17, 3), (cae, 8, 1), (autoencoder, 9, 1)):
        drawn.clear()
        options = tuple(counted(k) for k in range(count))
        assert len(module("edsr").OPTIONS if distorter is edsr else distorter.options()) == count
        with monkeypatch.context() as patch:
            patch.setattr(module("edsr"), "OPTIONS", options)
            patch.setattr(type(distorter), "options", lambda self, options=options: options, raising=False)
            for seed in range(40 * count // times):
                distorter.perturbed(rng(seed))
        assert len(drawn) == count and abs(sum(drawn.values()) - 40 * count) < times
        assert max(abs(drawn[k] - 40) for k in range(count)) < 4.5 * 40**0.5
    for distorter, families in ((cae, CODE), (autoencoder, [name for name in CODE if name != "turn"])):
        drawn.clear()
        for name in CODE:
            monkeypatch.setitem(ACTIVATIONS, name, counted(name))
        for seed in range(40 * len(families)):
            distorter.change(torch.zeros(1, 4, 2, 2), rng(seed))
        assert set(drawn) == set(families)
        assert max(abs(drawn[name] - 40) for name in families) < 4.5 * 40**0.5


@pytest.mark.parametrize("name", ["autoencoder", "cae", "edsr", "noise2net"])
def test_batch_mates_change_nothing(name: str, request: pytest.FixtureRequest) -> None:
    net = plugins.distorter.configure(name).plugin if name == "noise2net" else request.getfixturevalue(name)
    images = picture(1, 12, 16, images=4)
    for seed in range(3):
        distort = net.perturbed(rng(seed))
        together, alone = distort(images, rng(9)), distort(images[:2], rng(9))
        assert float(together.min()) >= 0 and float(together.max()) <= 1
        torch.testing.assert_close(alone, together[:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (30, 35)])
def test_a_distorter_keeps_the_size_and_the_range(size: tuple[int, int], autoencoder: Any) -> None:
    images = picture(0, *size, images=2)
    for net in (autoencoder, plugins.distorter.configure("noise2net").plugin):
        out = net(images, rng())
        assert out.shape == images.shape and out.dtype == torch.float32
        assert float(out.min()) >= 0 and float(out.max()) <= 1
        assert torch.equal(out, net(images, rng())) and not torch.equal(out, net(images, rng(1)))


def test_images_are_shown_at_the_size_that_a_network_was_made_for(edsr: Any, cae: Any) -> None:
    """As Pillow resizes them: torchvision's Resize gives the shorter side, and a whole number for the longer."""
    from torchvision.transforms.functional import resize, to_pil_image, to_tensor

    image = picture(3, 256, 300)
    theirs = to_tensor(resize(to_pil_image(image[0]), 128))
    assert edsr.shown(image).shape == (1, 3, 128, 150) == (1, *theirs.shape)
    assert float((edsr.shown(image)[0] - theirs).abs().max()) < 2 / 255
    assert cae.shown(torch.zeros(1, 3, 300, 256)).shape == (1, 3, 600, 512)

    @dataclass(frozen=True)
    class Twice(Distorter):
        size = 8

        def perturbed(self, rng: Rng, device: str = "cpu") -> Distortion:
            return lambda images, rng: images.repeat_interleave(2, -1).repeat_interleave(2, -2)

    flat = torch.full((1, 3, 12, 16), 0.25)
    torch.testing.assert_close(Twice()(flat, rng()), flat, msg="resized there and back")


# Noise2Net.


def test_noise2net_without_strength_is_the_identity() -> None:
    images = picture(0, 9, 11, images=3)
    torch.testing.assert_close(plugins.distorter.configure("noise2net:max_eps=0").plugin(images, rng()), images)


def test_noise2net_adds_with_a_strength_of_its_own_for_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    m = module("noise2net")
    monkeypatch.setattr(m, "block", lambda x, weights, structure: torch.ones_like(x))
    images = torch.full((2000, 3, 2, 2), 0.01)
    added = plugins.distorter.configure("noise2net:planes=1,max_eps=0.6").plugin(images, rng()) - images
    eps = added[:, :, 0, 0] / torch.tensor(m.STD) / m.BLOCKS
    torch.testing.assert_close(eps[:, 0], eps[:, 1], rtol=1e-3, atol=1e-4)
    eps = eps[:, 0]
    assert 0.3 - 1e-4 <= float(eps.min()) < 0.302 and 0.598 < float(eps.max()) <= 0.6 + 1e-4
    assert abs(float(eps.mean()) - 0.45) < 4 * 0.0866 / 2000**0.5 and float(eps.std()) == pytest.approx(
        0.0866, rel=0.04
    )


def test_noise2net_draws_weights_like_torch_and_structures_like_the_authors() -> None:
    m = module("noise2net")
    structures = [m.draw_structure(rng(k)) for k in range(300)]
    kernels = Counter(kernel for structure in structures for kernel in structure)
    assert set(kernels) == {(side, dilation) for side in (1, 3) for dilation in (1, 2, 3)}
    assert max(abs(n - 150) for n in kernels.values()) < 4.5 * 150**0.5
    drawn = m.draw_weights(noise.children(rng(), 40), [(3, 1), (1, 2), (3, 3)], 8)
    assert [tuple(t.shape[1:]) for t in drawn] == [
        *((32, 3), (8, 8, 3, 3), (8,), (8, 8, 1, 1), (8,), (8, 8, 3, 3), (8,), (3, 32))
    ]  # fmt: skip
    for tensor, fan_in in zip(drawn, (3, 72, 72, 8, 8, 72, 72, 32), strict=True):
        reference = nn.Linear(fan_in, 2000).weight
        assert float(tensor.abs().max()) == pytest.approx(float(reference.detach().abs().max()), rel=0.05)
        assert float(tensor.std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)
    few = m.draw_weights(noise.children(rng(), 2), [(3, 1), (1, 2), (3, 3)], 8)
    assert all(torch.equal(a, b[:2]) for a, b in zip(few, drawn, strict=True)), "each image's from its own generator"


@pytest.mark.parametrize("text", ["noise2net:max_eps=-1", "noise2net:planes=0", "noise2net:max_eps=inf"])
def test_settings_of_noise2net_are_checked(text: str) -> None:
    with pytest.raises(HarnessError, match=r"noise2net: max_eps|max_eps='inf' is not a valid float"):
        plugins.distorter.configure(text)


# Weights files.


class Dangerous:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("code from a weights file was run",)


def damage(state: dict[str, Tensor], **changes: Any) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in {**state, **changes}.items() if tensor is not None}


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path, state: None, "No .* at .*imagenet-r"),
        (lambda path, state: path.write_text("<!DOCTYPE html><html>Sign in</html>"), "HTML page"),
        (lambda path, state: path.write_bytes(pickle.dumps(Dangerous(), protocol=2)), "could run code"),
        (lambda path, state: torch.save([torch.zeros(3)], path), "it holds a list"),
        (lambda path, state: torch.save(damage(state, more=torch.zeros(2)), path), "does not hold.*more"),
        (lambda path, state: torch.save(damage(state, **{next(iter(state)): None}), path), "does not hold.*1 missing"),
        (
            lambda path, state: torch.save(damage(state, **{next(iter(state)): torch.zeros(7)}), path),
            r"different: .*\(7,\)",
        ),
    ],
    ids=["missing", "html", "pickle", "list", "more", "fewer", "shape"],
)
@pytest.mark.parametrize("name", ["edsr", "cae"])
def test_what_is_not_the_published_file_is_refused(
    name: str, write: Any, message: str, files: Path, tmp_path: Path
) -> None:
    path = tmp_path / "file.pt"
    write(path, torch.load(files / f"{name}.pt", weights_only=True))
    with pytest.raises(HarnessError, match=f"(?s){message}"):
        _ = plugins.distorter.configure(f"{name}:weights={path}").plugin.network


@pytest.mark.parametrize("name", ["edsr", "cae"])
def test_published_weights_must_be_given(name: str, files: Path) -> None:
    with pytest.raises(HarnessError, match=f"{name}:weights=FILE.*imagenet-r"):
        _ = plugins.distorter.configure(name).plugin.network
    weights = plugins.distorter.configure(f"{name}:weights={files / name}.pt").plugin.provenance
    assert weights.sha256 == file_sha256(files / f"{name}.pt")


def test_an_autoencoder_is_a_checkpoint_of_its_kind(autoencoder: Any, files: Path) -> None:
    network, weights = load_autoencoder(files / "autoencoder.pt")
    images = picture(0, 32, images=2)
    torch.testing.assert_close(network(images), autoencoder.network(images))
    assert network(images).shape == images.shape and weights.details["kind"] == "autoencoder"
    assert 0.15e6 < sum(p.numel() for p in network.parameters()) < 0.5e6
    names = {name.rpartition(".")[0] for name in network.state_dict()}
    assert set(network.bypassed) < set(network.layers) < names
    with pytest.raises(HarnessError, match="holds a classifier, not an autoencoder"):
        load_autoencoder(bundled("digits-vit")[0])
    with pytest.raises(HarnessError, match="holds an autoencoder, not a classifier"):
        find_classifier(str(files / "autoencoder.pt"))


def test_reconstruction_is_the_mean_squared_error_of_the_augmented_image() -> None:
    raw, shown = (Batch(("a", "b"), picture(seed, 4, images=2), torch.zeros(2)) for seed in (0, 1))

    class Brighter(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + 0.5 * (images > 0.5)

    loss = Reconstruction()(Brighter(), Step(raw, shown, 0, 0))
    assert set(loss) == {"mse"}
    assert float(loss["mse"]) == pytest.approx(0.25 * float((shown.images > 0.5).float().mean()))


# Copies.


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven training images of cats and twelve of dogs."""
    root = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for split, count in (("train", 23), ("test", 2)):
        for k in range(count):
            target = root / split / ("dog" if k % 2 == 0 else "cat") / f"{k}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(target)
    return root


@pytest.fixture
def spec(photos: Path) -> CopySpec:
    return CopySpec("folder", "noise2net:planes=2", data=str(photos), seed=3, group=5)


def images_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("*/*.png"))}


def manifest(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / offline.MANIFEST).read_text()))


def test_a_killed_copy_ends_like_an_undisturbed_one(spec: CopySpec, tmp_path: Path) -> None:
    whole, killed, shared = tmp_path / "whole", tmp_path / "killed", tmp_path / "shared"
    assert offline.copy(spec, whole) == Copied(23, 23, 23)
    first = images_of(whole)
    assert len(first) == 23 and {name.partition("/")[0] for name in first} == {"cat", "dog"}
    assert manifest(whole)["status"] == "complete"

    def stop(copied: Copied) -> None:
        if copied.made == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        offline.copy(spec, killed, stop)
    assert len(images_of(killed)) == 7 and manifest(killed)["status"] == "partial"
    next(killed.glob("cat/*.png")).unlink()
    seen: list[Copied] = []
    assert offline.copy(spec, killed, seen.append) == Copied(23, 17, 23)
    assert seen[0] == Copied(7, 1, 23) and seen[-1] == Copied(23, 17, 23)
    assert images_of(killed) == first and manifest(killed) == manifest(whole)
    assert offline.copy(spec, shared, shard=(1, 2)).done < 23
    assert manifest(shared)["status"] == "partial"
    assert offline.copy(spec, shared, shard=(0, 2)).done == 23
    assert images_of(shared) == first and manifest(shared)["status"] == "complete"
    assert offline.copy(spec, whole) == Copied(23, 0, 23)


def test_damaged_images_of_a_copy_are_named_and_made_anew(spec: CopySpec, tmp_path: Path) -> None:
    offline.copy(spec, tmp_path)
    first = images_of(tmp_path)
    flipped, cut, _ = (tmp_path / name for name in list(first)[:3])
    data = flipped.read_bytes()
    flipped.write_bytes(data[:-30] + bytes([data[-30] ^ 1]) + data[-29:])
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.warns(Notice, match=rf"{flipped} is damaged and is made anew. 1 more are damaged, too."):
        assert offline.copy(spec, tmp_path) == Copied(23, 2, 23)
    assert images_of(tmp_path) == first


def test_a_copy_reads_like_its_original(spec: CopySpec, photos: Path, tmp_path: Path) -> None:
    offline.copy(spec, tmp_path / "train")
    offline.copy(replace(spec, split="test"), tmp_path / "test")
    copied, original = (plugins.dataset["folder"].build("train", root) for root in (tmp_path, photos))
    assert copied.classes == original.classes == ("cat", "dog")
    assert torch.equal(copied.labels, original.labels)
    assert not torch.equal(copied.pixels, original.pixels)


@pytest.fixture
def paint() -> None:
    """A network that paints what it draws: red is the weights' number, green the activations'."""

    @plugins.distorter("test/paint")
    @dataclass(frozen=True)
    class Paint(Distorter):
        """Flat colours."""

        size = 4

        def perturbed(self, rng: Rng, device: str = "cpu") -> Distortion:
            red = rng.random()

            def paint(images: Tensor, rng: Rng) -> Tensor:
                colour = torch.tensor([red, rng.random(), 0.0])
                return colour[None, :, None, None].expand_as(images)

            return paint


def test_weights_are_shared_by_groups_and_activations_by_nobody(spec: CopySpec, paint: None, tmp_path: Path) -> None:
    offline.copy(replace(spec, network="test/paint"), tmp_path)
    data = plugins.dataset["folder"].build("train", Path(spec.data))
    for k, (sample, name) in enumerate(zip(data.ids, names(data), strict=True)):
        pixels = np.asarray(Image.open(tmp_path / name))
        assert pixels.shape == (4, 4, 3), "at the network's own size"
        red = noise.generator(3, "deepaugment/test/paint/weights", str(k // 5)).random()
        green = noise.generator(3, "deepaugment/test/paint/activations", sample).random()
        assert pixels[0, 0].tolist() == [round(255 * red), round(255 * green), 0]


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"seed": 4}, "seed"),
        ({"group": 6}, "group"),
        ({"split": "test"}, "data_sha256"),
        ({"network": "noise2net:planes=3"}, "settings"),
        ({"network": "test/paint"}, "network"),
    ],
)
def test_a_copy_does_not_go_on_under_other_settings(
    changes: dict[str, Any], named: str, spec: CopySpec, paint: None, tmp_path: Path
) -> None:
    offline.copy(spec, tmp_path)
    before = images_of(tmp_path)
    with pytest.raises(HarnessError, match=rf"other settings \(.*{named}.*--fresh"):
        offline.copy(replace(spec, **changes), tmp_path)
    assert images_of(tmp_path) == before
    offline.copy(replace(spec, **changes), tmp_path, fresh=True)
    assert images_of(tmp_path) != before and manifest(tmp_path)["status"] == "complete"


def test_weights_are_known_by_their_hash_and_not_by_their_place(
    spec: CopySpec, files: Path, tmp_path: Path, photos: Path
) -> None:
    other = tmp_path / "moved.pt"
    other.write_bytes((files / "autoencoder.pt").read_bytes())
    there = replace(spec, network=f"autoencoder:weights={files / 'autoencoder.pt'}")
    here = replace(spec, network=f"autoencoder:weights={other}")
    offline.copy(there, tmp_path / "copy")
    assert offline.copy(here, tmp_path / "copy").made == 0
    torch.manual_seed(1)
    network = plugins.architecture["autoencoder"].build()
    write_checkpoint(other, network, read_checkpoint(files / "autoencoder.pt").header)
    with pytest.raises(HarnessError, match="weights_sha256"):
        offline.copy(here, tmp_path / "copy")


def test_only_a_folder_of_its_own_is_written_to(spec: CopySpec, tmp_path: Path) -> None:
    mine = tmp_path / "cat" / "mine.png"
    mine.parent.mkdir()
    mine.write_bytes(b"precious")
    for fresh in (False, True):
        with pytest.raises(HarnessError, match=r"holds files but no deepaugment.json"):
            offline.copy(spec, tmp_path, fresh=fresh)
    assert mine.read_bytes() == b"precious"
    (tmp_path / offline.MANIFEST).write_text("{")
    with pytest.raises(HarnessError, match=r"deepaugment.json is damaged.*--fresh"):
        offline.copy(spec, tmp_path)


def labelled(ids: tuple[str, ...], labels: list[int], classes: int) -> ArrayDataset:
    pixels = torch.zeros(len(ids), 3, 2, 2, dtype=torch.uint8)
    return ArrayDataset("odd", ids, pixels, torch.tensor(labels), classes, Geometry(None, 2, "bicubic"))


def test_names_of_a_copy() -> None:
    assert names(labelled(("a", "b/c.jpg"), [3, 10], 11)) == ["03/a.png", "10/b-c.png"]
    clash = names(labelled(("x/1.jpg", "x/1.png", "x-1.png", "2"), [0, 0, 0, 0], 1))
    assert len(set(clash)) == 4 and clash[3] == "0/2.png" and all(name.count("/") == 1 for name in clash)
    with pytest.raises(HarnessError, match="outside its classes"):
        names(labelled(("a",), [-1], 2))


# The command.


def harness(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    command = [
        "augment",
        "deepaugment",
        "--network",
        "noise2net:planes=2",
        "--dataset",
        "folder",
        "--data",
        str(photos),
    ]
    command += ["--seed", "3", "--group", "5", "--device", "cpu", "--out", str(tmp_path / "copy")]
    assert harness(monkeypatch, *command) == 0
    shown = capsys.readouterr().out
    assert "23 of 23 images" in " ".join(shown.split())
    offline.copy(CopySpec("folder", "noise2net:planes=2", data=str(photos), seed=3, group=5), tmp_path / "same")
    assert images_of(tmp_path / "copy") == images_of(tmp_path / "same")
    for wrong, message in (
        (["--network", "noise2ne"], "Did you mean noise2net"),
        (["--network", "noise2net:eps=1"], "Did you mean max_eps"),
        (["--split", "val"], "must be one of train, test"),
        (["--shard", "2/2"], "write i/n"),
        (["--shard", "0/2", "--fresh"], "--fresh deletes"),
        (["--seed", "4"], "other settings (seed: 3 there, 4 here)"),
    ):
        assert harness(monkeypatch, *command, *wrong) == 2, wrong
        assert message in " ".join(capsys.readouterr().err.split())


def test_networks_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness(monkeypatch, "list", "distorters") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("autoencoder", "cae", "edsr", "noise2net", "max_eps=0.75"))
