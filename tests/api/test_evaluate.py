"""Evaluation from Python: live networks, their records, and the networks afterwards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from helpers import harness as command
from torch import Tensor, nn

import harness
from harness.models.lookup import bundled, load_classifier
from harness.types import HarnessError

FEW: dict[str, Any] = {"suite": "digits", "methods": ["default"], "limit": 8, "tile": 4, "progress": False}


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    body = [nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(24, 10))


def test_a_live_network_gives_the_rows_of_its_checkpoint_to_the_bit(tmp_path: Path) -> None:
    path, _ = bundled("digits-resnet")
    net, _ = load_classifier(path)
    (live,) = harness.evaluate(net, name="mine", out=tmp_path, **FEW)
    (stored,) = harness.evaluate(path, out=tmp_path, **FEW)
    rows, expected = live.rows(), stored.rows()
    assert len(rows["id"]) == 8 and all(np.array_equal(rows[name], expected[name]) for name in expected)
    assert live.model.source == "live object" and live.model.name == "mine" and live.path and live.path.is_file()
    assert any("the command line cannot replay" in note for note in live.notes)
    assert not any("replay" in note for note in stored.notes)


def test_a_live_network_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="needs a name"):
        harness.evaluate(network(), out=tmp_path, **FEW)
    with pytest.raises(HarnessError, match="belong to one network"):
        harness.evaluate([network(), network()], name="both", out=tmp_path, **FEW)


def test_a_name_that_means_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.pt").touch()
    for name, message in (("digits/vit", "registered"), ("timm/mine", "registered"), ("mine.pt", "existing path")):
        with pytest.raises(HarnessError, match=message):
            harness.evaluate(network(), name=name, **FEW)
    two = [harness.Model(network(seed), "mine") for seed in (0, 1)]
    with pytest.raises(HarnessError, match="Two networks are called 'mine'"):
        harness.evaluate(two, **FEW)


def test_a_second_call_computes_nothing_and_edited_weights_are_another_model(tmp_path: Path) -> None:
    net = network()
    (first,) = harness.evaluate(net, name="mine", out=tmp_path, **FEW)
    written = first.path.stat().st_mtime_ns if first.path else 0
    (again,) = harness.evaluate(net, name="mine", out=tmp_path, **FEW)
    assert again == first and again.path == first.path and again.path.stat().st_mtime_ns == written
    with torch.no_grad():
        net[-1].bias[3] += 100
    (edited,) = harness.evaluate(net, name="mine", out=tmp_path, **FEW)
    assert edited.key != first.key and set(edited.rows()["prediction"]) == {3}
    (other_mean,) = harness.evaluate(net, name="mine", mean=(0.5,) * 3, std=(0.5,) * 3, out=tmp_path, **FEW)
    assert other_mean.key not in (first.key, edited.key)


def state(net: nn.Module) -> list[Any]:
    """Everything about a network that an evaluation might change."""
    tensors = [*net.named_parameters(), *net.named_buffers()]
    rows: list[Any] = [
        (name, id(t), t.data_ptr(), t.stride(), str(t.device), t.requires_grad, id(t.grad)) for name, t in tensors
    ]
    for name, module in net.named_modules():
        rows.append((name, module.training, sorted(vars(module)), list(module._forward_hooks)))
    return rows


def test_the_network_is_handed_back_as_it_was(tmp_path: Path) -> None:
    net = network().train()
    net[1].eval()
    net[0].bias.requires_grad_(False)
    net(torch.rand(2, 3, 32, 32)).sum().backward()
    net[0].register_forward_hook(lambda *_: None)
    before, flags = state(net), torch.backends.cudnn.deterministic
    numbers = {name: value.clone() for name, value in net.state_dict().items()}
    harness.evaluate(net, name="mine", mean=(0.5,) * 3, std=(0.5,) * 3, out=tmp_path, **FEW)
    assert state(net) == before and torch.backends.cudnn.deterministic == flags
    assert all(torch.equal(value, numbers[name]) for name, value in net.state_dict().items())


class Failing(nn.Module):
    """Fails on every image."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("no such luck")


def test_a_failing_network_gives_one_error_and_is_handed_back(tmp_path: Path) -> None:
    net = Failing()
    before = state(net)
    with pytest.raises(HarnessError, match=r"Model 'mine' failed .* RuntimeError: no such luck"):
        harness.evaluate(net, name="mine", out=tmp_path, **FEW)
    assert state(net) == before and net.training


def test_networks_with_different_preprocessing_stand_in_one_call(tmp_path: Path) -> None:
    net = network()
    models = [
        harness.Model(net, "plain"),
        harness.Model(net, "normalised", mean=(0.1, 0.2, 0.3), std=(0.2,) * 3),
        harness.Model(net, "large", image_size=48),
    ]
    plain, normalised, large = harness.evaluate(models, out=tmp_path, **FEW)
    assert [r.model.name for r in (plain, normalised, large)] == ["plain", "normalised", "large"]
    assert normalised.model.details["mean"] == [0.1, 0.2, 0.3] and large.model.details["sizes"] == [[48, 48]]
    assert len({r.model.sha256 for r in (plain, normalised, large)}) == 3
    assert not np.array_equal(plain.rows()["confidence"], normalised.rows()["confidence"])
    assert any("Nothing states the mean and std" in note for note in plain.notes)
    assert not any("Nothing states" in note for note in normalised.notes)


def test_an_assumed_normalisation_is_said_at_once(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="mine: Nothing states the mean and std"):
        harness.evaluate(network(), name="mine", out=tmp_path, **FEW)


def test_torchvision_without_a_normalisation_is_refused(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    net = models.squeezenet1_1(num_classes=10)
    with pytest.raises(HarnessError, match=r"mean=\(0.485, 0.456, 0.406\), std=\(0.229, 0.224, 0.225\)"):
        harness.evaluate(net, name="theirs", out=tmp_path, **FEW)
    (record,) = harness.evaluate(net, name="theirs", mean=(0, 0, 0), std=(1, 1, 1), out=tmp_path, **FEW)
    assert record.model.details["class"] == "torchvision.models.squeezenet.SqueezeNet"


def test_the_configuration_of_timm_states_what_the_caller_does_not(tmp_path: Path) -> None:
    net = timm.create_model("test_resnet", num_classes=10)
    own, stated = (
        harness.evaluate(harness.Model(net, name, **settings), out=tmp_path, **FEW)[0]
        for name, settings in (("own", {}), ("stated", {"mean": 0.25, "std": 0.5, "image_size": 32}))
    )
    assert own.model.details["mean"] == list(net.pretrained_cfg["mean"])
    assert own.model.details["sizes"][0] == list(net.pretrained_cfg["input_size"][1:])
    assert any("Taken from the network's own configuration: mean=" in note for note in own.notes)
    assert stated.model.details["sizes"] == [[32, 32]] and not any("Taken" in note for note in stated.notes)
    assert any("mean=0.25,0.25,0.25 was stated, and the network's own configuration" in note for note in stated.notes)


def test_classes_are_matched_by_their_names(tmp_path: Path) -> None:
    net, _ = load_classifier(*bundled("digits-resnet"))
    (plain,) = harness.evaluate(net, name="plain", out=tmp_path, **FEW)
    turned = nn.Sequential(net, nn.Linear(10, 10, bias=False))
    turned[1].weight.data = torch.eye(10).flip(0)
    names = [str(digit) for digit in range(10)][::-1]
    (stated,) = harness.evaluate(turned, name="stated", classes=names, out=tmp_path, **FEW)
    assert stated.rows()["prediction"].tolist() == plain.rows()["prediction"].tolist()
    turned.config = SimpleNamespace(id2label=dict(enumerate(names)))
    (own,) = harness.evaluate(turned, name="own", out=tmp_path, **FEW)
    assert own.model.details["classes"] == names
    assert own.rows()["prediction"].tolist() == plain.rows()["prediction"].tolist()


def test_the_command_line_goes_on_from_what_python_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = harness.evaluate("digits/resnet", out=tmp_path, **FEW)
    assert record.path
    written = record.path.stat().st_mtime_ns
    options = ("--suite", "digits", "--tta", "default", "--limit", "8", "--tile", "4")
    code, printed = command(monkeypatch, capsys, "run", "--model", "digits/resnet", *options, "--out", str(tmp_path))
    assert code == 0 and "Records written or found" in printed
    assert [file.name for file in tmp_path.rglob("*.json")] == [record.path.name]
    assert record.path.stat().st_mtime_ns == written


def test_arguments_that_do_not_exist_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"Unknown argument 'evry'\. Did you mean every"):
        harness.evaluate("digits/resnet", "digits", evry=10, out=tmp_path)
    with pytest.raises(HarnessError, match="severity"):
        harness.evaluate("digits/resnet", "digits", severity=3, out=tmp_path)
    with pytest.raises(HarnessError, match="dtype='float31' must be one of auto, float32"):
        harness.evaluate("digits/resnet", "digits", dtype="float31", out=tmp_path)
    with pytest.raises(HarnessError, match="a network is built already"):
        harness.evaluate(network(), "digits", name="mine", architecture="resnet18", out=tmp_path)
    with pytest.raises(HarnessError, match="A dict is no model"):
        harness.evaluate({}, "digits", out=tmp_path)


def test_the_bar_is_silent_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harness.evaluate("digits/resnet", every=200, suite="digits", methods="default", out=tmp_path, progress=False)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_the_public_functions_are_offered_by_completion() -> None:
    assert {"evaluate", "compare", "leaderboard", "Model"} <= set(dir(harness)) & set(harness.__all__)
