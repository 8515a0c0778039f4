"""The parts of the trainer against their formulas; several passes against one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import save_every_step
from torch import nn

from harness import plugins
from harness.data import ArrayDataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import SCHEDULES, linear
from harness.models.lookup import find_classifier
from harness.train.augment.mixing import Mixing
from harness.train.build import build
from harness.train.engine.optimize import learning_rate
from harness.train.engine.parallel import World
from harness.train.input.plan import Plan
from harness.train.input.splits import open_training
from harness.train.loop import RunMode, train
from harness.train.objectives.classification import BinaryCrossEntropy, Classification, Clean, CrossEntropy
from harness.train.objectives.consistency import Consistency
from harness.train.objectives.denoising import NoisePrediction
from harness.train.objectives.reverse import Reverse
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Batch, HarnessError


def spec(**changes: Any) -> TrainSpec:
    settings = {"model": "vit", "epochs": 2, "batch_size": 16, "lr": 1e-3, "warmup": 1, **changes}
    return resolve(TrainSpec(**settings))


def plan(**changes: Any) -> Plan:
    return Plan(**{"images": 40, "name": "d", "seed": 0, "batch_size": 8, "epochs": 3, **changes})


class Still(nn.Module):
    """Logits linear in the mean of the image, without batch statistics or dropout."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(F.adaptive_avg_pool2d(images, 4).flatten(1))


def test_an_epoch_sees_every_sample_once_in_an_order_of_its_own() -> None:
    undivided = plan()
    epochs = [[i for n in range(e * 5, e * 5 + 5) for i, _ in undivided.samples(n)[2]] for e in range(3)]
    assert all(sorted(seen) == list(range(40)) for seen in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize(("world", "passes"), [(2, 1), (1, 4), (2, 2), (8, 1)])
def test_processes_and_passes_share_out_the_same_batches(world: int, passes: int) -> None:
    parts = [plan(world=world, passes=passes, rank=rank) for rank in range(world)]
    for step in range(15):
        undivided = plan().samples(step)[2]
        shared = [s for turn in range(passes) for part in parts for s in part.samples(step * passes + turn)[2]]
        assert shared == list(undivided)


def test_repeated_draws_of_a_sample_stand_apart() -> None:
    samples = plan(repeats=4).samples(0)[2]
    assert [again for _, again in samples] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({index for index, _ in samples}) == 2
    neighbours = zip(samples, samples[1:] + samples[:1], strict=True)
    assert all(a != b for (a, _), (b, _) in neighbours), "mixup would mix an image with itself"


@pytest.mark.parametrize("changes", [{"batch_size": 41}, {"world": 3}, {"passes": 5}])
def test_batches_that_cannot_be_shared_out_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match="--batch-size"):
        plan(**changes)


def test_accumulated_passes_are_one_large_batch(few: ArrayDataset, tmp_path: Path) -> None:
    def trained(name: str, **changes: Any) -> dict[str, torch.Tensor]:
        plugins.architecture._entries.pop("still", None)
        plugins.architecture("still", image_size=32)(Still)
        torch.manual_seed(0)
        task, _ = build(spec(model="still", augment="affine", **changes), few, World())
        (tmp_path / name).mkdir()
        return train(task, tmp_path / name, RunMode()).network.state_dict()

    large, pieces, none = trained("whole"), trained("pieces", accumulate=4), trained("none", epochs=1, lr=1e-9)
    assert float((large["body.head.weight"] - none["body.head.weight"]).abs().max()) > 1e-3
    for name in large:
        torch.testing.assert_close(large[name], pieces[name], rtol=1e-5, atol=1e-6)


def test_binary_cross_entropy_against_its_formula() -> None:
    logits, labels = torch.randn(6, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 3, 1, 1, 2, 0])
    for targets in (labels, torch.tensor([[0.3, 0.7, 0, 0]] * 6, dtype=torch.float64)):
        right = F.one_hot(labels, 4).double() if targets.ndim == 1 else (targets > 0).double()
        for smoothing in (0.0, 0.1):
            soft = right * (1 - smoothing) + smoothing / 4
            p = 1 / (1 + torch.exp(-logits))
            expected = -(soft * p.log() + (1 - soft) * (1 - p).log()).mean()
            torch.testing.assert_close(BinaryCrossEntropy(smoothing)(logits, targets), expected, rtol=1e-6, atol=0)


def test_the_terms_of_augmix_are_the_published_sum(few: ArrayDataset) -> None:
    """CE of the clean logits plus 12 JSD over clean and two views, value and gradient, in float64."""
    network = Still(10).double()
    batch = few.read(range(6))
    batch = Batch(batch.ids, batch.images.double(), batch.labels)
    views = tuple(batch.images.flip(dim) for dim in (2, 3))
    terms = Classification([Clean(), Consistency(12.0)])(network, Step(batch, batch, 0, 0, views=views))
    torch.stack(list(terms.values())).sum().backward()
    gradient = network.head.weight.grad.clone()
    network.zero_grad()
    logits = [network(images) for images in (batch.images, *views)]
    p = [z.softmax(1) for z in logits]
    mixture = (sum(p) / 3).clamp(1e-7, 1)
    jsd = sum((q * (q.log() - mixture.log())).sum(1).mean() for q in p) / 3
    expected = F.cross_entropy(logits[0], batch.labels) + 12 * jsd
    expected.backward()
    assert float((terms["ce"] + terms["jsd"]).detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(gradient, network.head.weight.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_mixing_mixes_labels_as_it_mixes_images(mixup: float, cutmix: float) -> None:
    colours = torch.eye(3).repeat_interleave(2, 0)[:, :, None, None].expand(-1, -1, 32, 32).contiguous()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    step = Step(*[Batch(tuple("abcdef"), colours, labels)] * 2, seed=0, epoch=0)
    soft = 0
    for trial in range(8):
        torch.manual_seed(trial)
        mixed = Mixing(3, mixup, cutmix)(step)
        assert mixed.targets is not None
        # Each image is all of one primary colour: its mean colour is its share of the classes.
        torch.testing.assert_close(mixed.augmented.images.mean((2, 3)), mixed.targets, rtol=1e-4, atol=1e-4)
        soft += int(((mixed.targets > 0).sum(1) > 1).any())
        assert torch.equal(mixed.raw.images, colours)
    assert soft > 4


class Gaussian(nn.Module):
    """The exact noise prediction for data from N(mean, spread^2): what a perfect network would learn."""

    def __init__(self, mean: float, spread: float) -> None:
        super().__init__()
        self.mean, self.spread = mean, spread

    def forward(self, x: torch.Tensor, t: torch.Tensor, return_dict: bool, class_labels: Any = None) -> Any:
        abar = torch.from_numpy(linear().alpha_bar)[t][:, None, None, None]
        mean = self.mean if class_labels is None else class_labels[:, None, None, None] * self.mean
        variance = abar * self.spread**2 + 1 - abar
        return ((1 - abar).sqrt() * (x - abar.sqrt() * mean) / variance,)


def exact(x_t: torch.Tensor, t: int, mean: float, spread: float) -> torch.Tensor:
    """End of the probability flow from x_t at time 0, for Gaussian data: the same quantile."""
    abar = float(linear().alpha_bar[t])
    return mean + (x_t - abar**0.5 * mean) * spread / (abar * spread**2 + 1 - abar) ** 0.5


def test_dpm_solver_2_is_closer_to_the_probability_flow_than_ddim() -> None:
    """Second order against first, where the flow is known exactly: for short steps (long ones overshoot)."""
    denoiser = Denoiser(Gaussian(0.1, 0.4), linear())
    images = torch.linspace(0.3, 0.8, 60).reshape(5, 3, 2, 2)
    noise = torch.linspace(-1, 1, 60).reshape(5, 3, 2, 2)
    for time, ratio in ((5, 8), (20, 3), (50, 1.5)):
        t = torch.full((5,), time)
        x_t = denoiser.diffuse(images, t, noise)
        wanted = (exact(x_t.double(), time, 0.1, 0.4).clamp(-1, 1) + 1) / 2
        first, second = (
            float((Reverse(denoiser, sampler)(images, t, noise, torch.zeros(5)) - wanted).abs().mean())
            for sampler in ("ddim", "dpm2")
        )
        assert second * ratio < first


def test_dpm_solver_2_agrees_with_the_library_s_single_step_solver() -> None:
    """The update of diffusers' solver, fed with noise predictions at the same three times."""
    from diffusers import DPMSolverSinglestepScheduler

    schedule, time = linear(), 100
    denoiser = Denoiser(Gaussian(0.0, 0.5), schedule)
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    t = torch.full((2,), time)
    a, s = schedule.alpha_bar**0.5, (1 - schedule.alpha_bar) ** 0.5
    lam = np.log(a / s)
    middle = int(np.abs(lam - (lam[time] + lam[0]) / 2).argmin())
    x_t = denoiser.diffuse(images, t, noise)
    x = x_t.double()
    eps = denoiser.predict_noise(x_t, t)[0].double()
    x_m = a[middle] / a[time] * x - s[middle] * np.expm1(lam[middle] - lam[time]) * eps
    eps_m = denoiser.predict_noise(x_m.float(), torch.full((2,), middle))[0].double()
    solver = DPMSolverSinglestepScheduler(
        trained_betas=schedule.betas, solver_order=2, algorithm_type="dpmsolver", final_sigmas_type="sigma_min"
    )
    solver.sigmas = torch.from_numpy(s / a)[[time, middle, 0]]
    solver._step_index = 1
    end = solver.singlestep_dpm_solver_second_order_update([eps, eps_m], sample=x)
    # What is left of the noise at index 0 is removed, as in DDIM's prediction of x_0.
    span = lam[0] - lam[time]
    effective = eps + (eps_m - eps) * span / (2 * (lam[middle] - lam[time]))
    wanted = ((end - s[0] * effective) / a[0] + 1) / 2
    assert float(wanted.min()) > 0 and float(wanted.max()) < 1
    result = Reverse(denoiser, "dpm2")(images, t, noise, torch.zeros(2))
    torch.testing.assert_close(result.double(), wanted, rtol=0, atol=1e-5)


def test_the_conditional_network_is_mixed_in_with_weight_lambda() -> None:
    schedule = linear()
    plain, conditional = Denoiser(Gaussian(0.0, 0.3), schedule), Denoiser(Gaussian(0.2, 0.3), schedule)
    conditional.network.class_embedding = torch.nn.Embedding(4, 1)
    images, noise = torch.rand(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    t, labels = torch.tensor([10, 200, 500, 900]), torch.tensor([0, 1, 2, 3])
    x_t = plain.diffuse(images, t, noise)
    eps = plain.network(x_t, t, False)[0]
    eps_y = conditional.network(x_t, t, False, labels)[0]
    for weight in (0.0, 0.3, 1.0):
        mixed = (1 - weight) * eps + weight * eps_y
        wanted = (plain.x0(schedule, x_t, t, mixed.float()) + 1) / 2
        result = Reverse(plain, conditional=conditional, weight=weight)(images, t, noise, labels)
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(HarnessError, match="schedule"):
        Reverse(plain, conditional=Denoiser(conditional.network, linear(500)), weight=0.5)


def test_a_conditional_denoiser_trains_and_serves_diffaug(few: ArrayDataset, tmp_path: Path) -> None:
    from harness.train.run import run

    plugins.dataset._entries["digits"] = replace(plugins.dataset["digits"], build=lambda split: few)
    settings = {"model": "unet-conditional", "epochs": 1, "batch_size": 20, "warmup": 0}
    card = run(resolve(TrainSpec(**settings)), tmp_path / "unet")
    assert set(card["heldout_denoising_rmse"]) == {"50", "150", "250", "350", "450", "700"}
    task, header = build(
        spec(diffaug=True, conditional=str(tmp_path / "unet"), conditional_weight=0.5, diffaug_times=(0, 500)),
        few,
        World(),
    )
    assert header["conditional_sha256"] == card["sha256"]
    terms = task.objective(task.network, task.feed[0])
    assert set(terms) == {"ce", "diffaug"} and all(torch.isfinite(term) for term in terms.values())
    with pytest.raises(HarnessError, match=r"--diffusion takes a denoiser that is unconditional; .*unet' is class"):
        build(spec(diffaug=True, diffusion=str(tmp_path / "unet")), few, World())
    with pytest.raises(HarnessError, match="--diffusion takes a denoiser that is unconditional"):
        build(spec(model="encoder", objective="da", diffusion=str(tmp_path / "unet")), few, World())
    with pytest.raises(HarnessError, match="--conditional takes a denoiser that is class-conditional; 'digits' is unc"):
        build(spec(diffaug=True, conditional="digits", conditional_weight=0.5), few, World())
    more = ArrayDataset("digits", few.ids, few.pixels, few.labels, 11, few.geometry)
    mixed = spec(diffaug=True, conditional=str(tmp_path / "unet"), conditional_weight=0.5)
    with pytest.raises(HarnessError, match="unet takes one of 10 classes, and 'digits' has 11"):
        build(mixed, more, World())


@pytest.mark.parametrize(
    ("settings", "channels", "terms"),
    [
        ({"objective": "noisy"}, 3, {"ce"}),
        ({"objective": "da"}, 6, {"ce"}),
        ({"objective": "noisy", "labels": 0.5, "consistency_radius": 20}, 3, {"ce", "consistency"}),
    ],
)
def test_classifiers_for_guidance_are_trained_by_name(
    settings: dict[str, Any], channels: int, terms: set[str], few: ArrayDataset
) -> None:
    task, header = build(spec(model="encoder", **settings), few, World())
    assert header["kind"] == "classifier" and header["objective"] == settings["objective"]
    assert header["arguments"] == {"num_classes": 10, "in_channels": channels}
    assert set(task.objective(task.network, task.feed[0])) == terms
    for wrong, message in (({}, "--objective"), ({"objective": "clean"}, "noisy or da")):
        with pytest.raises(HarnessError, match=message):
            build(spec(model="encoder", **wrong), few, World())


def test_a_share_of_the_labels_is_a_share_of_the_images(few: ArrayDataset) -> None:
    plugins.dataset._entries["digits"] = replace(plugins.dataset["digits"], build=lambda split: few)
    counts = [int((few.labels == label).sum()) for label in range(10)]
    assert len(open_training(spec(labels=0.5)).ids) == sum(int(count / 2 + 0.5) for count in counts)


@pytest.mark.parametrize("times", [(0, 1001), (500, 500), (-1, 10), (600, 500)])
def test_times_outside_the_schedule_are_refused(times: tuple[int, int], few: ArrayDataset) -> None:
    with pytest.raises(HarnessError, match="--diffaug-times"):
        build(spec(diffaug=True, diffaug_times=times), few, World())


def test_training_goes_on_from_a_checkpoint(few: ArrayDataset) -> None:
    task, header = build(spec(model="resnet", init="digits/resnet"), few, World())
    trained, info = find_classifier("digits/resnet")
    assert header["init_sha256"] == info.sha256
    assert all(torch.equal(a, b) for a, b in zip(task.network.parameters(), trained.parameters(), strict=True))
    with pytest.raises(HarnessError, match="is a checkpoint of 'resnet', not of 'vit'"):
        build(spec(init="digits/resnet"), few, World())


def test_position_embeddings_are_interpolated_to_another_size() -> None:
    from timm.layers import resample_abs_pos_embed
    from timm.models.vision_transformer import VisionTransformer

    from harness.models.classifier import ImageClassifier
    from harness.train.engine.init import _resampled

    small, large = (
        ImageClassifier(VisionTransformer(img_size=side, patch_size=8, embed_dim=24, depth=1, num_heads=3))
        for side in (48, 64)
    )
    state = _resampled(small.state_dict(), large)
    large.load_state_dict(state)
    wanted = resample_abs_pos_embed(small.body.pos_embed, [8, 8], num_prefix_tokens=1)
    assert torch.equal(large.body.pos_embed, wanted) and wanted.shape == (1, 65, 24)
    assert torch.equal(wanted[:, 0], small.body.pos_embed[:, 0])
    assert _resampled(small.state_dict(), small)["body.pos_embed"].shape == (1, 37, 24)


def test_a_denoiser_says_which_noise_schedule_it_was_trained_with(few: ArrayDataset) -> None:
    for name in ("linear", "cosine"):
        task, header = build(spec(model="unet", noise_schedule=name), few, World())
        assert (header["schedule"], header["steps"]) == (name, 1000)
        assert isinstance(task.objective, NoisePrediction)
        assert np.array_equal(task.objective.denoiser.schedule.betas, SCHEDULES[name](1000).betas)


def test_schedules_of_the_learning_rate() -> None:
    steps = spec(epochs=90, schedule="step:30", warmup=0)
    rates = [learning_rate(steps, epoch) for epoch in (0, 29.9, 30, 59.9, 60, 89.9)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert learning_rate(spec(schedule="constant", warmup=0), 1.5) == 1
    for wrong in ("step", "step:0", "linear", "cosine:3"):
        with pytest.raises(HarnessError, match="--schedule"):
            spec(schedule=wrong, warmup=2)


def test_an_explicit_zero_is_not_left_to_the_recipe() -> None:
    """In what is trained, in the card and in the command that says it again."""
    zero = resolve(TrainSpec("resnet", weight_decay=0.0, warmup=0))
    assert (zero.weight_decay, zero.warmup, resolve(zero)) == (0, 0, zero)
    assert "--weight-decay 0.0" in zero.command() and "--warmup 0" in zero.command()
    assert resolve(TrainSpec("resnet")).weight_decay == 0.05
    assert "--ema" not in zero.command() and "--ema 0.0" in resolve(TrainSpec("unet", ema=0.0)).command()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamz"}, "optimiser 'adamz'.*adam"),
        ({"augment": "afine"}, "Did you mean affine"),
        ({"model": "unet", "augmix": True}, "--augmix is for networks of kind classifier; 'unet' is a denoiser"),
        ({"model": "encoder", "objective": "noisy", "diffaug": True}, "--diffaug is for networks of kind classifier;"),
        ({"jsd": 3.0}, "--jsd means nothing without --augmix"),
        ({"extra_as": "terms"}, "--extra-as means nothing without --data-extra"),
        ({"diffaug": True, "conditional_weight": 0.5}, "means nothing without --conditional"),
        ({"diffaug": True, "conditional": "digits"}, "needs --conditional-weight"),
        ({"augmix": True, "mixup": 0.8}, "--augmix compares views of one image"),
        ({"labels": 0.5, "data_extra": ("x",)}, "--labels leaves labels out"),
        ({"schedule": "linear", "warmup": 2}, "--schedule 'linear'"),
        ({"beta2": 1.0}, "--optimizer adamw .*--beta2 1.0.*: Invalid beta"),
        ({"optimizer": "adahessian"}, "--optimizer adahessian needs second derivatives"),
        ({"seed": 10**20}, "--seed 10+ must be at most"),
        ({"extra_as": "sum"}, "--extra-as"),
        ({"smoothing": 1.5}, "--smoothing 1.5 must be at most 1"),
        ({"lr": -1.0}, "--lr -1.0 must be at least 0"),
        ({"dtype": "float16"}, "--dtype"),
        ({"objective": "noisy"}, "--objective is for networks of kind time-conditioned; 'vit' is a classifier"),
        ({"consistency_radius": 5, "labels": 0.5}, "--consistency-radius is for networks of kind time-conditioned"),
        ({"diffaug_times": (5,)}, "--diffaug-times needs two times"),
        ({"lr": 0.0}, "--lr 0 changes no weight"),
        ({"warmup": 9, "epochs": 3}, "--warmup 9 is longer than the run"),
        ({"model": "unet", "drop_path": 0.1}, "--drop-path is for networks of kind classifier"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str, few: ArrayDataset) -> None:
    from harness.train.engine import optimize

    with pytest.raises(HarnessError, match=message):
        optimize.build(spec(**settings), nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["adamw", "lamb", "adabelief", "clion"])
def test_optimisers_with_two_betas_get_them(name: str) -> None:
    from harness.train.engine import optimize

    optimizer = optimize.build(spec(optimizer=name, momentum=0.8, beta2=0.9), nn.Linear(2, 2))
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)


def test_a_distorter_is_a_distorter(few: ArrayDataset) -> None:
    @plugins.distorter("test/odd")
    @dataclass(frozen=True)
    class Odd:
        """Nothing that distorts."""

    with pytest.raises(HarnessError, match=r"'test/odd' is of class Odd\. Make it a subclass of"):
        spec(deepaugment="test/odd")


def test_the_log_has_a_line_per_group_and_survives_a_kill(
    few: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_every_step(monkeypatch)
    monkeypatch.setattr("harness.train.engine.log.EVERY", 2)

    def go(stop_at: int = 0) -> None:
        def report(progress: Any) -> None:
            if stop_at and progress.step == stop_at:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        train(build(spec(epochs=3, diffaug=True), few, World())[0], tmp_path, RunMode(report=report))

    def lines() -> Iterator[dict[str, Any]]:
        return map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())

    with pytest.raises(KeyboardInterrupt):
        go(stop_at=4)  # killed before its state was written: line 4 stands, step 4 does not
    go()
    lines_left = list(lines())
    assert [line["step"] for line in lines_left] == [2, 4, 6]
    assert set(lines_left[0]["loss"]) == {"ce", "diffaug"}
    assert all(0 < line["share"]["diffaug"] < 1 and line["images_per_second"] > 0 for line in lines_left)


def test_a_finished_run_keeps_its_shares_and_any_device_goes_on(few: ArrayDataset, tmp_path: Path) -> None:
    settings = spec(epochs=1)
    first = train(build(settings, few, World())[0], tmp_path, RunMode())
    again = train(build(settings, few, World())[0], tmp_path, RunMode(World(device="cpu:0")))
    assert first.shares and again.shares == first.shares
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True))


def test_cross_entropy_of_soft_labels() -> None:
    logits = torch.randn(3, 5, dtype=torch.float64)
    soft = torch.rand(3, 5, dtype=torch.float64).softmax(1)
    assert float(CrossEntropy()(logits, soft)) == pytest.approx(float(-(soft * logits.log_softmax(1)).sum(1).mean()))
