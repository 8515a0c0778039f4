"""Trained checkpoints outside of the harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness.base.errors import HarnessError
from harness.models.lookup import find_classifier
from harness.train import run as training
from harness.train.spec import TrainSpec

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "train.md"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, discovered: None) -> Path:
    """The folder of a short training of an architecture of timm's."""
    folder = tmp_path_factory.mktemp("net")
    training.run(TrainSpec("timm/test_resnet", max_steps=1, limit=40, batch_size=8), folder)
    return folder


def test_a_training_loads_as_a_module_with_its_classes(trained: Path) -> None:
    network: Any = harness.load(trained)
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        logits = network(images)
        again = harness.load(trained / "model.safetensors")(images)
    assert not network.training and logits.shape == (3, 10) and torch.equal(logits, again)
    assert network.classes == (), "digits have no names"


def test_a_bundled_name_loads_too() -> None:
    network: Any = harness.load("cifar10/resnet")
    assert network.classes[:2] == ("airplane", "automobile")
    ours, _ = find_classifier("cifar10/resnet")
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), ours(image))
    with pytest.raises(HarnessError, match="Did you mean cifar10/resnet"):
        harness.load("cifar10/resnt")


def test_timm_alone_loads_its_architectures_as_the_page_says(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DOCUMENTED.read_text(encoding="utf-8")
    block = next(part for part in text.split("```") if part.startswith("py\n") and "timm.create_model" in part)
    monkeypatch.chdir(trained.parent)
    images = torch.rand(2, 3, 32, 32)
    code = block.removeprefix("py\n").replace("runs/cifar10-timm/resnet18", trained.name)
    scope: dict[str, Any] = {"images": images}
    exec(compile(code.replace('"resnet18"', '"test_resnet"'), str(DOCUMENTED), "exec"), scope)
    assert "harness" not in code
    with torch.no_grad():
        assert torch.allclose(scope["logits"], harness.load(trained)(images), atol=1e-6)


def test_a_folder_whose_weights_are_not_its_card_s_is_refused(trained: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "card.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    card = tmp_path / "card.json"
    card.write_text(card.read_text().replace('"sha256": "', '"sha256": "0', 1))
    with pytest.raises(HarnessError, match=r"its card says 0.*give the path of the file itself"):
        harness.load(tmp_path)
    harness.load(tmp_path / "model.safetensors")
