"""Noisy classifiers of guided-diffusion: against recordings of the original code, in float64.

recorded/adm_classifier.npz holds what the authors' code made of the weights and inputs below;
recorded/adm_classifier_record.py is how.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adm_networks import one_thread as one_thread
from adm_networks import random_weights, to_adm, unet, worst
from helpers import RECORDED_FOLDER, harness, run_small
from torch import Tensor

from harness import plugins
from harness.base import noise
from harness.base.errors import Absent
from harness.base.files import file_sha256
from harness.diffusion.adm.classifier import AdmClassifier, to_diffusers
from harness.diffusion.adm.classifier_checkpoint import load
from harness.diffusion.adm.classifier_flags import ClassifierFlags
from harness.diffusion.adm.embedding import TimeSinusoids
from harness.diffusion.adm.unet import load_adm
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.generation.estimate import GuidedCalls, tally
from harness.generation.job import prepare
from harness.generation.spec import GenerateSpec
from harness.models.classifier import TimeConditionedClassifier
from harness.models.lookup import canonical, find_classifier
from harness.models.published.locate import WeightFiles
from harness.types import HarnessError, NoisyClassifier, Sampling

RECORDING = RECORDED_FOLDER / "adm_classifier.npz"
"""``fixture/``: weights that were drawn for the recording; other weights are drawn by name."""

SMALL = ClassifierFlags(
    image_size=32,
    classifier_width=32,
    classifier_depth=1,
    classifier_attention_resolutions="16",
    num_head_channels=16,
    channel_mult="1,1",
)
"""Flags of the recorded weights."""

VARIANTS = {
    "deep": replace(SMALL, classifier_depth=2, channel_mult="1,1,2", classifier_attention_resolutions="32,8"),
    "convolutions": replace(
        SMALL, channel_mult="1,2", classifier_resblock_updown=False, classifier_use_scale_shift_norm=False
    ),
    "half": replace(SMALL, classifier_width=64, channel_mult="0.5,1"),  # as in the 512 classifier
    "da": SMALL,
}
"""Recorded networks: "da" sees the denoised image, too."""

UNET = {
    "image_size": 32, "num_channels": 32, "num_res_blocks": 1, "num_head_channels": 16, "channel_mult": "1,2",
    "attention_resolutions": "16", "learn_sigma": True, "resblock_updown": True, "use_scale_shift_norm": True,
}  # fmt: skip
"""Flags of the diffusion model behind the denoised image."""

TIMES = torch.tensor([100, 700])
CLASSES = torch.tensor([3, 7])
"""Whose log-probabilities the recorded gradients are of."""


def noisy() -> Tensor:
    """Two noisy pictures (2, 3, 32, 32) in float64."""
    drawn = noise.gaussian((3, 32, 32), seed=0, purpose="adm-classifier", samples=["0", "1"])
    return drawn.half().double()


@pytest.fixture(scope="module")
def recorded() -> Mapping[str, Any]:
    with np.load(RECORDING) as file:
        return {name: file[name] for name in file.files}


def weights(recorded: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """A variant's, under the original names."""
    return random_weights(json.loads(str(recorded[f"{name}/shapes"])))


@pytest.fixture
def fixture(recorded: Mapping[str, Any], tmp_path: Path) -> Path:
    """The recorded weights as a checkpoint in the original format, without flags."""
    start = "fixture/weights/"
    state = {name.removeprefix(start): torch.from_numpy(recorded[name]) for name in recorded if name.startswith(start)}
    torch.save(state, tmp_path / "clf.pt")
    return tmp_path / "clf.pt"


def settings(flags: ClassifierFlags) -> str:
    """The flags that differ from the defaults, as they follow a name."""
    default = ClassifierFlags()
    values = {name: value for name, value in vars(flags).items() if value != getattr(default, name)}
    return ",".join(f"{name}={value}" for name, value in values.items())


def answers(network: Callable[[Tensor], Tensor], x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of the classes' log-probabilities at every eighth row and column."""
    x = x.clone().requires_grad_()
    logits = network(x)
    chosen = logits.log_softmax(1).gather(1, classes[:, None]).sum()
    return logits.detach(), torch.autograd.grad(chosen, x)[0][..., ::8, ::8]


def same(found: tuple[Tensor, Tensor], recorded: Mapping[str, Any], logits: str, gradient: str) -> None:
    for tensor, name in zip(found, (logits, gradient), strict=True):
        assert tensor.dtype == torch.float64
        assert worst(tensor, torch.from_numpy(recorded[name])) < 1e-8, name


def loaded(state: Mapping[str, Tensor], flags: ClassifierFlags, folder: Path) -> TimeConditionedClassifier:
    """The classifier of a state dict in the original names, in float64."""
    torch.save(dict(state), folder / "x.pt")
    network, _ = load(folder / "x.pt", flags)
    assert isinstance(network, TimeConditionedClassifier)
    return network.double()


def test_logits_and_gradients_are_the_originals(fixture: Path, recorded: Mapping[str, Any]) -> None:
    network, _ = load(fixture, SMALL)
    network.double()
    x, y = torch.from_numpy(recorded["fixture/x"]).double(), torch.from_numpy(recorded["fixture/y"])
    assert isinstance(network, NoisyClassifier)
    found = answers(lambda x: network.noisy(x, None, TIMES), x, y)
    same(found, recorded, "fixture/logits", "fixture/gradient")


@pytest.mark.parametrize("name", ["deep", "convolutions", "half"])
def test_other_flags_convert_as_exactly(name: str, recorded: Mapping[str, Any], tmp_path: Path) -> None:
    network = loaded(weights(recorded, name), VARIANTS[name], tmp_path)
    found = answers(lambda x: network.noisy(x, None, TIMES), noisy(), CLASSES)
    same(found, recorded, f"{name}/logits", f"{name}/gradient")


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    path = tmp_path_factory.mktemp("unet") / "adm.pt"
    flags = AdmFlags.from_mapping(UNET)
    shapes = {name: tensor.shape for name, tensor in to_adm(unet(flags, "meta").state_dict(), flags).items()}
    torch.save(random_weights(shapes), path)
    denoiser = load_adm(path, flags)
    denoiser.network.double()
    return denoiser


@pytest.mark.parametrize("through", ["total", "partial"])
def test_gradients_through_the_denoiser_are_the_originals(
    through: str, denoiser: Denoiser, recorded: Mapping[str, Any], tmp_path: Path
) -> None:
    network = loaded(weights(recorded, "da"), VARIANTS["da"], tmp_path)
    assert network.denoised

    def classify(x: Tensor) -> Tensor:
        x0_hat = denoiser.predict_x0(x, TIMES)
        return network.noisy(x, x0_hat if through == "total" else x0_hat.detach(), TIMES)

    same(answers(classify, noisy(), CLASSES), recorded, "da/logits", f"da/gradient_{through}")
    x0_hat = denoiser.predict_x0(noisy(), TIMES)[..., ::8, ::8] * 2 - 1
    assert worst(x0_hat, torch.from_numpy(recorded["da/x0_hat"])) < 1e-8
    assert 0 < (x0_hat.abs() == 1).double().mean() < 1, "no pixel is clipped, or all are"


def test_times_are_embedded_as_by_diffusers_and_in_float64_precisely() -> None:
    from diffusers.models.embeddings import Timesteps

    times = torch.arange(1000)
    ours, theirs = TimeSinusoids(32), Timesteps(32, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert torch.equal(ours(times), theirs(times)) and torch.equal(ours(times / 3), theirs(times / 3))
    frequencies = 10_000 ** -(torch.arange(16, dtype=torch.float64) / 16)
    angles = times[:, None] * frequencies
    assert worst(ours(times.double()), torch.cat([angles.cos(), angles.sin()], 1)) < 1e-12
    assert worst(ours(times).double(), ours(times.double())) > 1e-6, "float32 is as precise"


@pytest.mark.parametrize(
    ("image_size", "depth", "parameters", "tensors"),
    [(64, 4, 65_438_568, 307), (128, 2, 42_568_040, 221), (256, 2, 54_096_360, 249), (512, 2, 54_448_360, 281)],
)
def test_published_classifiers_have_their_published_size(
    image_size: int, depth: int, parameters: int, tensors: int
) -> None:
    """As counted in the original's `create_classifier`. Queries, keys and values are one tensor there."""
    with torch.device("meta"):
        network = AdmClassifier(ClassifierFlags(image_size=image_size, classifier_depth=depth), 1000)
    assert sum(p.numel() for p in network.parameters()) == parameters
    own = list(network.state_dict())
    assert len([name for name in own if ".to_k." not in name and ".to_v." not in name]) == tensors


@pytest.mark.parametrize("name", VARIANTS)
def test_every_tensor_is_converted_once(name: str, recorded: Mapping[str, Any]) -> None:
    state, flags = weights(recorded, name), VARIANTS[name]
    converted = to_diffusers(state, flags)
    with torch.device("meta"):
        network = AdmClassifier(flags, 10, 6 if name == "da" else 3)
    assert {n: t.shape for n, t in converted.items()} == {n: t.shape for n, t in network.state_dict().items()}
    before, after = (torch.cat([t.flatten() for t in each.values()]).sort().values for each in (state, converted))
    assert torch.equal(before, after)


# As models of the harness.


@pytest.mark.parametrize("how", ["settings", "file"])
def test_a_converted_classifier_is_the_same_model(
    how: str, fixture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"adm-classifier:file={fixture},{settings(SMALL)}"
    if how == "file":
        flags = vars(SMALL) | {"classifier_scale": 2.5, "learn_sigma": True}
        fixture.with_suffix(".json").write_text(json.dumps(flags))
        name = f"adm-classifier:file={fixture}"
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path / "weights"))
    code, printed = harness(monkeypatch, capsys, "weights", "convert", name if how == "settings" else str(fixture))
    out = tmp_path / "weights" / "clf.safetensors"
    assert code == 0 and file_sha256(out) in printed
    network, info = find_classifier(name)
    converted, header = find_classifier(str(out))
    state = network.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in converted.state_dict().items())
    assert isinstance(converted, TimeConditionedClassifier) and not converted.denoised and not converted.training
    assert header.details["original"] == info.source == "clf.pt" and header.details["objective"] == "noisy"
    assert find_classifier(f"adm-classifier:file={out},{settings(SMALL)}")[1].sha256 == file_sha256(out)
    with pytest.raises(HarnessError, match=f"not converted with these flags.*--model {out}"):
        find_classifier(f"adm-classifier:file={out}")
    x = noisy().float()
    assert isinstance(network, TimeConditionedClassifier)
    assert torch.equal(network.noisy(x, None, TIMES), converted.noisy(x, None, TIMES))
    first = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(network(x.sigmoid()), network.noisy(x.sigmoid() * 2 - 1, None, first))


def test_plain_images_of_other_sizes_are_resized_and_diffused_ones_refused(fixture: Path) -> None:
    network, _ = find_classifier(f"adm-classifier:file={fixture},{settings(SMALL)}")
    assert isinstance(network, TimeConditionedClassifier) and network(torch.rand(2, 3, 48, 40)).shape == (2, 10)
    with pytest.raises(HarnessError, match="images of 32x32 pixels, not 48x48"):
        network.noisy(torch.randn(2, 3, 48, 48), None, TIMES)


def test_a_run_with_a_classifier_in_the_original_format(fixture: Path, tmp_path: Path) -> None:
    name = f"adm-classifier:file={fixture},{settings(SMALL)}"
    changes = {"suite": "noisy-accuracy:times=0,500", "models": (name,), "methods": ("default",), "limit": 3}
    (entry,) = run_small(tmp_path / "out", changes)
    assert entry.model.name == name and entry.model.source == "clf.pt"
    assert entry.model.sha256 == file_sha256(fixture)


def test_a_class_conditional_model_generates_classes_of_imagenet_at_its_own_size(
    recorded: Mapping[str, Any], tmp_path: Path
) -> None:
    """Both in the original format, with 1000 classes and the guide at some times."""
    unet_flags = UNET | {"class_cond": True}
    flags = AdmFlags.from_mapping(unet_flags)
    shapes = {name: tensor.shape for name, tensor in to_adm(unet(flags, "meta").state_dict(), flags).items()}
    torch.save(random_weights(shapes), tmp_path / "adm.pt")
    (tmp_path / "adm.json").write_text(json.dumps(unet_flags))
    shapes = json.loads(str(recorded["da/shapes"]))
    shapes["input_blocks.0.0.weight"][1] = 3
    for name in ("out.2.c_proj.weight", "out.2.c_proj.bias"):
        shapes[name][0] = 1000
    torch.save(random_weights(shapes), tmp_path / "clf.pt")
    networks = {
        "denoiser": f"adm:file={tmp_path / 'adm.pt'}",
        "model": f"adm-classifier:file={tmp_path / 'clf.pt'},{settings(SMALL)}",
    }
    sampling = Sampling(steps="ddim5")
    spec = GenerateSpec(dataset="imagenet", sampling=sampling, samples=3, tile=2, device="cpu", **networks)
    guided = prepare(replace(spec, guide="classifier:scale=9,interval=200,800,conditional=true"))
    told = prepare(replace(spec, guide="none:conditional=true", model=""))
    assert guided.names[7] == "n01514668" and guided.shape == (3, 32, 32)
    assert tally(guided) == GuidedCalls(5, 0, 3, 3)
    images, without, others = (each.sample(range(3)) for each in (guided, told, replace(told, labels=told.labels + 9)))
    assert images.shape == (3, 32, 32, 3) and images.float().std() > 1
    assert all((images[k] != without[k]).any() and (without[k] != others[k]).any() for k in range(3))
    with pytest.raises(HarnessError, match="needs the class: give the guide classifier the setting conditional=true"):
        prepare(replace(spec, guide="classifier"))


def test_settings_of_a_model_are_spelled_in_one_order(tmp_path: Path) -> None:
    assert canonical("adm-classifier:file=x.pt,image_size=64") == "adm-classifier:image_size=64,file=x.pt"
    assert canonical("adm-classifier") == "adm-classifier"
    with pytest.raises(HarnessError, match="adm-classifier names no file"):
        find_classifier("adm-classifier")
    with pytest.raises(HarnessError, match="'width'"):
        canonical("adm-classifier:width=64")


def test_registered_classifiers_are_the_published_ones(tmp_path: Path) -> None:
    for size in (64, 128, 256, 512):
        entry = plugins.model[f"adm{size}-classifier"]
        (file,) = entry.facts["published"].files
        assert file.urls == (
            f"https://openaipublic.blob.core.windows.net/diffusion/jul-2021/{size}x{size}_classifier.pt",
        )
        assert "dataset" not in entry.facts, "a default model of suites that show plain images"
        with pytest.raises(Absent, match=rf"looked for {file.name}.*harness weights download {entry.name}"):
            find_classifier(entry.name, WeightFiles(folder=tmp_path))


def test_a_registered_name_takes_its_file_and_no_other_flags(fixture: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="for images of 128 pixels, not image_size=64"):
        find_classifier("adm64-classifier", WeightFiles({"adm64-classifier": fixture}))
    fixture.with_suffix(".json").write_text('{"image_size": 32}')
    with pytest.raises(HarnessError, match="image_size=32 there, image_size=64 as a setting"):
        find_classifier("adm64-classifier", WeightFiles({"adm64-classifier": fixture}))


def test_a_registered_classifier_knows_the_classes_of_imagenet(fixture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.registry.models import adm_classifiers

    monkeypatch.setattr(adm_classifiers, "load", lambda path, flags: load(path, SMALL))
    places = WeightFiles({"adm64-classifier": fixture})
    with pytest.raises(HarnessError, match=r"has 10 outputs, adm64-classifier has the 1000 classes of ImageNet"):
        find_classifier("adm64-classifier", places)
    monkeypatch.setattr(adm_classifiers, "CLASSES", 10)
    info = find_classifier("adm64-classifier", places)[1]
    assert info.name == "adm64-classifier" and info.details["dataset"] == "imagenet"


# Refusals.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier_depth": 2}, r"tensors are missing \['input_blocks.*left over"),
        ({"classifier_width": 64}, r"shapes that its flags promise: size mismatch for \w+"),
        ({"image_size": 64}, r"it is for images of 32 pixels, not image_size=64"),
        ({"channel_mult": "1,1,1"}, r"with 3 levels it is for images of 64 pixels, not image_size=32"),
        ({"classifier_attention_resolutions": "32"}, r"tensors are missing .*input_blocks\.1\.1"),
    ],
    ids=lambda change: str(next(iter(change))) if isinstance(change, dict) else "",
)
def test_flags_that_do_not_fit_are_refused(change: dict[str, Any], message: str, fixture: Path) -> None:
    with pytest.raises(HarnessError, match=message) as raised:
        load(fixture, replace(SMALL, **change))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("refused", "flag"),
    [
        ({"image_size": 48}, "image_size=48"),
        ({"image_size": 50, "channel_mult": "1,1,1"}, "image_size=50"),
        ({"classifier_pool": "spatial"}, "classifier_pool='spatial'"),
        ({"classifier_width": 48}, "multiples of 32"),
        ({"classifier_depth": 0}, "classifier_depth=0"),
        ({"num_head_channels": 80}, "num_head_channels=80"),
        ({"num_head_channels": 0}, "num_head_channels=0"),
        ({"channel_mult": "1,x"}, "channel_mult='1,x'"),
        ({"channel_mult": "1,nan"}, "channel_mult='1,nan'"),
        ({"channel_mult": ",".join("1" * 13)}, "image_size=256"),
        ({"classifier_attention_resolutions": "0"}, "classifier_attention_resolutions='0'"),
        ({"classifier_width": "128"}, "classifier_width='128'"),
        ({"num_channels": 128}, "'num_channels'"),
    ],
)
def test_flags_that_cannot_be_converted_are_refused_by_name(refused: dict[str, Any], flag: str) -> None:
    with pytest.raises(HarnessError) as error:
        ClassifierFlags.from_mapping(refused)
    assert flag in str(error.value)


def test_diffusion_models_and_classifiers_are_told_apart(fixture: Path, tmp_path: Path) -> None:
    flags = AdmFlags(image_size=32, num_channels=32, num_res_blocks=1, num_head_channels=16, channel_mult="1,1")
    torch.save(to_adm(unet(flags).state_dict(), flags), tmp_path / "unet.pt")
    with pytest.raises(HarnessError, match=r"holds a diffusion model.*--denoiser adm:file="):
        load(tmp_path / "unet.pt", SMALL)
    with pytest.raises(HarnessError, match=r"holds a noisy classifier.*--model adm-classifier:file="):
        load_adm(fixture, flags)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("out.2.positional_embedding", None, "out.2.positional_embedding missing"),
        ("input_blocks.0.0.weight", (32, 4, 3, 3), "three channels, or six"),
        ("out.2.positional_embedding", (32, 0), "its position table"),
        ("middle_block.1.qkv.weight", (96, 16, 1), "shapes that its flags promise"),
    ],
)
def test_damaged_classifiers_are_refused(name: str, shape: Any, message: str, fixture: Path) -> None:
    state = torch.load(fixture, weights_only=True)
    del state[name]
    torch.save(state if shape is None else {**state, name: torch.zeros(shape)}, fixture)
    with pytest.raises(HarnessError, match=message) as raised:
        load(fixture, SMALL)
    assert "\n" not in str(raised.value)


def test_a_file_without_its_flags_is_refused(
    fixture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HarnessError, match="for images of 512 pixels, not image_size=256"):
        find_classifier(f"adm-classifier:file={fixture}")
    code, printed = harness(
        monkeypatch, capsys, "run", "--suite", "noisy-accuracy", "--model", f"adm-classifier:file={fixture},width=3"
    )
    assert code == 2 and "width" in printed and "Traceback" not in printed
