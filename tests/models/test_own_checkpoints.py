"""A user's file of tensors with its architecture named: found in its library, fitted strictly, normalised as stated."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers import CHEAP, SMALL
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import plugins
from harness.api.rerun.origins import check_loaded
from harness.evaluation.prepare import prepare
from harness.models.lookup import canonical, check_name, find_classifier
from harness.types import HarnessError

pytest.importorskip("torchvision")
MEAN, STD = "mean=0.4,0.5,0.6", "std=0.2,0.25,0.3"
CLASSES = 7


class Cnn(nn.Module):
    """The network of somebody who has never heard of this project."""

    def __init__(self, num_classes: int = 10, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images).relu().mean((2, 3)))


class Sigma(nn.Module):
    """The same, and with a number of classes that shows in no tensor alone."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.table = nn.Linear(3, 2 * num_classes + 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.table(images.mean((2, 3)))[:, 1::2]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plugins.discover()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins.architecture, "_entries", dict(plugins.architecture._entries))
    plugins.architecture("test-cnn")(Cnn)
    plugins.architecture("test-sigma")(Sigma)
    plugins.architecture("test-fixed", mean=(0.1,) * 3, std=(0.2,) * 3)(lambda: Cnn(3))


def tensors(network: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    state = {name: torch.rand_like(t) if t.is_floating_point() else t for name, t in network.state_dict().items()}
    network.load_state_dict(state)
    network.eval()
    return state


def prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


SAVED: dict[str, Any] = {
    "bare": lambda state: state,
    "DataParallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "compiled, then wrapped": lambda state: {"model": prefixed(state, "module._orig_mod.")},
    "a script's dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}}},
    "Lightning": lambda state: {"state_dict": prefixed(state, "model."), "epoch": 3},
}


@pytest.mark.parametrize("how", SAVED)
def test_a_file_of_torchvision_gives_what_torchvision_gives_however_it_was_saved(how: str) -> None:
    from torchvision import models, transforms

    network = models.shufflenet_v2_x0_5(num_classes=CLASSES)
    torch.save(SAVED[how](tensors(network)), "own.pt")
    name = canonical(f"own.pt:architecture=shufflenet_v2_x0_5,{MEAN},{STD}")
    assert name == f"own.pt:architecture=torchvision/shufflenet_v2_x0_5,{MEAN},{STD}" and canonical(name) == name
    classifier, info = find_classifier(name)
    images = torch.rand(2, 3, 32, 32)
    expected = network(transforms.Normalize((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))(images))
    torch.testing.assert_close(classifier(images), expected, rtol=1e-6, atol=1e-6)
    assert info.details["arguments"] == {"num_classes": CLASSES} and "notes" not in info.details
    assert info.name == name and info.source == "own.pt" and not classifier.training


def test_a_library_that_fits_is_taken_where_two_have_the_architecture() -> None:
    from torchvision import models

    plainly = {"timm": timm.create_model("efficientnet_b0"), "torchvision": models.efficientnet_b0()}
    for library, network in plainly.items():
        torch.save(network.state_dict(), "own.pt")
        assert canonical("own.pt:architecture=efficientnet_b0") == f"own.pt:architecture={library}/efficientnet_b0"
    save_file(timm.create_model("resnet18", num_classes=3).state_dict(), "own.safetensors")
    name = canonical("own.safetensors:architecture=resnet18")
    assert name == "own.safetensors:architecture=timm/resnet18"
    assert find_classifier(name)[1].details["arguments"] == {"num_classes": 3}


def test_a_registered_architecture_comes_first_and_its_own_facts_are_named_where_they_are_taken() -> None:
    torch.save(tensors(Cnn(3)), "own.pt")
    assert canonical("own.pt:architecture=test-cnn,mean=0.5") == "own.pt:architecture=test-cnn,mean=0.5,0.5,0.5"
    classifier, info = find_classifier("own.pt:architecture=test-fixed")
    assert classifier.mean.flatten().tolist() == pytest.approx([0.1] * 3)
    (note,) = info.details["notes"]
    assert "mean 0.1,0.1,0.1 and std 0.2,0.2,0.2 were taken, which its plugin states" in note
    (note,) = find_classifier("own.pt:architecture=test-cnn")[1].details["notes"]
    assert "mean 0 and std 1" in note


@pytest.mark.parametrize(
    ("make", "name", "count"), [(Cnn, "test-cnn", 1), (Cnn, "test-cnn", 100), (Sigma, "test-sigma", 6)]
)
def test_the_number_of_classes_is_read_from_the_shapes(make: Any, name: str, count: int) -> None:
    torch.save(tensors(make(num_classes=count)), "own.pt")
    classifier, info = find_classifier(f"own.pt:architecture={name}")
    assert classifier(torch.rand(1, 3, 4, 4)).shape == (1, count)
    assert info.details["arguments"] == {"num_classes": count}


def test_a_transformer_is_built_for_the_size_of_its_position_embedding() -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224", img_size=96, num_classes=3).state_dict(), "own.pt")
    classifier, info = find_classifier("own.pt:architecture=vit_tiny_patch16_224,mean=0.5,std=0.5")
    assert info.details["sizes"] == [[96, 96]] and info.details["arguments"]["img_size"] == 96
    assert classifier(torch.rand(1, 3, 32, 32)).shape == (1, 3)
    name = "own.pt:architecture=timm/vit_tiny_patch16_224,image_size=96"
    assert find_classifier(name)[1].details["sizes"] == [[96, 96]]
    with pytest.raises(HarnessError, match="position embedding is for 96x96"):
        find_classifier("own.pt:architecture=timm/vit_tiny_patch16_224,image_size=224")


def test_a_convolutional_network_takes_images_as_they_are_unless_a_size_is_stated() -> None:
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), "own.pt")
    assert "sizes" not in find_classifier("own.pt:architecture=timm/test_resnet")[1].details
    stated = "own.pt:architecture=timm/test_resnet,image_size=40,48,interpolation=bilinear"
    classifier, info = find_classifier(stated)
    assert info.details["sizes"] == [[40, 48]] and info.details["interpolation"] == "bilinear"
    assert classifier.preprocess(torch.rand(1, 3, 8, 8)).shape == (1, 3, 40, 48)


def test_a_running_average_is_chosen_by_name() -> None:
    network = Cnn(3)
    torch.save({"model": tensors(network), "model_ema": Cnn(3).state_dict()}, "own.pt")
    with pytest.raises(HarnessError, match="two networks, as model and as model_ema"):
        find_classifier("own.pt:architecture=test-cnn")
    classifier, info = find_classifier("own.pt#model:architecture=test-cnn,mean=0,std=1")
    images = torch.rand(1, 3, 4, 4)
    assert torch.equal(classifier(images), network(images)) and info.details["part"] == "model"
    assert info.sha256 != find_classifier("own.pt#model_ema:architecture=test-cnn")[1].sha256


def test_another_architecture_is_refused_with_one_that_fits() -> None:
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), "own.pt")
    with pytest.raises(HarnessError, match=r"does not fit architecture 'timm/resnet34'.*tensors fit timm/resnet18\."):
        find_classifier("own.pt:architecture=resnet34")
    with pytest.raises(HarnessError, match=r"Unknown architecture 'resnet81'.*Did you mean"):
        check_name("own.pt:architecture=resnet81", plugins.model)
        canonical("own.pt:architecture=resnet81")
    with pytest.raises(HarnessError, match="of the kind denoiser"):
        canonical("own.pt:architecture=unet")


def test_without_an_architecture_the_message_names_the_option_and_what_the_tensors_fit() -> None:
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), "own.pt")
    save_file(Cnn().state_dict(), "own.safetensors")
    with pytest.raises(
        HarnessError, match=r"Its tensors fit timm/resnet18\..*--model own.pt --architecture timm/resnet18"
    ):
        find_classifier("own.pt")
    with pytest.raises(HarnessError, match=r"architecture is unknown\. Name it: .*--architecture.*harness.evaluate"):
        find_classifier("own.safetensors")
    with pytest.raises(HarnessError, match="its architecture is unknown"):
        find_classifier("own.pt:mean=0.5")


def test_a_whole_network_and_torchscript_stay_refused_with_the_remedy() -> None:
    torch.save(Cnn(), "whole.pt")
    torch.jit.trace(Cnn(), torch.rand(1, 3, 4, 4)).save("script.pt")
    for file in ("whole.pt", "script.pt"):
        for text in (file, f"{file}:architecture=test-cnn"):
            with pytest.raises(HarnessError, match=r"--architecture.*|harness.evaluate"):
                find_classifier(text)


def test_what_a_training_script_saved_counts_and_is_contradicted_aloud() -> None:
    args = argparse.Namespace(model="resnet18", mean=[0.4, 0.5, 0.6], std=None)
    torch.save({"state_dict": tensors(Cnn(3)), "args": args}, "own.pt")
    classifier, info = find_classifier("own.pt:architecture=test-cnn,std=0.2")
    assert classifier.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    (note,) = info.details["notes"]
    assert "The file says that it is of resnet18" in note
    notes = find_classifier("own.pt:architecture=test-cnn,std=0.2,mean=0.5")[1].details["notes"]
    assert "mean=0.5,0.5,0.5 was stated" in notes[0] and "0.4,0.5,0.6" in notes[0]
    with pytest.raises(HarnessError, match="It says that it is of resnet18"):
        find_classifier("own.pt")


@pytest.mark.parametrize("content", ["a\nb\n\nc\n", '["a", "b", "c"]', '{"id2label": {"1": "b", "0": "a", "2": "c"}}'])
def test_a_file_names_the_outputs_in_their_order_and_decides_by_its_content(content: str) -> None:
    torch.save(tensors(Cnn(3)), "own.pt")
    Path("names.txt").write_text(content)
    text = "own.pt:architecture=test-cnn,classes=names.txt"
    info = find_classifier(text)[1]
    assert info.details["classes"] == ["a", "b", "c"]
    Path("names.txt").write_text("a\nc\nb")
    assert find_classifier(text)[1].sha256 != info.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nb\n", "names 2 classes, and the network has 3 outputs"),
        ("a\nb\na\n", "has 'a' twice"),
        ("", "names no class"),
        ('{"0": "a", "2": "b"}', "not 0, 1, 2"),
        ("[1, 2, 3]", "something else than names"),
        ("{", "classes=names.txt: "),
        (None, "no such file"),
    ],
)
def test_a_list_of_classes_must_name_each_output_once(content: str | None, message: str) -> None:
    torch.save(tensors(Cnn(3)), "own.pt")
    if content is not None:
        Path("names.txt").write_text(content)
    with pytest.raises(HarnessError, match=message):
        find_classifier("own.pt:architecture=test-cnn,classes=names.txt")


def test_a_checkpoint_with_a_header_takes_no_settings_that_contradict_it() -> None:
    header = {"kind": "classifier", "architecture": "test-cnn", "arguments": {"num_classes": 3}}
    state = {
        "mean": torch.full((3, 1, 1), 0.5),
        "std": torch.full((3, 1, 1), 0.25),
        **prefixed(Cnn(3).state_dict(), "body."),
    }
    save_file(state, "own.safetensors", metadata={"harness": json.dumps(header)})
    plain = find_classifier("own.safetensors")[1]
    same = find_classifier("own.safetensors:architecture=test-cnn,mean=0.5,std=0.25")[1]
    assert same.sha256 == plain.sha256
    for setting in ("mean=0.4", "architecture=test-sigma", "image_size=32", "interpolation=bilinear"):
        with pytest.raises(HarnessError, match=f"{setting.partition('=')[0]}=.*contradicts its"):
            find_classifier(f"own.safetensors:{setting}")
    Path("names.txt").write_text("a\nb\nc\n")
    named = find_classifier("own.safetensors:classes=names.txt")[1]
    assert named.details["classes"] == ["a", "b", "c"] and named.sha256 != plain.sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own.pt:archtecture=resnet18", "Unknown setting 'archtecture'.*Did you mean architecture"),
        ("own.pt:mean=0.5,mean=0.5", "sets 'mean' twice"),
        ("own.pt:architecture=test-cnn,mean=120,110,100", "Divide numbers for pixels"),
        ("digits/resnet:mean=0.5", "'digits/resnet' states mean itself"),
        ("timm/test_resnet:architecture=test-cnn", "states architecture itself"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(text: str, message: str) -> None:
    torch.save(tensors(Cnn(3)), "own.pt")
    with pytest.raises(HarnessError, match=message):
        find_classifier(text)


def test_no_code_of_a_file_decides_a_hash_that_code_of_a_plugin_file_does(tmp_path: Path) -> None:
    torch.save(tensors(Cnn(3)), "own.pt")
    hashes = set()
    for number in range(2):
        file = tmp_path / f"mine{number}.py"
        file.write_text(
            f"from harness.plugins import architecture\nfrom torch import nn\n# {number}\n"
            f"@architecture('mine{number}')\ndef build(num_classes):\n"
            "    return nn.ModuleDict({'conv': nn.Conv2d(3, 4, 3), 'fc': nn.Linear(4, num_classes)})\n"
        )
        plugins.discover(file)
        hashes.add(find_classifier(f"own.pt:architecture=mine{number}")[1].sha256)
    assert len(hashes) == 2


def test_a_record_names_the_file_of_its_architecture(tmp_path: Path) -> None:
    """So that a repetition can say which file is missing, or has changed since."""
    torch.save(tensors(Cnn(10)), "own.pt")
    file = tmp_path / "net.py"
    file.write_text(
        "from harness.plugins import architecture\nfrom torch import nn\n\n\n@architecture('net')\n"
        "class Net(nn.Module):\n    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3, padding=1)\n        self.fc = nn.Linear(4, num_classes)\n\n"
        "    def forward(self, x):\n        return self.fc(self.conv(x).relu().mean((2, 3)))\n"
    )
    plugins.discover(file)
    job = prepare(replace(SMALL, **{**CHEAP, "models": ("own.pt:architecture=net,mean=0.5,std=0.5",)}), tmp_path)
    origins = job.origins(job.pairs[0])
    assert origins == {"architecture": f"net.py {plugins.architecture['net'].source}"}
    check_loaded("it", origins)
    with pytest.raises(HarnessError, match=r"its architecture comes from net\.py with SHA-256 0000"):
        check_loaded("it", {"architecture": "net.py " + "0" * 64})
