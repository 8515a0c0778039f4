"""Alignment with a diffusion model: its loss, its targets, and a projection that is trained and then discarded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import RECORDED_FOLDER
from small_denoisers import count_calls, images, random_unet
from torch import Tensor, nn

from harness.base import noise
from harness.data import ArrayDataset
from harness.diffusion.analysis.layer_features import layer_features
from harness.train import loop
from harness.train.build import build
from harness.train.engine.parallel import World
from harness.train.engine.state import State
from harness.train.loop import RunMode, train
from harness.train.objectives.alignment import Alignment, alignment_loss, projection
from harness.train.objectives.protocol import TermResponse
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Batch, HarnessError


def spec(**changes: Any) -> TrainSpec:
    settings = {"model": "resnet", "epochs": 1, "batch_size": 20, "lr": 1e-3, "warmup": 0, "augment": "none", **changes}
    return resolve(TrainSpec(**settings))


def penultimate(recorded: Any, count: int) -> Tensor:
    """Features (count, 384) float64 of the small network of the recording."""
    weights = {name: torch.from_numpy(recorded[f"w/{name}"]).double() for name in ("0.weight", "0.bias")}
    weights |= {name: torch.from_numpy(recorded[f"w/{name}"]).double() for name in ("2.weight", "2.bias")}
    x = torch.from_numpy(recorded["images"][:count]).double() / 255
    x = F.silu(F.conv2d(x, weights["0.weight"], weights["0.bias"], padding=1))
    return F.silu(F.conv2d(x, weights["2.weight"], weights["2.bias"], stride=2, padding=1)).flatten(1)


def test_the_loss_is_that_of_repa_on_recorded_features() -> None:
    recorded = np.load(RECORDED_FOLDER / "features.npz")
    head = projection(384, 32, 24).double()
    for number, layer in enumerate((head[0], head[2], head[4])):
        assert isinstance(layer, nn.Linear)
        layer.weight.data = torch.from_numpy(recorded[f"dra/w{number}"]).double()
        layer.bias.data = torch.from_numpy(recorded[f"dra/b{number}"]).double()
    target = torch.from_numpy(recorded["dra/target"]).double()
    projected = head(penultimate(recorded, 16))
    cosines = F.cosine_similarity(projected, target)
    np.testing.assert_allclose(cosines.detach(), recorded["dra/cosine"], rtol=0, atol=1e-12)
    loss = alignment_loss(projected, target).detach()
    assert float(loss) == pytest.approx(float(recorded["value/dra_loss"]), abs=1e-12)
    assert float(loss) - 1 == pytest.approx(float(recorded["value/dra_repa_loss"]), abs=1e-12)


def step_of(count: int, seed: int = 0) -> Step:
    batch = Batch(tuple(f"image-{i}" for i in range(count)), images(count), torch.zeros(count, dtype=torch.int64))
    return Step(batch, batch, seed, 0)


def test_a_target_is_the_pooled_middle_block_at_the_noisy_image_and_has_no_gradient() -> None:
    denoiser = random_unet()
    term = Alignment(denoiser, projection(4, 8, 16), 100, on=("align",), unaltered=True)
    step = step_of(3)
    target = term.targets(step.augmented.images, step.augmented.ids, 0)
    eps = noise.gaussian((3, 16, 16), purpose="align-noise", seed=0, samples=step.augmented.ids)
    abar = denoiser.schedule.alpha_bar[100]
    x_t = abar**0.5 * (2 * step.augmented.images - 1) + (1 - abar) ** 0.5 * eps
    seen: list[Tensor] = []
    denoiser.network.mid_block.register_forward_hook(lambda layer, inputs, output: seen.append(output))
    denoiser.network(x_t.float(), torch.full((3,), 100), return_dict=False)
    torch.testing.assert_close(target, seen[0].mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert not target.requires_grad and term.images(step, None).shape == step.augmented.images.shape


def test_both_kinds_of_images_count_half_and_targets_of_unaltered_images_are_computed_once() -> None:
    denoiser = random_unet()
    step = step_of(3)
    features = {name: torch.rand(3, 4, generator=torch.Generator().manual_seed(k)) for k, name in enumerate("ab")}
    responses = {name: TermResponse(torch.zeros(3, 10), rows) for name, rows in features.items()}
    head = projection(4, 8, 16)
    layer_calls: list[int] = []
    denoiser.network.mid_block.register_forward_pre_hook(lambda layer, inputs: layer_calls.append(len(inputs[0])))
    losses = {}
    for on in (("a",), ("b",), ("a", "b")):
        term = Alignment(denoiser, head, 100, 0.5, on, unaltered=on == ("a",))
        for _ in range(2):
            assert len(term.images(step, None)) == 0
        losses[on] = float(term.loss(responses, step))
        target = term.targets(step.augmented.images, step.augmented.ids, 0)
        expected = [0.5 * float(alignment_loss(head(features[name]), target)) for name in on]
        assert losses[on] == pytest.approx(sum(expected) / len(on), abs=1e-6)
    assert len(layer_calls) == (1 + 2 + 2) + 3
    assert losses["a", "b"] == pytest.approx((losses["a",] + losses["b",]) / 2, abs=1e-6)


def test_a_layer_that_is_not_there_is_refused_with_names_of_others() -> None:
    x = images(1)
    with pytest.raises(HarnessError, match="middle"):
        layer_features(random_unet(), "midle", x, torch.tensor([1]), x)
    denoiser = random_unet()
    with pytest.raises(HarnessError, match=r"layers within blocks are not listed.*down_blocks\.0, ") as refused:
        layer_features(denoiser, "zzz", x, torch.tensor([1]), x)
    assert "resnets.0" not in str(refused.value)
    calls = count_calls(denoiser)
    assert layer_features(denoiser, "down_blocks.0", x, torch.tensor([1]), x).shape == (1, 8) and calls == [1]


class Interrupted(Exception):
    """Stops a training."""


def test_a_resumed_alignment_ends_with_the_weights_of_an_undisturbed_one_and_leaves_no_projection(
    few: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = spec(align="dra", epochs=2)
    assert (settings.align_on, settings.align_width, settings.diffusion) == ("clean", 256, "digits")

    def weights(folder: str, mode: RunMode) -> dict[str, Tensor]:
        torch.manual_seed(0)
        task, header = build(settings, few, World())
        assert "denoiser_sha256" in header and task.projection is not None
        before = [p.detach().clone() for p in task.projection.parameters()]
        (tmp_path / folder).mkdir(exist_ok=True)
        network = train(task, tmp_path / folder, mode).network
        assert all((p != q).any() for p, q in zip(task.projection.parameters(), before, strict=True))
        return network.state_dict()

    whole = weights("whole", RunMode())
    assert not [name for name in whole if "projection" in name]

    def stop(progress: loop.TrainingProgress) -> None:
        if progress.step == 2:
            raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(State, "save_sometimes", State.save)
        with pytest.raises(Interrupted):
            weights("parts", RunMode(report=stop))
        stored = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)
        assert stored["step"] >= 1
    resumed = weights("parts", RunMode())
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"align": "dra", "align_on": "adv"}, "--align-on adv needs attacked images"),
        ({"align_weight": 0.1}, "--align-weight means nothing without --align"),
        ({"align": "repa"}, "--align 'repa' must be one of dra"),
        ({"align": "dra", "diffusion": "digits-conditional"}, "--align-time: 'digits-conditional' states no time"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        spec(**changes)


def test_settings_of_the_alignment_enter_cards_and_names_only_where_it_is_asked_for() -> None:
    assert not [name for name in spec().settings if name.startswith("align")]
    aligned = spec(align="dra")
    assert aligned.name == "digits-resnet+dra"
    assert {"align", "align_time", "align_on", "align_width"} <= aligned.settings.keys()
    assert TrainSpec(**aligned.settings) == aligned
    assert f"--align dra --align-time {aligned.align_time} --align-on clean --align-width 256" in aligned.command()
    assert replace(aligned, align_on="both").settings["align_on"] == "both"
