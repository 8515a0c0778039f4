"""Kinds of networks, the inputs of a training, checkpoint headers and the order of construction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ROOT, harness
from torch import Tensor, nn

from harness import plugins
from harness.data import ArrayDataset
from harness.diffusion.lookup import find_denoiser
from harness.models.checkpoint import read_checkpoint, write_checkpoint
from harness.train.build import build
from harness.train.engine.parallel import World
from harness.train.inputs import Inputs
from harness.train.kinds import KINDS, Built, NetworkKind, register
from harness.train.kinds.frozen import Frozen
from harness.train.objectives.protocol import Timer, untimed
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Dataset, HarnessError


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    """Kinds that a test registers are gone after it."""
    before = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(before)


def spec(model: str, **changes: Any) -> TrainSpec:
    return resolve(TrainSpec(model, **{"epochs": 1, "batch_size": 20, "lr": 1e-3, "warmup": 0, **changes}))


class Brightness(nn.Module):
    """A guess of the mean of an image, from one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images[:, :, 16, 16])[:, 0]


class Squares:
    """Squared error of the guess."""

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        images = step.augmented.images
        return {"mse": (network(images) - images.mean((1, 2, 3))).square().mean()}


def build_brightness(spec: TrainSpec, data: Dataset, frozen: Frozen, device: str) -> Built:
    return Built(plugins.architecture[spec.model].build(), Squares(), {}, {"unit": "one"})


def measure_brightness(spec: TrainSpec, network: nn.Module, test: Dataset, device: str) -> dict[str, Any]:
    batch = test.read(range(100))
    with torch.no_grad():
        return {"brightness_error": float((network(batch.images) - batch.images.mean((1, 2, 3))).abs().mean())}


def spell_brightness(card: Mapping[str, Any]) -> str:
    return f"Brightness is off by {card['brightness_error']:.3f}."


REGRESSOR = NetworkKind(
    name="regressor",
    build=build_brightness,
    measure=measure_brightness,
    outcome=spell_brightness,
    use="measure-light {}",
    options=frozenset({"smoothing"}),
)


def test_a_new_kind_is_registered_in_one_place_and_trained_like_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    register(REGRESSOR)
    plugins.architecture("brightness", kind="regressor", image_size=32)(Brightness)
    command = ["train", "--model", "brightness", "--epochs", "1", "--batch-size", "399", "--lr", "0.01"]
    options = ["--device", "cpu", "--smoothing", "0.1"]
    code, text = harness(monkeypatch, capsys, *command, *options, "--out", str(tmp_path / "light"))
    assert code == 0 and "Brightness is off by 0." in text and f"Use it: measure-light {tmp_path / 'light'}" in text
    card = json.loads((tmp_path / "light" / "card.json").read_text())
    assert 0 < card["brightness_error"] < 2
    header = read_checkpoint(tmp_path / "light" / "model.safetensors").header
    assert header == {
        "architecture": "brightness", "arguments": {}, "dataset": "digits", "kind": "regressor", "unit": "one",
    }  # fmt: skip
    code, text = harness(monkeypatch, capsys, *command, "--augmix")
    assert code == 2 and "--augmix is for networks of kind classifier; 'brightness' is a regressor network" in text


def test_an_unknown_kind_is_named_with_those_there_are() -> None:
    plugins.architecture("typo", kind="denoisr", image_size=32)(Brightness)
    with pytest.raises(HarnessError, match=r"kind of network 'denoisr' of the architecture 'typo'.*denoiser"):
        spec("typo")


def test_every_option_of_a_kind_is_a_setting() -> None:
    settings = set(TrainSpec.__dataclass_fields__)
    for kind in KINDS.values():
        assert kind.options <= settings, kind.name
        others = {name for names in kind.beside.values() for name in names.split(" or ")}
        assert set(kind.beside) <= kind.options and others <= kind.options


@pytest.mark.parametrize(
    ("model", "changes", "fields"),
    [
        ("resnet", {}, []),
        (
            "vit",
            {"diffaug": True, "augmix": True, "deepaugment": "autoencoder", "init": "digits/vit"},
            ["denoiser_sha256", "deepaugment_sha256", "init_sha256"],
        ),
        ("encoder", {"objective": "da"}, ["objective", "denoiser_sha256"]),
        ("unet", {}, ["schedule", "steps"]),
        ("autoencoder", {}, []),
    ],
)
def test_every_kind_has_its_header_fields(
    model: str, changes: dict[str, Any], fields: list[str], few: ArrayDataset
) -> None:
    task, header = build(spec(model, **changes), few, World())
    assert set(header) == {"architecture", "arguments", "dataset", "kind", *fields}
    hashes = {name: value for name, value in header.items() if name.endswith("_sha256")}
    assert task.inputs.all == {**hashes, "data_sha256": few.sha256}


@pytest.mark.parametrize("name", ["digits/resnet", "digits/vit+diffaug", "digits/resnet+augmix+diffaug"])
def test_headers_of_shipped_checkpoints_come_out_again(name: str, few: ArrayDataset) -> None:
    card = ROOT / "registry" / "checkpoints" / f"{name.replace('/', '-')}.json"
    shipped = read_checkpoint(card.with_suffix(".safetensors")).header
    settings = {**json.loads(card.read_text())["spec"], "batch_size": 20, "epochs": 1, "warmup": 0}
    _, header = build(resolve(TrainSpec(**settings)), few, World())
    assert header == shipped


def test_inputs_keep_the_names_that_saved_states_have_for_them() -> None:
    inputs = Inputs("d", "n", "c", "p", "i", {1: "x", 2: "y"})
    assert inputs.all == {
        "denoiser_sha256": "n", "conditional_sha256": "c", "deepaugment_sha256": "p", "init_sha256": "i",
        "data_sha256": "d", "copy1_sha256": "x", "copy2_sha256": "y",
    }  # fmt: skip
    assert Inputs("d").all == {"data_sha256": "d"} and Inputs().weights == {}


@pytest.mark.parametrize(
    ("model", "changes"),
    [("resnet", {"diffaug": True, "deepaugment": "autoencoder"}), ("encoder", {"objective": "noisy"})],
)
def test_networks_are_constructed_denoiser_first_and_then_the_one_to_train(
    model: str, changes: dict[str, Any], few: ArrayDataset
) -> None:
    """Initial weights come from one generator, so the shipped cards depend on this order."""
    resolved = spec(model, **changes)
    torch.manual_seed(5)
    task, header = build(resolved, few, World())
    torch.manual_seed(5)
    find_denoiser("digits")
    expected = plugins.architecture[model].build(**header["arguments"]).state_dict()
    assert all(torch.equal(task.network.state_dict()[f"body.{name}"], tensor) for name, tensor in expected.items())


def test_the_conditional_denoiser_is_constructed_between_the_two(
    few: ArrayDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    header = {
        "architecture": "unet-conditional", "dataset": "digits", "kind": "denoiser", "arguments": {"num_classes": 10},
        "schedule": "linear", "steps": 1000,
    }  # fmt: skip
    conditional = tmp_path / "model.safetensors"
    write_checkpoint(conditional, plugins.architecture["unet-conditional"].build(num_classes=10), header)
    changes = {"diffaug": True, "conditional": str(tmp_path), "conditional_weight": 0.5}
    resolved = spec("resnet", **changes)
    torch.manual_seed(5)
    task, _ = build(resolved, few, World())
    torch.manual_seed(5)
    find_denoiser("digits")
    find_denoiser(str(tmp_path))
    expected = plugins.architecture["resnet"].build(num_classes=10).state_dict()
    assert all(torch.equal(task.network.state_dict()[f"body.{name}"], tensor) for name, tensor in expected.items())
