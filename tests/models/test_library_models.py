"""Classifiers of torchvision and of the hub by name: equal to the library's own preprocessing and forward pass."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from harness import plugins
from harness.models.lookup import find_classifier
from harness.models.published.locate import WeightFiles
from harness.types import Absent, HarnessError

NAMES = ["cat", "dog", "owl"]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plugins.discover()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def picture(side: int = 32) -> Any:
    return torch.randint(256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def folder_of(kind: str) -> Path:
    """A folder of transformers with a tiny classifier, three named outputs and an image processor."""
    transformers = pytest.importorskip("transformers")
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: k for k, name in enumerate(NAMES)}}
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    if kind == "vit":
        config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, **labels)
        processor = transformers.ViTImageProcessor(size=32, image_mean=(0.1, 0.2, 0.3), image_std=(0.4, 0.5, 0.6))
    else:
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], **labels)
        processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0, resample=3)
    torch.manual_seed(0)
    network = transformers.AutoModelForImageClassification.from_config(config)
    folder = Path(kind)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_folder_of_transformers_gives_what_transformers_gives(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder, image = folder_of(kind), picture()
    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    shown = processor(images=image.numpy().transpose(1, 2, 0), return_tensors="pt")
    for name in (str(folder), f"hf/{folder}", f"hf/{folder.absolute()}"):
        classifier, info = find_classifier(name)
        with torch.no_grad():
            torch.testing.assert_close(classifier(image[None] / 255), network(**shown).logits, rtol=1e-5, atol=1e-6)
        assert info.details["classes"] == NAMES and info.details["sizes"] == [[32, 32]]
        assert info.name == name and "notes" not in info.details


def test_a_pickle_of_transformers_is_read_without_its_code_and_its_configuration_decides_the_hash() -> None:
    folder = folder_of("vit")
    plain = find_classifier(str(folder))
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    pickled = find_classifier(str(folder))
    images = picture()[None] / 255
    assert torch.equal(plain[0](images), pickled[0](images))
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.5] * 3}))
    assert find_classifier(str(folder))[1].sha256 != pickled[1].sha256


def test_settings_that_contradict_the_configuration_count_and_are_said() -> None:
    folder = folder_of("vit")
    Path("names.txt").write_text("dog\ncat\nowl\n")
    classifier, info = find_classifier(f"hf/{folder}:mean=0.5,classes=names.txt")
    assert classifier.mean.flatten().tolist() == [0.5] * 3 and info.details["classes"] == ["dog", "cat", "owl"]
    mean, names = info.details["notes"]
    assert "mean=0.5,0.5,0.5 was stated" in mean and "0.1,0.2,0.3" in mean and "the stated names count" in names
    with pytest.raises(HarnessError, match="states architecture itself"):
        find_classifier(f"hf/{folder}:architecture=resnet18")


def test_a_folder_of_transformers_without_a_processor_says_what_was_assumed() -> None:
    folder = folder_of("resnet")
    (folder / "preprocessor_config.json").unlink()
    assert "mean 0 and std 1" in find_classifier(str(folder))[1].details["notes"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.py"}}, "Code of a repository is never run"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}, "missing or of another shape"),
        ({"num_hidden_layers": 2}, "missing or of another shape"),
        ({"num_hidden_layers": 10**5}, "could not be loaded|more"),
    ],
)
def test_a_configuration_that_does_not_fit_or_wants_code_is_refused(change: dict[str, Any], message: str) -> None:
    folder = folder_of("vit")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(HarnessError, match=message):
        find_classifier(str(folder))


CODE = {"AutoConfig": "mine.E", "AutoImageProcessor": "mine.E", "AutoModelForImageClassification": "mine.E"}


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "processor_config.json", "kept type"])
def test_no_configuration_runs_code_of_its_repository_or_asks_for_leave(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of("vit")
    expected = find_classifier(str(folder))[0](picture()[None] / 255)
    (folder / "mine.py").write_text("from pathlib import Path\nPath('ran').touch()\nclass E: pass\n")
    is_refused = file == "preprocessor_config.json"
    path = folder / (file if file.endswith(".json") else "preprocessor_config.json")
    values = json.loads(path.read_text()) if path.exists() else {}
    values |= {"auto_map": CODE} | ({"image_processor_type": "E"} if is_refused else {})
    path.write_text(json.dumps(values))
    monkeypatch.setattr("builtins.input", lambda _: "y")
    if is_refused:
        with pytest.raises(HarnessError, match=r"image processor 'E'.*Code of a repository is never run"):
            find_classifier(str(folder))
    else:
        assert torch.equal(find_classifier(str(folder))[0](picture()[None] / 255), expected)
    assert not Path("ran").exists()


def test_a_processor_without_a_type_is_found_without_code_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of("vit")
    (folder / "mine.py").write_text("from pathlib import Path\nPath('ran').touch()\nclass E: pass\n")
    for name in ("config.json", "preprocessor_config.json"):
        values = json.loads((folder / name).read_text())
        values.pop("image_processor_type", None)
        (folder / name).write_text(json.dumps(values | ({"auto_map": CODE} if name == "config.json" else {})))
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert find_classifier(str(folder))[0].mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert not Path("ran").exists()


def test_a_folder_of_timm_gives_what_timm_gives() -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3).eval()
    Path("own").mkdir()
    save_file(network.state_dict(), "own/model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 3,
        "pretrained_cfg": {
            "input_size": [3, 32, 32],
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "interpolation": "bilinear",
            "label_names": NAMES,
        },
    }
    Path("own/config.json").write_text(json.dumps(config))
    classifier, info = find_classifier("hf/own")
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(config["pretrained_cfg"][name]).view(3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(classifier(images), network((images - mean) / std), rtol=1e-6, atol=1e-6)
    assert info.details["classes"] == NAMES and info.details["sizes"] == [[32, 32]]
    assert info.details["interpolation"] == "bilinear"


def test_a_repository_that_is_not_here_is_absent_with_the_remedy() -> None:
    with pytest.raises(Absent, match=r"hf/someone/nothing is not in the hub's cache.*give the path of a folder"):
        find_classifier("hf/someone/nothing")


def test_published_weights_of_torchvision_come_with_their_transform_and_imagenets_classes() -> None:
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(0)
    network = models.shufflenet_v2_x0_5().eval()
    torch.save(network.state_dict(), "own.pth")
    name = "torchvision/shufflenet_v2_x0_5"
    classifier, info = find_classifier(name, WeightFiles({name: Path("own.pth")}))
    weights = models.ShuffleNet_V2_X0_5_Weights.DEFAULT
    image = picture(256)
    expected = network(weights.transforms()(image)[None])
    cropped = image[None, :, 16:240, 16:240] / 255
    torch.testing.assert_close(classifier(cropped), expected, rtol=1e-5, atol=1e-5)
    assert info.details["dataset"] == "imagenet" and info.details["weights"] == "IMAGENET1K_V1"
    assert info.details["sizes"] == [[224, 224]] and info.details["interpolation"] == "bilinear"
    torch.save({"x": torch.zeros(1)}, "own.pth")
    with pytest.raises(HarnessError, match="does not hold the weights of torchvision/shufflenet_v2_x0_5"):
        find_classifier(name, WeightFiles({name: Path("own.pth")}))
    with pytest.raises(HarnessError, match="Unknown weights of torchvision/resnet50 'V3'"):
        find_classifier("torchvision/resnet50.V3")
    with pytest.raises(Absent, match=r"No weights of 'torchvision/resnet50.IMAGENET1K_V2' here"):
        find_classifier("torchvision/resnet50")


def test_a_setting_of_a_timm_model_counts_and_is_said() -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), "own.safetensors")
    files = WeightFiles({"timm/test_resnet": Path("own.safetensors")})
    plain, told = find_classifier("timm/test_resnet", files)
    stated, info = find_classifier("timm/test_resnet:std=0.4,image_size=64", files)
    images = torch.rand(1, 3, 64, 64)
    plain.sizes, plain.std = [(64, 64)], torch.full((3, 1, 1), 0.4)
    assert torch.equal(stated(images), plain(images)) and info.details["sizes"] == [[64, 64]]
    assert "notes" not in told.details and len(info.details["notes"]) == 2 and info.details["dataset"] == "imagenet"


def test_placeholders_and_repeated_names_of_a_configuration_name_nothing() -> None:
    from harness.models.external.class_names import naming

    assert naming(["LABEL_0", "LABEL_1"]) == {} and "notes" in naming(["crane", "crane"])
    assert naming(plugins.dataset["imagenet"].facts["aliases"]()) == {"dataset": "imagenet"}
    assert SimpleNamespace(**naming(["a", "b"])).classes == ["a", "b"]
