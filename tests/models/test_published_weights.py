"""Published classifiers: their authors' files, found, checked, loaded strictly, converted; timm's and RobustBench's."""

from __future__ import annotations

import argparse
import enum
import os
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import timm
import torch
import torchvision
from helpers import RECORDED_FOLDER, harness
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from harness import plugins
from harness.base.files import file_sha256
from harness.data.arrays import ArrayDataset
from harness.models.checkpoint import is_checkpoint, read_checkpoint
from harness.models.classifier import ImageClassifier, fitted
from harness.models.lookup import find_classifier
from harness.models.published import manifest
from harness.models.published.locate import PublishedFile, WeightFiles
from harness.plugins import architecture, suite
from harness.suites.bases.covariate_shift import CovariateShift
from harness.train.engine.init import start_from
from harness.train.recipes import load as recipe
from harness.train.recipes import names as recipes
from harness.types import Condition, Geometry, HarnessError

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
TABLE_1 = ("resnet50.augmix", "resnet50.deepaugment", "resnet50.deepaugment-augmix", "resnet50", "vit-b16")
State = dict[str, Tensor]

SMALL = """
[shared]
dataset = "imagenet"
num_classes = 10
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
page = "https://example.org/small"
licence = "MIT"
format = "a state dict"

[[classifier]]
name = "small"
about = "A small network"
architecture = "resnet"
files = [{ name = "small-12345678.pth", urls = ["https://example.org/small-12345678.pth"] }, { name = "other.ckpt" }]

[[classifier]]
name = "small+more"
about = "Another"
architecture = "resnet"
files = [{ name = "more.ckpt" }]
"""


def randomised(network: nn.Module) -> nn.Module:
    """Every tensor away from its first value, so that one in the wrong place shows."""
    draws = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=draws)
            tensor.add_(0.1 * noise.abs() if name.endswith(("var", "gamma")) else 0.02 * noise)
    return network.eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights; no cache holds any, and nothing is fetched."""
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.fixture
def small(folder: Path) -> nn.Module:
    """A network whose weights two registered models take."""
    manifest.register(SMALL)
    return randomised(plugins.architecture["resnet"].build(num_classes=10))


# --- the manifest -------------------------------------------------------------------------------------------------


def entries() -> list[manifest.ManifestEntry]:
    return manifest.manifest((resources.files("harness.registry.models") / "imagenet.toml").read_text())


def test_the_manifest_lists_the_ten_classifiers_of_the_paper() -> None:
    assert [e.name for e in entries()] == [name + more for name in TABLE_1 for more in ("", "+diffaug")]
    for entry in entries():
        registered = plugins.model[entry.name]
        assert registered.facts["dataset"] == "imagenet" and registered.facts["published"] == entry
        assert entry.page.startswith("https://") and entry.licence and entry.files
        for file in entry.files:
            assert all(url.startswith("https://") for url in file.urls)
            assert not file.sha256 or file.sha256.startswith(replace(file, sha256="").digits)
    files = [file.name for entry in entries() for file in entry.files]
    assert len(set(files)) == len(files)


def test_recipes_start_from_models_that_there_are() -> None:
    inits = {recipe(name).settings.get("init", "") for name in recipes()}
    assert {"resnet50", "resnet50.augmix"} < inits
    assert {init for init in inits if init and not init.startswith("runs/")} <= {entry.name for entry in entries()}


# --- the authors' formats -----------------------------------------------------------------------------------------


def inside(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def wrapped(state: State) -> State:
    return inside("module.", state)


def own() -> dict[str, Any]:
    """A dict that holds itself."""
    circle: dict[str, Any] = {}
    circle["model"] = circle
    return circle


def old(saved: Any, file: Path) -> None:
    torch.save(saved, file, _use_new_zipfile_serialization=False)


MOMENTUM = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
FORMATS: dict[str, Callable[[State, Path], None]] = {
    "bare": torch.save,
    "bare, of old": old,
    "without batch counters": lambda s, f: torch.save({k: t for k, t in s.items() if "num_batches" not in k}, f),
    "AugMix": lambda s, f: old(
        {
            "epoch": 179,
            "model": "resnet50",
            "state_dict": wrapped(s),
            "best_acc1": np.float64(0.77),
            "optimizer": MOMENTUM,
        },
        f,
    ),
    "DeepAugment": lambda s, f: torch.save(
        {
            "epoch": 30,
            "arch": "resnet50",
            "state_dict": wrapped(s),
            "best_acc1": torch.tensor(76.6),
            "optimizer": MOMENTUM,
        },
        f,
    ),
    "DiffAug": lambda s, f: torch.save({"steps": 50_000, "state_dict": wrapped(s), "optimizer": MOMENTUM}, f),
    "DeiT": lambda s, f: torch.save(
        {"model": s, "optimizer": MOMENTUM, "epoch": 19, "args": argparse.Namespace(lr=1e-5), "scaler": {}}, f
    ),
    "Lightning": lambda s, f: torch.save(
        {
            "epoch": 3,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": inside("model.", s),
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "last.ckpt"}},
            "optimizer_states": [MOMENTUM],
            "hyper_parameters": {"lr": 0.1},
        },
        f,
    ),
    "torch.compile in DataParallel": lambda s, f: torch.save(wrapped(inside("_orig_mod.", s)), f),
    "an average": lambda s, f: torch.save({"n_averaged": torch.tensor(7), **wrapped(s)}, f),
    "of a tutorial": lambda s, f: torch.save({"epoch": 1, "model_state_dict": inside("net.backbone.", s)}, f),
    "twice nested": lambda s, f: torch.save({"model": {"state_dict": s}}, f),
}


def test_resnet50_equals_torchvision_bit_for_bit(folder: Path) -> None:
    theirs = randomised(torchvision.models.resnet50())
    FORMATS["AugMix"](theirs.state_dict(), folder / "checkpoint.pth.tar")
    ours, told = find_classifier("resnet50.augmix")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs((images - MEAN) / STD)
        assert torch.equal(ours(images), expected) and expected.std() > 0.1
        torch.testing.assert_close(ours.head(ours.features(images)), expected)
    assert (told.name, told.source) == ("resnet50.augmix", "checkpoint.pth.tar")
    assert told.sha256 == file_sha256(folder / "checkpoint.pth.tar")
    assert told.details["dataset"] == "imagenet" and told.details["as_published"] == "unknown"


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_same_network(small: nn.Module, folder: Path, format: str) -> None:
    FORMATS[format](small.state_dict(), folder / "other.ckpt")
    ours, _ = find_classifier("small")
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, ours.body.state_dict()[name])
    assert torch.equal(ours.mean, MEAN) and torch.equal(ours.std, STD) and not ours.training


def test_deit_equals_its_authors_network_and_timm_s_conversion(folder: Path) -> None:
    """deit3.npz: `vit_models` of oore-lab/diffaug, eval_scripts/vit_models.py, with Layer_scale_init_Block, 32 pixels,
    width 24, depth 2, 3 heads, 10 classes and random weights rounded to float16; images normalised as here.
    """
    recorded = np.load(RECORDED_FOLDER / "deit3.npz")
    theirs = {k.removeprefix("model/"): torch.tensor(recorded[k]).float() for k in recorded if k.startswith("model/")}

    @architecture("tiny-deit")
    def tiny(num_classes: int) -> nn.Module:
        return VisionTransformer(
            img_size=32,
            embed_dim=24,
            depth=2,
            num_heads=3,
            no_embed_class=True,
            init_values=1e-6,
            num_classes=num_classes,
        )

    entry = replace(entries()[-1], architecture="tiny-deit", num_classes=10)
    torch.save({"model": theirs}, folder / "VIT_diffaug.ckpt")
    ours, _ = entry.load(WeightFiles())
    images = torch.tensor(recorded["images"]).float()
    with torch.no_grad():
        np.testing.assert_allclose(ours(images).numpy(), recorded["logits"], atol=1e-6, rtol=0)
    converted = checkpoint_filter_fn(dict(theirs), ours.body, adapt_layer_scale=True)
    assert converted.keys() == ours.body.state_dict().keys()
    assert all(torch.equal(tensor, ours.body.state_dict()[name]) for name, tensor in converted.items())
    save_file(converted, folder / "vit-b16+diffaug.safetensors")
    (folder / "VIT_diffaug.ckpt").unlink()
    again, _ = entry.load(WeightFiles())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))


# --- files that are not what they should be -----------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def short(share: float, of_old: bool = False) -> Callable[[State, Path], None]:
    def write(state: State, file: Path) -> None:
        torch.save(state, file, _use_new_zipfile_serialization=not of_old)
        os.truncate(file, int(file.stat().st_size * share))

    return write


BROKEN: dict[str, tuple[Callable[[State, Path], None], str]] = {
    "page": (lambda s, f: f.write_text("\n<!DOCTYPE html><html>Quota exceeded</html>") and None, "HTML page"),
    "empty": (lambda s, f: f.write_bytes(b""), "it is empty. Fetch it again"),
    "half": (short(0.5), "cut short"),
    "nearly whole": (short(0.999), "cut short"),
    "half, of old": (short(0.5, True), "cut short"),
    "nearly whole, of old": (short(0.999, True), "cut short"),
    "text": (
        lambda s, f: f.write_text("version https://git-lfs.github.com/spec/v1") and None,
        "Git LFS pointer.*git lfs pull",
    ),
    "code": (lambda s, f: torch.save({"state_dict": s, "args": Evil()}, f), "other objects.*mkdir.*not opened"),
    "code, of old": (lambda s, f: old({"state_dict": s, "args": Evil()}, f), "other objects.*not opened"),
    "network": (lambda s, f: torch.save(nn.Linear(1, 1), f), "other objects.*torch.nn.modules.linear.Linear"),
    "list": (lambda s, f: torch.save(list(s.values()), f), "holds a list, where a state dict maps names to tensors"),
    "numbers": (lambda s, f: torch.save({"epoch": 3}, f), "holds 'epoch': int, where a state dict"),
    "numbered": (lambda s, f: torch.save(dict(enumerate(s.values())), f), "holds 0: Tensor"),
    "itself": (lambda s, f: torch.save(own(), f), "holds 'model': dict"),
    "nothing": (lambda s, f: torch.save({"state_dict": {}}, f), "it is empty"),
    "shapes alone": (lambda s, f: torch.save({k: t.to("meta") for k, t in s.items()}, f), "conv1.weight is empty"),
    "integers": (lambda s, f: torch.save({**s, "fc.bias": s["fc.bias"].char()}, f), r"fc.bias \(\(10,\) int8 instead"),
    "two": (lambda s, f: torch.save({"model": s, "state_dict": s}, f), "state_dict and as model"),
    "other names": (
        lambda s, f: torch.save({f"{k}_": t for k, t in s.items()}, f),
        "67 missing.*80 unknown: bn1.bias_",
    ),
    "a loss beside": (
        lambda s, f: torch.save({"state_dict": {"loss.weight": torch.ones(10), **inside("model.", s)}}, f),
        "unknown: loss.weight, model.bn1",
    ),
    "one left out": (lambda s, f: torch.save({k: t for k, t in s.items() if k != "fc.bias"}, f), "1 missing: fc.bias"),
    "one too many": (lambda s, f: torch.save({**s, "fc.scale": torch.ones(1)}, f), "1 unknown: fc.scale"),
    "other classes": (lambda s, f: torch.save({**s, "fc.bias": torch.zeros(9)}, f), r"fc.bias \(\(9,\) .*\(10,\)"),
    "other architecture": (
        lambda s, f: torch.save(timm.create_model("resnet10t", num_classes=10).state_dict(), f),
        r"does not hold the weights of 'small\+more' \(resnet\)",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_not_the_network_is_refused(small: nn.Module, folder: Path, fault: str) -> None:
    write, message = BROKEN[fault]
    write(small.state_dict(), folder / "more.ckpt")
    with pytest.raises(HarnessError, match=message) as refused:
        find_classifier("small+more")
    assert str(folder / "more.ckpt") in str(refused.value)
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    "header, message",
    [
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"kind": "classifier", "architecture": ["resnet"]}', "Unknown architecture"),
        ('{"kind": "classifier", "architecture": "resnet", "sizes": [3]}', "does not describe a network"),
        ('{"kind": "classifier", "architecture": "resnet", "interpolation": "magic"}', "does not describe a network"),
        (
            '{"kind": "classifier", "architecture": "timm/resnet18", "arguments": {"pretrained": true, '
            '"pretrained_cfg_overlay": {"file": "evil.bin"}}}',
            "timm/resnet18 takes no pretrained, pretrained_cfg_overlay here",
        ),
    ],
)
def test_a_header_is_checked_and_fetches_nothing(tmp_path: Path, header: str, message: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "own.safetensors", metadata={"harness": header})
    with pytest.raises(HarnessError, match=message):
        find_classifier(str(tmp_path / "own.safetensors"))


def test_missing_weights_say_what_was_looked_for_where_and_what_to_do(small: nn.Module, folder: Path) -> None:
    with pytest.raises(HarnessError) as missing:
        find_classifier("small")
    for word in ("small-12345678.pth or other.ckpt", str(folder), "https://example.org/small", "--weights small=FILE",
                 "harness weights download small"):  # fmt: skip
        assert word in str(missing.value)
    with pytest.raises(HarnessError, match="by hand"):
        find_classifier("small+more")


def test_a_published_name_promises_a_hash(small: nn.Module, folder: Path) -> None:
    torch.save(small.state_dict(), folder / "small-12345678.pth")
    with pytest.raises(HarnessError, match=f"{file_sha256(folder / 'small-12345678.pth')}, not 12345678.*changed"):
        find_classifier("small")
    (folder / "small-12345678.pth").rename(folder / "small.pth")
    assert find_classifier("small")[1].details["as_published"] == "no"
    digits = file_sha256(folder / "small.pth")[:8]
    (entry,) = (e for e in manifest.manifest(SMALL.replace("12345678", digits)) if e.name == "small")
    (folder / "small.pth").rename(folder / f"small-{digits}.pth")
    assert entry.load(WeightFiles())[1].details["as_published"] == "yes"
    (folder / f"small-{digits}.pth").write_text("<html>")
    with pytest.raises(HarnessError, match="HTML page"):
        entry.load(WeightFiles())


# --- where files are ----------------------------------------------------------------------------------------------


def test_files_are_looked_for_in_order(small: nn.Module, folder: Path, tmp_path: Path) -> None:
    published = plugins.model["small"].facts["published"]
    hub = tmp_path / "hub" / "models--timm--small"
    places = [
        hub / "snapshots" / "abc" / "model.safetensors",
        tmp_path / "torch" / "hub" / "checkpoints" / "small-12345678.pth",
        folder / "small.pth",
        folder / "other.ckpt",
        folder / "small-12345678.pth",
        folder / "small.safetensors",
        tmp_path / "mine.pth",
    ]
    published = replace(published, files=[*published.files, PublishedFile("timm.safetensors", hub="timm/small")])
    weight_files = WeightFiles()
    assert published.find(weight_files) is None and published.lacks(weight_files) == "small-12345678.pth"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc")
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        if place.name == "mine.pth":
            weight_files = WeightFiles.of([f"small={place}"])
        assert published.find(weight_files) == place and not published.lacks(weight_files)


@pytest.mark.parametrize(
    "text, message",
    [
        ("small", "write NAME=FILE"),
        ("small=none.pth", "no such file"),
        ("smal=pyproject", "Unknown name of published weights 'smal'. Did you mean small"),
        ("digits/vit=pyproject", "Unknown name of published weights"),
    ],
)
def test_mistakes_in_weights_are_named(
    small: nn.Module,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    Path("pyproject").touch()
    for arguments in (["run", "--weights", text], ["train", "--model", "vit", "--weights", text]):
        code, printed = harness(monkeypatch, capsys, *arguments)
        assert code == 2 and message in printed


# --- harness weights ----------------------------------------------------------------------------------------------


def test_converted_weights_are_the_same_to_the_bit(
    small: nn.Module, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FORMATS["DiffAug"](small.state_dict(), folder / "more.ckpt")
    original, told = find_classifier("small+more")
    for arguments in (["small+more"], ["more.ckpt"], ["weights/more.ckpt", "--out", "x.safetensors"]):
        code, printed = harness(monkeypatch, capsys, "weights", "convert", *arguments)
        assert code == 0 and "small+more, from more.ckpt" in printed, printed
    (folder / "more.ckpt").unlink()
    by_name, found = find_classifier("small+more")
    by_path, _ = find_classifier("x.safetensors")
    for network in (by_name, by_path):
        state = network.state_dict()
        assert state.keys() == original.state_dict().keys()
        assert all(torch.equal(tensor, state[name]) for name, tensor in original.state_dict().items())
    assert found.source == "small+more.safetensors" and found.sha256 == file_sha256(folder / found.source)
    header = read_checkpoint(folder / found.source).header
    assert (header["original"], header["original_sha256"]) == ("more.ckpt", told.sha256)
    assert header["architecture"] == "resnet" and header["dataset"] == "imagenet"
    shutil.copy(folder / found.source, folder / "small.safetensors")
    with pytest.raises(HarnessError, match=r"holds 'small\+more'.*not 'small'"):
        find_classifier("small")


def test_conversions_that_cannot_be(
    small: nn.Module, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = harness(monkeypatch, capsys, "weights", "convert", "unknown.pth")
    assert code == 2 and "unknown.pth: there is no such file" in printed
    torch.save(small.state_dict(), "unknown.pth")
    code, printed = harness(monkeypatch, capsys, "weights", "convert", "unknown.pth")
    assert code == 2 and "--as NAME" in printed
    code, _ = harness(
        monkeypatch, capsys, "weights", "convert", "unknown.pth", "--as", "small+more", "--out", "y.safetensors"
    )
    assert code == 0 and is_checkpoint(Path("y.safetensors"))
    plugins.model("whole")(lambda: nn.Flatten())
    code, printed = harness(monkeypatch, capsys, "weights", "convert", "whole")
    assert code == 2 and "'whole' cannot be converted" in printed


def test_the_list_says_what_is_here_and_what_to_put_where(
    small: nn.Module, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.terminal.console.out.width", 500)
    torch.save(small.state_dict(), folder / "other.ckpt")
    torch.save({}, folder / "deepaugment.pth.tar")
    for name in ("resnet50-0676ba61.pth", "DA_diffaug.ckpt"):
        (folder / name).write_text("<html>")
    code, printed = harness(monkeypatch, capsys, "weights", "list")
    assert code == 0
    for text in (
        "other.ckpt", "not the published file", "no hash is published", "wrong: ", "HTML page", "missing", str(folder),
        f"{folder}/DA_diffaug.ckpt holds no weights: it is",
        "harness weights download vit-b16: https://dl.fbaipublicfiles.com/deit/deit_3_base_224_1k.pth",
        "1FZiKlN3Ic2f-5FTrrmCWZPjRSq2Y4rcO: BASE_diffaug.ckpt, AM_diffaug.ckpt", "BSD-3-Clause",
    ):  # fmt: skip
        assert text in printed, text
    assert "download resnet50:" not in printed


def test_download_keeps_the_file_that_proves_right(
    small: nn.Module, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(url: str, file: Path, **checks: Any) -> None:
        asked.append((url, file, checks["sha256"]))
        if "12345678" in file.name:
            raise HarnessError("the server is down.")
        torch.save(small.state_dict(), file)

    monkeypatch.setattr("harness.models.published.download.download", fake)
    code, printed = harness(monkeypatch, capsys, "weights", "download", "small")
    assert code == 2 and "the server is down" in printed and "--weights small=FILE" in printed
    assert asked == [("https://example.org/small-12345678.pth", folder / "small-12345678.pth", "12345678")]
    code, printed = harness(monkeypatch, capsys, "weights", "download", "small+more")
    assert code == 2 and "by hand" in printed
    text = SMALL.replace('"other.ckpt"', '"other.ckpt", urls = ["https://example.org/other.ckpt"]').replace(
        "small", "new"
    )
    manifest.register(text)
    monkeypatch.setattr("harness.models.published.download.offline", lambda: False)
    code, _ = harness(monkeypatch, capsys, "weights", "convert", "new", "--out", "new.safetensors")
    assert asked[-1][1] == folder / "other.ckpt" and code == 0 and is_checkpoint(Path("new.safetensors"))


# --- the default line-up ------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_suite() -> None:
    """A benchmark of six small pictures, of a data set that only the small networks know."""

    @suite("tiny")
    @dataclass(frozen=True)
    class Tiny(CovariateShift):
        """Six pictures."""

        name: ClassVar[str] = "tiny"
        version: ClassVar[int] = 1
        dataset: ClassVar[str] = "tiny"
        columns: ClassVar[tuple[tuple[str, str], ...]] = (("accuracy", "clean"),)

        def conditions(self) -> list[Condition]:
            return [Condition("clean", "clean")]

        def open(self, condition: Condition, seed: int) -> ArrayDataset:
            pixels = torch.randint(256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
            names = tuple(f"tiny-{i}" for i in range(6))
            return ArrayDataset("tiny", names, pixels, torch.arange(6), 10, Geometry(None, 32, "bicubic"))


def test_a_suite_runs_the_models_whose_weights_are_here(
    small: nn.Module,
    folder: Path,
    tiny_suite: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest.register(SMALL.replace("small", "tiny").replace('"imagenet"', '"tiny"'))
    run = ["run", "--suite", "tiny", "--tta", "default", "--out", "out"]
    code, printed = harness(monkeypatch, capsys, *run)
    assert code == 2
    assert (
        "not here: tiny (tiny-12345678.pth), tiny+more (more.ckpt). What to put where: harness weights list" in printed
    )
    torch.save(small.state_dict(), folder / "more.ckpt")
    code, printed = harness(monkeypatch, capsys, *run)
    assert code == 0, printed
    assert "left out, since weights are missing: tiny (tiny-12345678.pth)." in printed
    assert "tiny+more" in printed and "found in out: 1" in printed
    torch.save(small.state_dict(), "mine.pth")
    code, printed = harness(monkeypatch, capsys, *run, "--weights", "tiny=mine.pth")
    assert code == 0 and "left out" not in printed and "found in out: 2" in printed
    assert "tiny: mine.pth is not the published file" in printed
    code, printed = harness(monkeypatch, capsys, *run, "--model", "tiny")
    assert code == 2 and "No weights of 'tiny' here" in printed, "a model that is named is not left out"


def test_training_starts_from_published_weights(small: nn.Module, folder: Path) -> None:
    torch.save(small.state_dict(), folder / "other.ckpt")
    network = ImageClassifier(plugins.architecture["resnet"].build(num_classes=10))
    spec: Any = SimpleNamespace(init="small", kind="classifier", model="resnet")
    data = plugins.dataset["digits"].build("train")
    assert start_from(network, spec, {}, data, WeightFiles()) == file_sha256(folder / "other.ckpt")
    assert torch.equal(network.body.fc.weight, small.fc.weight) and torch.equal(network.mean, MEAN)


# --- timm ---------------------------------------------------------------------------------------------------------


def test_timm_models_load_with_their_own_data_configuration(folder: Path) -> None:
    body = randomised(timm.create_model("test_vit"))
    (folder / "timm").mkdir()
    file = folder / "timm" / "test_vit.r160_in1k.safetensors"
    save_file(body.state_dict(), file)
    ours, told = find_classifier("timm/test_vit.r160_in1k")
    images = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(ours(images), body((images - 0.5) / 0.5))
        less = images[..., :96, :96]
        bigger = nn.functional.interpolate(less, 160, mode="bicubic", antialias=True).clamp(0, 1)
        assert torch.equal(ours(less), ours(bigger))
    assert told.sha256 == file_sha256(file) and told.details["dataset"] == "imagenet"
    assert (
        told.details["sizes"] == [(160, 160)]
        and told.details["data_config"]["crop_pct"] == body.pretrained_cfg["crop_pct"]
    )
    manifest.write_classifier(ours, told, Path("vit.safetensors"))
    again, _ = find_classifier("vit.safetensors")
    with torch.no_grad():
        assert torch.equal(again(less), ours(less))


def test_images_of_the_training_or_test_size_go_in_as_they_are() -> None:
    images = torch.rand(1, 3, 8, 8)
    assert fitted(images, [(4, 4), (8, 8)]) is images and fitted(images, []) is images
    assert fitted(images, [(4, 6)]).shape == (1, 3, 4, 6)
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1
    assert fitted(edge, [(16, 16)]).aminmax() == (0, 1), "bicubic overshoots at edges; pixels do not"
    noisy = torch.cat([edge * 3 - 1, edge])
    low, high = fitted(noisy, [(16, 16)])[0].aminmax()
    assert (low, high) == (-1, 2) and fitted(noisy, [(16, 16)])[1].aminmax() == (0, 1), "noise is not clipped"


def test_timm_translates_what_it_knows_and_nothing_is_resampled(folder: Path) -> None:
    name, body = "timm/test_vit.r160_in1k", randomised(timm.create_model("test_vit"))
    torch.save({f"visual.trunk.{key}": tensor for key, tensor in body.state_dict().items()}, "openclip.pth")
    ours, _ = find_classifier(name, WeightFiles({name: Path("openclip.pth")}))
    assert all(torch.equal(tensor, ours.body.state_dict()[key]) for key, tensor in body.state_dict().items())
    torch.save({**body.state_dict(), "pos_embed": torch.zeros(1, 197, 64)}, "larger.pth")
    with pytest.raises(HarnessError, match=r"pos_embed is \(1, 197, 64\) there and \(1, 101, 64\) here"):
        find_classifier(name, WeightFiles({name: Path("larger.pth")}))


def test_timm_mistakes_are_named(folder: Path) -> None:
    torch.save(plugins.architecture["resnet"].build(num_classes=10).state_dict(), "r.pth")
    weight_files = WeightFiles.of(["timm/resnet18.a1_in1k=r.pth", "timm/test_vit=r.pth"])
    for name, message in {
        "timm/resnet18.a9_in1k": "Did you mean.*resnet18.a1_in1k",
        "timm/resnt10t": r"Did you mean resnet10t.c3_in1k or [^,]*\?$",
        "timm/qqqqqqqqqq": "Available: .*and [0-9]+ more",
        "timm/resnet18.a1_in1k": r"r.pth does not hold weights of timm/resnet18.a1_in1k",
        "timm/test_vit": r"r.pth does not hold weights of timm/test_vit: .*cls_token",
        "timm/resnet10t.c3_in1k": f"could not be fetched .*{folder}/timm/resnet10t.c3_in1k.safetensors.*--weights",
    }.items():
        with pytest.raises(HarnessError, match=message):
            find_classifier(name, weight_files)


# --- RobustBench --------------------------------------------------------------------------------------------------


class Data(enum.Enum):
    imagenet = "imagenet"
    cifar_10 = "cifar10"


class Threat(enum.Enum):
    corruptions = "corruptions"
    Linf = "Linf"
    L2 = "L2"


@pytest.fixture
def robustbench(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in with the interface of robustbench 1.1.1: its table, and `load_model`, which reads files unguarded."""
    mean, std = (tensor.flatten().tolist() for tensor in (MEAN, STD))

    def net() -> nn.Module:
        body = plugins.architecture["resnet"].build(num_classes=10)
        return nn.Sequential(OrderedDict(normalize=Normalise(mean, std), model=body))

    table = {
        Data.imagenet: {
            Threat.corruptions: {"Net": {"model": net, "gdrive_id": "abc", "preprocessing": "Res256Crop224"}},
            Threat.Linf: {
                "Big": {"model": net, "gdrive_id": "def", "preprocessing": "Crop288"},
                "Standard": {"model": net, "gdrive_id": ""},
                "Deck": {"model": net, "gdrive_id": ["d0", "d1"]},
            },
        },
        Data.cifar_10: {
            Threat.Linf: {"Net": {"model": net, "gdrive_id": "ghi"}},
            Threat.L2: {"Net": {"model": net, "gdrive_id": "jkl"}},
        },
    }

    def load_model(
        model_name: str, model_dir: str | Path = "./models", dataset: str = "cifar10", threat_model: str = "Linf",
        custom_checkpoint: str = "",
    ) -> nn.Module:  # fmt: skip
        path = Path(model_dir, dataset, threat_model.replace("_3d", ""), f"{model_name}.pt")
        if not path.is_file():
            raise ConnectionError("no network")
        network = table[Data(dataset)][Threat(threat_model.replace("_3d", ""))][model_name]["model"]()
        network.model.load_state_dict(torch.load(path)["state_dict"])
        return network.eval()

    parts = ("robustbench", "robustbench.utils", "robustbench.model_zoo", "pyautoattack", "pyautoattack.state")
    made = {name: ModuleType(name) for name in parts}
    made["robustbench.utils"].load_model = load_model  # type: ignore[attr-defined]
    made["robustbench.model_zoo"].model_dicts = table  # type: ignore[attr-defined]
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("autoattack", "autoattack.state"):
        monkeypatch.setitem(sys.modules, name, made["pyautoattack"])
        del sys.modules[name]
    return made["robustbench"]


class Normalise(nn.Module):
    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean, self.std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def test_robustbench_loads_the_file_that_is_here(robustbench: ModuleType, folder: Path) -> None:
    body = randomised(plugins.architecture["resnet"].build(num_classes=10))
    file = folder / "robustbench" / "imagenet" / "corruptions" / "Net.pt"
    file.parent.mkdir(parents=True)
    torch.save({"state_dict": body.state_dict()}, file)
    images = torch.rand(1, 3, 224, 224)
    shutil.copytree(file.parent, file.parent.with_name("corruptions_3d"))
    for threat in ("corruptions", "corruptions_3d"):
        network, told = find_classifier(f"robustbench/imagenet/{threat}/Net")
        with torch.no_grad():
            assert torch.equal(network(images), body((images - MEAN) / STD))
        assert told.sha256 == file_sha256(file) and told.source == "Net.pt"
        assert told.details["dataset"] == "imagenet" and told.details["preprocessing"] == "Res256Crop224"
    assert sys.modules["autoattack"] is sys.modules["pyautoattack"]
    weight_files = WeightFiles.of([f"robustbench/imagenet/Linf/Big={file}", f"robustbench/cifar10/Linf/Net={file}"])
    big, told = find_classifier("robustbench/imagenet/Linf/Big", weight_files)
    with torch.no_grad():
        assert torch.equal(big(images), body((fitted(images, [(288, 288)]) - MEAN) / STD))
    assert told.details["sizes"] == [(288, 288)]
    network, told = find_classifier("robustbench/cifar10/Linf/Net", weight_files)
    assert told.details["dataset"] == "cifar10" and told.details["sizes"] == []
    (file.parents[2] / "cifar10").mkdir()
    shutil.copytree(file.parent, file.parents[2] / "cifar10" / "L2")
    small = torch.rand(1, 3, 32, 32)
    network, told = find_classifier("robustbench/cifar10/L2/Net")
    with torch.no_grad():
        assert torch.equal(network(small), body((small - MEAN) / STD))
    assert (told.details["threat"], told.sha256) == ("L2", file_sha256(file))


def test_robustbench_s_mistakes_are_named(
    robustbench: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "robustbench/imagenet/corruptions/Net"
    with pytest.raises(HarnessError, match=f"HF_HUB_OFFLINE.*file/d/abc/view to {folder}/{name}.pt.*--weights {name}="):
        find_classifier(name)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(HarnessError, match=r"could not be loaded.*no network.*Put its file"):
        find_classifier(name)
    for write, message in {"page": "HTML page", "half": "cut short", "code": "other objects.*mkdir"}.items():
        BROKEN[write][0]({"x": torch.zeros(999)}, Path("file.pt"))
        with pytest.raises(HarnessError, match=message):
            find_classifier(name, WeightFiles.of([f"{name}=file.pt"]))
        assert not Path("pwned").exists()
    for other, message in {
        "robustbench/Net": "write robustbench/DATASET/THREAT/NAME",
        "robustbench/imagenet/corruptions/Nat": "Did you mean imagenet/corruptions/Net",
    }.items():
        with pytest.raises(HarnessError, match=message):
            find_classifier(other)
    torch.save({"x": torch.zeros(1)}, "file.pt")
    for other, message in {
        "robustbench/imagenet/Linf/Standard": "cannot be read from file.pt.*takes its weights from torchvision",
        "robustbench/imagenet/Linf/Deck": "cannot be read from file.pt.*d/d0/view to .*Deck_m0.pt, .*Deck_m1.pt",
    }.items():
        with pytest.raises(HarnessError, match=message):
            find_classifier(other, WeightFiles.of([f"{other}=file.pt"]))
    monkeypatch.setitem(sys.modules, "robustbench.utils", None)
    with pytest.raises(HarnessError, match=r"cannot be imported.*pip install .*\[robustbench\]"):
        find_classifier("robustbench/imagenet/corruptions/Net")
