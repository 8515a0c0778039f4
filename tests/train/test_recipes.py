"""Recipes by architecture and data set, shortened trainings, and architectures of a user's own."""

from __future__ import annotations

import json
import shlex
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ROOT, harness, save_every_step
from PIL import Image

from harness import plugins
from harness.base.errors import Notice
from harness.data import ArrayDataset
from harness.train import defaults
from harness.train import run as training
from harness.train.engine.optimize import learning_rate
from harness.train.input.plan import Plan
from harness.train.input.splits import open_training
from harness.train.loop import TrainingProgress
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Batch, HarnessError

MINE = """
from torch import nn
from harness.plugins import architecture

@architecture("mine")
def mine(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))
"""
"""A plugin file with an architecture that states no facts."""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def parsed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> TrainSpec:
    """The specification that a command trains."""
    specs: list[TrainSpec] = []
    monkeypatch.setattr(training, "run", lambda spec, *places, **options: specs.append(spec))
    code, text = harness(monkeypatch, capsys, *shlex.split(command)[1:])
    assert code == 0, text
    return specs[0]


@pytest.mark.parametrize("card", sorted((ROOT / "registry" / "checkpoints").glob("*.json")), ids=lambda file: file.stem)
def test_a_shipped_card_s_command_gives_its_specification(
    card: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = json.loads(card.read_text())
    spec = parsed(monkeypatch, capsys, values["command"])
    assert json.loads(json.dumps(spec.settings)) == values["spec"] and spec.name == values["name"]
    assert spec.command() == values["command"].replace("--model ", "--architecture ")


def test_a_data_set_s_recipe_decides_what_the_options_leave_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = resolve(TrainSpec("resnet", dataset="cifar10", data="DIR"))
    assert (small.epochs, small.batch_size, small.lr, small.augment) == (12, 128, 3e-3, "crop-flip:least=0.5")
    large = resolve(TrainSpec("timm/resnet18", dataset="imagenet", data="DIR"))
    assert (large.epochs, large.optimizer, large.schedule, large.lr) == (90, "momentum", "step:30", 0.1)
    other = resolve(TrainSpec("timm/resnet18", dataset="imagenet", data="DIR", optimizer="adamw", clip=1.0, lr=1e-3))
    assert (other.optimizer, other.clip) == ("adamw", 1.0)
    for spec in (small, large, other):
        assert parsed(monkeypatch, capsys, spec.command()) == spec


def test_a_denoiser_keeps_its_own_optimisation_on_every_data_set() -> None:
    spec = resolve(TrainSpec("unet", dataset="cifar10", data="DIR"))
    assert (spec.lr, spec.ema, spec.augment, spec.epochs, spec.optimizer) == (2e-3, 0.995, "flip", 12, "adamw")


def test_a_data_set_without_a_recipe_gets_one_by_its_size_and_a_notice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for k in range(20):
            Image.new("RGB", (32, 32), (k, 0, 0)).save(tmp_path / "train" / name / f"{k}.png")
    with pytest.warns(Notice, match="'folder' states no recipe.*40 training images.*--augment shift-flip"):
        spec = resolve(TrainSpec("resnet", dataset="folder", data=str(tmp_path)))
    assert (spec.epochs, spec.batch_size, spec.lr, spec.augment) == (60, 4, 1e-3, "shift-flip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve(spec) == spec
    assert defaults.rounds(50_000) == {"epochs": 30, "batch_size": 128}
    assert defaults.rounds(1_281_167)["epochs"] == 10


def test_an_own_architecture_trains_without_further_options(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("train", "--plugin", str(mine), "--architecture", "mine", "--max-steps", "2", "--out", str(out))
    code, text = harness(monkeypatch, capsys, *words)
    assert code == 0 and "the recipe of the data set 'digits'" in text, text
    card = json.loads((out / "card.json").read_text())
    assert card["steps"] == 2 and card["spec"]["max_steps"] == 2 and card["spec"]["epochs"] == 60
    assert card["name"] == "digits-mine+max-steps-2" and "--max-steps 2" in card["command"]
    assert card["plugins"]["architecture"].startswith("mine.py ")


def test_unused_limits_are_in_no_name_command_or_card() -> None:
    spec = resolve(TrainSpec("resnet"))
    assert spec.name == "digits-resnet" and not {"limit", "max_steps"} & spec.settings.keys()
    assert "--limit" not in spec.command() and "--max-steps" not in spec.command()


def test_the_schedule_spans_the_steps_of_max_steps() -> None:
    spec = resolve(TrainSpec("resnet", epochs=10, warmup=2, max_steps=20))
    plan = Plan(images=80, name="d", seed=0, batch_size=8, epochs=10, max_steps=20)
    whole = replace(plan, max_steps=0)
    assert (plan.steps, whole.steps, replace(plan, max_steps=500).steps) == (20, 100, 100)
    rates = [learning_rate(spec, plan.epoch_of(step)) for step in range(21)]
    assert rates == [learning_rate(spec, whole.epoch_of(5 * step)) for step in range(21)]
    assert max(rates) == rates[4] == 1 and rates[20] == 0


def test_a_limit_takes_as_many_images_of_each_class_and_nests() -> None:
    whole = open_training(TrainSpec("resnet"))
    fifty, twenty = (open_training(TrainSpec("resnet", limit=count)) for count in (50, 20))
    assert set(Counter(fifty.labels.tolist()).values()) == {5} and set(twenty.ids) < set(fifty.ids)
    assert len(twenty.ids) == 20 and twenty.sha256 != fifty.sha256 != whole.sha256
    assert resolve(TrainSpec("resnet", limit=20)).batch_size == 20
    with pytest.raises(HarnessError, match="--limit leaves images out"):
        resolve(TrainSpec("resnet", limit=20, data_extra=("x",)))


def test_a_shortened_training_resumes_to_the_same_weights(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.discover(mine)
    save_every_step(monkeypatch)
    spec = TrainSpec("mine", limit=40, max_steps=12, epochs=4, batch_size=8)

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 7:
            raise KeyboardInterrupt

    undisturbed = training.run(spec, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        training.run(spec, tmp_path / "killed", stop)
    assert training.run(spec, tmp_path / "killed")["sha256"] == undisturbed["sha256"]
    assert (undisturbed["steps"], undisturbed["data"]["images"]) == (12, 40)


def test_shifts_and_flips_are_keyed_by_sample_and_epoch(few: ArrayDataset) -> None:
    batch = few.read(range(40))
    augment: Any = plugins.augmentation.configure("shift-flip").plugin
    flip: Any = plugins.augmentation.configure("flip").plugin
    step = Step(batch, batch, seed=0, epoch=1)
    shifted = augment(step).augmented.images
    assert shifted.shape == batch.images.shape and not torch.equal(shifted, batch.images)
    assert not torch.equal(shifted, augment(replace(step, epoch=2)).augmented.images)
    part = Batch(batch.ids[5:9], batch.images[5:9], batch.labels[5:9])
    assert torch.equal(augment(replace(step, raw=part, augmented=part)).augmented.images, shifted[5:9])
    flipped = flip(step).augmented.images
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, batch.images, strict=True)]
    same = [torch.equal(new, old) for new, old in zip(flipped, batch.images, strict=True)]
    assert 8 < sum(mirrored) < 32 and all(a != b for a, b in zip(mirrored, same, strict=True))


def test_a_dry_run_prints_no_settings_before_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "--architecture", "resnet", "--batch-size", "2000", "--dry-run")
    code, text = harness(monkeypatch, capsys, *words)
    assert code == 2 and text.startswith("Error: --batch-size 2000 is larger")
