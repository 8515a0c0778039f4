"""Diffusion models from files: class-conditional ADM, improved-diffusion, diffusers' folders; what they refuse.

recorded/adm_variants.npz holds what the original code made of the weights and inputs below;
recorded/adm_variants_record.py is how.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adm_networks import random_weights, worst
from helpers import RECORDED_FOLDER, harness, run_small
from torch import Tensor, nn

from harness import plugins
from harness.base import noise
from harness.base.errors import Notice
from harness.base.files import file_sha256
from harness.diffusion.adm import checkpoint as adm_checkpoint
from harness.diffusion.adm.unet import load_adm, unet
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser, at
from harness.diffusion.hub import load_unet
from harness.diffusion.lookup import check_side, find_denoiser, load_denoiser, note_side, stated_side, trained_side
from harness.evaluation.prepare import prepare
from harness.evaluation.views.batch import BatchViews
from harness.models.lookup import bundled
from harness.models.published.locate import PublishedFile, PublishedWeights, WeightFiles
from harness.models.tiles import Tiles, check_compiler
from harness.train.objectives.reverse import Reverse
from harness.types import Batch, HarnessError, RunSpec

RECORDING = RECORDED_FOLDER / "adm_variants.npz"


@dataclass(frozen=True)
class Variant:
    """A small network of one of the two original packages, under its flags."""

    package: str
    flags: dict[str, Any]


GUIDED = {"num_channels": 32, "num_res_blocks": 1, "num_head_channels": 16, "learn_sigma": True, "class_cond": False}
GUIDED |= {"resblock_updown": True, "use_scale_shift_norm": True}
IMPROVED = {"num_channels": 32, "learn_sigma": True, "class_cond": False, "num_heads": 4, "num_head_channels": -1}
IMPROVED |= {"resblock_updown": False, "use_scale_shift_norm": True, "noise_schedule": "cosine"}
IMPROVED |= {"diffusion_steps": 4000, "rescale_timesteps": True, "dropout": 0.3}
VARIANTS = {
    "conditional": Variant(
        "guided", {**GUIDED, "image_size": 256, "class_cond": True, "attention_resolutions": "32,16,8"}
    ),
    "cifar10": Variant(
        "improved", {**IMPROVED, "image_size": 32, "num_res_blocks": 3, "attention_resolutions": "16,8"}
    ),
    "four-heads": Variant(
        "guided",
        {
            **GUIDED, "image_size": 64, "num_channels": 64, "channel_mult": "1,2,3", "attention_resolutions": "32,16",
            "num_head_channels": -1, "num_heads": 4, "num_heads_upsample": 2, "use_scale_shift_norm": False,
        },
    ),
    "one-head": Variant(
        "improved",
        {
            **IMPROVED, "image_size": 64, "num_res_blocks": 2, "attention_resolutions": "8", "num_heads": 1,
            "use_scale_shift_norm": False, "rescale_timesteps": False, "diffusion_steps": 1000,
        },
    ),
}  # fmt: skip
"""As the published class-conditional 256x256 model, as cifar10_uncond_50M_500K, as the 128x128 model with heads of
several widths, as the LSUN bedroom models."""

INDICES = (50, 720)
"""The time of each of the two images."""

LABELS = (3, 977)

TINY = {"num_channels": 32, "num_res_blocks": 1, "num_head_channels": 16, "channel_mult": "1,1"}
TINY |= {"attention_resolutions": "128"}
"""Flags of the smallest network that has everything."""


def noisy() -> Tensor:
    """Two noisy pictures (2, 3, 32, 32)."""
    return noise.gaussian((3, 32, 32), seed=0, purpose="variants", samples=["0", "1"])


def recorded(name: str) -> dict[str, Any]:
    with np.load(RECORDING) as file:
        values = {key.partition("/")[2]: file[key] for key in file.files if key.startswith(f"{name}/")}
    return values | {"shapes": json.loads(str(values["shapes"]))}


def published(folder: Path, name: str) -> Path:
    """A variant's checkpoint in the original format, its flags beside it."""
    path = folder / f"{name}.pt"
    torch.save(random_weights(recorded(name)["shapes"]), path)
    path.with_suffix(".json").write_text(json.dumps(VARIANTS[name].flags))
    return path


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("published")
    return {name: published(folder, name) for name in VARIANTS}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkpoint of `TINY` in the original format, without flags."""
    flags = AdmFlags.from_mapping(TINY)
    network = unet(flags)
    from adm_networks import to_adm

    torch.save(to_adm(network.state_dict(), flags), tmp_path / "tiny.pt")
    return tmp_path / "tiny.pt"


def half(images: Tensor) -> Tensor:
    return images[..., ::2, ::2]


# Against recordings of the original code.


@pytest.mark.parametrize("name", VARIANTS)
def test_same_output_as_the_original(checkpoints: Mapping[str, Path], name: str) -> None:
    denoiser, info = find_denoiser(str(checkpoints[name]))
    expected = {key: torch.from_numpy(value) for key, value in recorded(name).items() if key != "shapes"}
    t, given = torch.tensor(INDICES), {"class_labels": torch.tensor(LABELS)} if denoiser.conditional else {}
    times = torch.from_numpy(denoiser.schedule.times)[t]
    with torch.no_grad():
        output = denoiser.network(noisy(), times, return_dict=False, **given)[0]
    assert worst(half(output), expected["output"]) < 1e-5
    x0 = denoiser.x0(denoiser.schedule, noisy(), t, output[:, :3])
    of_x0, of_xt = denoiser.schedule.posterior_mean
    assert worst(half(x0), expected["x0_hat"]) < 2e-5
    assert worst(half(at(of_x0, t) * x0 + at(of_xt, t) * noisy()), expected["mean"]) < 2e-6
    assert set(info.details["files"]) == {f"{name}.pt", f"{name}.json"}
    assert info.details["arguments"] == asdict(AdmFlags.from_mapping(VARIANTS[name].flags))


def test_class_conditional_training_asks_as_the_original_does(checkpoints: Mapping[str, Path]) -> None:
    """The reverse step of DiffAug under classes, at the recorded x_t: what the pictures lack is in the noise."""
    denoiser, _ = find_denoiser(str(checkpoints["conditional"]))
    t, grey = torch.tensor(INDICES), torch.full((2, 3, 32, 32), 0.5)
    eps = noisy() / at((1 - denoiser.schedule.alpha_bar) ** 0.5, t)
    step = Reverse(denoiser, conditional=denoiser, weight=1.0)
    with torch.no_grad():
        right = half(step(grey, t, eps, torch.tensor(LABELS))) * 2 - 1
        wrong = half(step(grey, t, eps, torch.tensor(LABELS[::-1]))) * 2 - 1
    expected = torch.from_numpy(recorded("conditional")["x0_hat"])
    assert worst(right, expected) < 5e-5
    assert worst(wrong, expected) > 0.01


def test_times_are_the_networks_own_whoever_asks(checkpoints: Mapping[str, Path]) -> None:
    """improved-diffusion sees index 720 of 4000 as 180; through `predict`, `predict_noise` and a respaced schedule."""
    denoiser, _ = find_denoiser(str(checkpoints["cifar10"]))
    asked: list[float] = []
    denoiser.network.register_forward_pre_hook(lambda _, args: asked.append(float(args[1][0])))
    t, respaced = torch.tensor([720]), denoiser.schedule.respaced(100)
    with torch.no_grad():
        denoiser.predict_x0(noisy()[:1], t)
        denoiser.predict_noise(noisy()[:1], t)
        denoiser.predict(respaced, noisy()[:1], torch.tensor([50]))
    assert asked == [180.0, 180.0, 0.25 * round(50 * 3999 / 99)]


# Where a checkpoint and its flags come from.


def test_flags_as_settings(checkpoints: Mapping[str, Path]) -> None:
    flags = ",".join(f"{k}={v}" for k, v in VARIANTS["cifar10"].flags.items() if k != "dropout")
    settings, _ = find_denoiser(f"adm:{flags},file={checkpoints['cifar10']}")
    beside, _ = find_denoiser(str(checkpoints["cifar10"]))
    state = beside.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in settings.network.state_dict().items())
    assert np.array_equal(settings.schedule.times, beside.schedule.times)


def test_a_converted_checkpoint_is_the_same_denoiser(checkpoints: Mapping[str, Path], tmp_path: Path) -> None:
    flags, out = AdmFlags.from_mapping(VARIANTS["cifar10"].flags), tmp_path / "cifar10.safetensors"
    published = adm_checkpoint.load(checkpoints["cifar10"], flags)
    assert adm_checkpoint.write_denoiser(*published, out) == file_sha256(out)
    converted, info = find_denoiser(str(out))
    original = load_adm(checkpoints["cifar10"], flags)
    state = original.network.state_dict()
    found = converted.network.state_dict()
    assert found.keys() == state.keys() and all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert {t.dtype for t in found.values()} == {torch.float32} and not converted.network.training
    assert np.array_equal(converted.schedule.times, original.schedule.times)
    assert info.details["converted_from"]["sha256"] == file_sha256(checkpoints["cifar10"])
    known = file_sha256(checkpoints["cifar10"])
    assert adm_checkpoint.load(out, flags, known)[1].sha256 == file_sha256(out)
    with pytest.raises(HarnessError, match="not converted with these flags"):
        adm_checkpoint.load(out, replace(flags, rescale_timesteps=False))
    with pytest.raises(HarnessError, match="the published file 0000"):
        adm_checkpoint.load(out, flags, "0" * 64)


@pytest.mark.parametrize("flags_in", ["file", "name"])
def test_a_checkpoint_of_ones_own_is_converted(
    tiny: Path, tmp_path: Path, flags_in: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    what = f"adm:file={tiny},{','.join(f'{k}={v}' for k, v in TINY.items())}"
    if flags_in == "file":
        tiny.with_suffix(".json").write_text(json.dumps(TINY))
        what = str(tiny)
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path / "weights"))
    code, printed = harness(monkeypatch, capsys, "weights", "convert", what)
    converted, info = find_denoiser(str(tmp_path / "weights" / "tiny.safetensors"))
    assert code == 0 and info.sha256 in printed
    assert info.details["converted_from"] == {"file": "tiny.pt", "sha256": file_sha256(tiny)}
    state = load_adm(tiny, AdmFlags.from_mapping(TINY)).network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in converted.network.state_dict().items())


def test_a_named_model_is_found_where_weights_lie(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.registry.denoisers.adm import load_published

    flags = AdmFlags.from_mapping(TINY)
    files = [PublishedFile("tiny.pt", ("https://example.org/tiny.pt",))]
    where = PublishedWeights(
        name="tiny", about="tiny", files=files, page="https://example.org", licence="none", format="ADM"
    )
    plugins.denoiser("tiny", published=where)(lambda weight_files: load_published("tiny", flags, weight_files))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_WEIGHTS", raising=False)
    with pytest.raises(HarnessError, match=r"looked for tiny\.pt.*weights.*https://example\.org.*--weights tiny=FILE"):
        find_denoiser("tiny")
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tiny.parent))
    assert find_denoiser("tiny")[1].source == "tiny.pt"
    code, printed = harness(monkeypatch, capsys, "weights", "convert", "tiny", "--out", "weights/tiny.safetensors")
    assert code == 0, printed
    monkeypatch.delenv("HARNESS_WEIGHTS")
    assert find_denoiser("tiny")[1].source == "tiny.safetensors"


def test_registered_models_are_the_published_ones() -> None:
    entries = {entry.name: entry for entry in plugins.denoiser.entries() if "published" in entry.facts}
    assert set(entries) == {"adm256", "adm256-cond", "cifar10"}
    files = {name: entry.facts["published"].files[0] for name, entry in entries.items()}
    assert all(file.urls[0].endswith(f"/{file.name}") for file in files.values())
    assert [n for n, e in entries.items() if e.facts.get("dataset") == "imagenet"] == ["adm256"]
    assert len(files["adm256"].sha256) == 64
    usual = {e.facts["dataset"]: e.name for e in plugins.denoiser.entries() if "dataset" in e.facts}
    conditional = {e.facts["conditional"]: e.name for e in plugins.denoiser.entries() if "conditional" in e.facts}
    for suite in (entry.build for entry in plugins.suite.entries()):
        fitting = conditional if suite.tells_class else usual  # type: ignore[attr-defined]
        assert suite.denoiser == fitting.get(suite.dataset), suite.name  # type: ignore[attr-defined]


def test_another_file_under_a_published_name_is_refused(tiny: Path) -> None:
    with pytest.raises(HarnessError, match=rf"SHA-256 .*adm:file={tiny}"):
        adm_checkpoint.load(tiny, AdmFlags.from_mapping(TINY), "0" * 64)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (None, r"does not say what network it holds.*tiny\.json.*adm:file="),
        ("[1]", "not a JSON object of flags"),
        ("{", "not a JSON object of flags"),
        ('{"num_chanels": 32}', r"tiny\.json: 'num_chanels' is not a flag"),
        ("{}", "does not fit its flags"),
    ],
)
def test_a_checkpoint_without_its_flags(tiny: Path, flags: str | None, message: str) -> None:
    if flags is not None:
        tiny.with_suffix(".json").write_text(flags)
    with pytest.raises(HarnessError, match=message):
        find_denoiser(str(tiny))


def test_the_file_beside_a_checkpoint_counts_however_it_is_named(tiny: Path) -> None:
    beside = tiny.with_suffix(".json")
    beside.write_text(json.dumps(TINY))
    by_path, by_setting = find_denoiser(str(tiny)), find_denoiser(f"adm:file={tiny}")
    states = [denoiser.network.state_dict() for denoiser, _ in (by_path, by_setting)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert by_path[1].sha256 == by_setting[1].sha256 != file_sha256(tiny)
    assert by_setting[1].details["files"] == {file.name: file_sha256(file) for file in (tiny, beside)}
    beside.write_text(json.dumps({**TINY, "noise_schedule": "cosine"}))
    cosine, info = find_denoiser(f"adm:file={tiny}")
    assert info.sha256 != by_setting[1].sha256
    assert not np.array_equal(cosine.schedule.betas, by_path[0].schedule.betas)


def test_flags_that_contradict_the_file_beside_a_checkpoint_are_refused(tiny: Path) -> None:
    tiny.with_suffix(".json").write_text(json.dumps({**TINY, "noise_schedule": "cosine"}))
    message = r"tiny\.json describes tiny\.pt with other flags: noise_schedule=cosine there, noise_schedule=linear as"
    with pytest.raises(HarnessError, match=message):  # the usual value, which was given all the same
        find_denoiser(f"adm:file={tiny},noise_schedule=linear")
    assert find_denoiser(f"adm:file={tiny},noise_schedule=cosine,rescale_timesteps=true")[1]
    tiny.with_suffix(".json").write_text("[" * 5000)
    with pytest.raises(HarnessError, match="not a JSON object of flags"):
        find_denoiser(f"adm:file={tiny}")


def test_a_registered_name_and_the_file_beside_its_checkpoint_must_agree(tiny: Path) -> None:
    tiny.with_suffix(".json").write_text(json.dumps(TINY))
    with pytest.raises(HarnessError, match=r"tiny\.json describes tiny\.pt with other flags: .*num_channels=32 there"):
        find_denoiser("cifar10", WeightFiles({"cifar10": tiny}))


def test_the_average_of_an_adm_checkpoint_can_be_chosen(tiny: Path) -> None:
    state = torch.load(tiny, weights_only=True)
    average = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"model": state, "ema": average}, tiny)
    tiny.with_suffix(".json").write_text(json.dumps(TINY))
    with pytest.raises(HarnessError, match="two networks, as model and as ema"):
        find_denoiser(f"adm:file={tiny}")
    found = [find_denoiser(name) for name in (f"{tiny}#ema", f"adm:file={tiny}#ema", f"{tiny}#model")]
    biases = [denoiser.network.state_dict()["conv_out.bias"] for denoiser, _ in found]
    assert torch.equal(biases[0], average["out.2.bias"]) and torch.equal(biases[1], average["out.2.bias"])
    assert torch.equal(biases[2], state["out.2.bias"])
    assert found[0][1].sha256 == found[1][1].sha256 != found[2][1].sha256
    assert found[0][1].details["part"] == "ema"


def test_a_truncated_download_is_named(tiny: Path) -> None:
    tiny.with_suffix(".json").write_text(json.dumps(TINY))
    tiny.write_bytes(tiny.read_bytes()[:-1000])
    with pytest.raises(HarnessError, match=r"tiny\.pt is not a checkpoint.*cut short"):
        find_denoiser(str(tiny))
    with pytest.raises(HarnessError, match="No checkpoint at"):
        find_denoiser(str(tiny.with_name("nothing.pt")))
    with pytest.raises(HarnessError, match="names no file"):
        find_denoiser("adm")


# Folders of diffusers.


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    from diffusers import DDPMScheduler, UNet2DModel

    network = UNet2DModel(
        block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    network.save_pretrained(tmp_path / "pipeline" / "unet")
    DDPMScheduler(num_train_timesteps=500, beta_start=1e-3).save_pretrained(tmp_path / "pipeline" / "scheduler")
    return tmp_path / "pipeline"


def test_a_diffusers_folder_is_what_diffusers_makes_of_it(pipeline: Path) -> None:
    from diffusers import UNet2DModel

    theirs = UNet2DModel.from_pretrained(pipeline / "unet", low_cpu_mem_usage=False)
    for folder in (pipeline, pipeline / "unet"):
        denoiser, info = find_denoiser(str(folder))
        with torch.no_grad():
            ours, v = denoiser.predict_noise(noisy(), torch.tensor(INDICES[:1]))
            assert v is None and torch.equal(ours, theirs(noisy(), INDICES[0]).sample)
        np.testing.assert_allclose(denoiser.schedule.betas, np.linspace(1e-3, 0.02, 500), rtol=1e-12)
    (pipeline / "scheduler" / "scheduler_config.json").unlink()
    plain, other = find_denoiser(str(pipeline))
    assert len(plain.schedule.betas) == 1000 and other.sha256 != info.sha256


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "trained"])
def test_schedules_are_diffusers_own(pipeline: Path, name: str) -> None:
    from diffusers import DDPMScheduler

    betas = {"trained_betas": [0.1, 0.2, 0.3]} if name == "trained" else {"beta_schedule": name}
    scheduler = DDPMScheduler(**betas)
    scheduler.save_pretrained(pipeline / "scheduler")
    np.testing.assert_allclose(load_unet(pipeline).schedule.betas, scheduler.betas.numpy(), rtol=2e-5)


def change(file: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text((folder / file).read_text().replace(old, new))


TENSORS = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / TENSORS).write_text("<html>Sign in</html>"), "HTML page"),
        (lambda folder: (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:9999]), "cut short"),
        (lambda folder: (folder / TENSORS).unlink(), "No weights at"),
        (change("unet/config.json", '"add_attention": true', '"add_attention": false'), "tensors differ"),
        (change("unet/config.json", "64", "96"), "does not fit config.json"),
        (change("unet/config.json", "UNet2DModel", "UNet2DConditionModel"), "describes a UNet2DConditionModel"),
        (change("unet/config.json", "{", "<"), "HTML page"),
        (change("scheduler/scheduler_config.json", "epsilon", "v_prediction"), "'v_prediction'"),
        (change("scheduler/scheduler_config.json", '"linear"', '"sigmoid"'), "schedule 'sigmoid'"),
    ],
)
def test_damaged_folders_are_refused(pipeline: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(pipeline)
    with pytest.raises(HarnessError, match=message):
        find_denoiser(str(pipeline))


def test_models_of_the_hub(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str | None]] = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        if name == "org/none":
            raise ConnectionError("no network")
        return str(pipeline)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    _, info = find_denoiser("hf/org/unet@main")
    assert info.name == "org/unet" and info.source == "hf/org/unet@pipeline"
    with pytest.raises(HarnessError, match="hf/org/none is not in the hub's cache"):
        find_denoiser("hf/org/none")
    assert asked == [("org/unet", "main"), ("org/none", None)]


# Size, precision, memory.


def test_pictures_of_224_pixels_go_through_as_they_are() -> None:
    flags = AdmFlags(num_channels=32, num_res_blocks=1, num_head_channels=32, channel_mult="1,1,1,1,1,1")
    denoiser = Denoiser(unet(flags).eval(), flags.schedule)
    picture = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert denoiser.predict_x0(picture, torch.tensor([100])).shape == picture.shape
    for height, width in ((224, 240), (225, 224)):
        with pytest.raises(HarnessError, match=f"multiples of 32, not {height}x{width}"):
            denoiser.predict_x0(torch.rand(1, 3, height, width), torch.tensor([100]))


def test_what_half_precision_costs(checkpoints: Mapping[str, Path]) -> None:
    """Of outputs with a spread of 0.28: float16 rounds at 2^-11, bfloat16 at 2^-8, eight times as coarsely."""
    denoiser, _ = find_denoiser(str(checkpoints["cifar10"]))
    expected = torch.from_numpy(recorded("cifar10")["output"])[:, :3]
    error = {}
    for dtype in ("float32", "float16", "bfloat16"):
        found = Tiles(2, dtype=dtype)(lambda x, t: denoiser.predict_noise(x, t)[0], noisy(), torch.tensor(INDICES))
        assert found.dtype == torch.float32
        error[dtype] = float((half(found) - expected).square().mean().sqrt())
    assert error["float32"] < 1e-6
    assert 1e-5 < error["float16"] < 1e-3
    assert 4 < error["bfloat16"] / error["float16"] < 16


def test_out_of_memory_halves_the_batch(checkpoints: Mapping[str, Path]) -> None:
    """What comes out is what a tile of that size would have given from the start, bit for bit."""
    images = Batch(tuple("abcde"), torch.rand(5, 3, 32, 32), torch.zeros(5, dtype=torch.int64))

    def views(tiles: Tiles, most: int) -> list[Tensor]:
        denoiser, _ = find_denoiser(str(checkpoints["cifar10"]))

        def refuse(_: nn.Module, args: tuple[Any, ...]) -> None:
            if len(args[0]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")

        denoiser.network.register_forward_pre_hook(refuse)
        return list(BatchViews(images, denoiser, tiles, seed=0).denoised((50, 400)))

    tiles = Tiles(8)
    halved, small = views(tiles, most=2), views(Tiles(2), most=2)
    assert (tiles.halved, tiles.size, tiles.asked) == (2, 2, 8)
    assert all(torch.equal(a, b) for a, b in zip(halved, small, strict=True))
    with pytest.raises(HarnessError, match="Out of memory"):
        views(Tiles(8), most=0)


# In a run.

DIGITS = {"suite": "digits", "models": ("digits/resnet",), "methods": ("de:times=0,50",), "limit": 3}


def test_a_run_with_a_checkpoint_in_the_original_format(tiny: Path, tmp_path: Path) -> None:
    settings = ",".join(f"{k}={v}" for k, v in TINY.items())
    (entry,) = run_small(tmp_path / "out", {**DIGITS, "denoiser": f"adm:{settings},file={tiny}"})
    assert entry.denoiser and entry.denoiser.sha256 == file_sha256(tiny)
    assert entry.denoiser.details["arguments"] == asdict(AdmFlags.from_mapping(TINY))
    assert entry.cost.denoiser_calls == 3


def test_mistakes_are_found_before_the_run(checkpoints: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"conditional\.pt' expects the class"):
        run_small(tmp_path, {**DIGITS, "denoiser": str(checkpoints["conditional"])})
    flags = AdmFlags(num_channels=32, num_head_channels=32, channel_mult="1,1,1,1,1,1,1", attention_resolutions="4")
    from adm_networks import to_adm

    torch.save(to_adm(unet(flags).state_dict(), flags), tmp_path / "deep.pt")
    settings = "num_channels=32,num_head_channels=32,channel_mult=1,1,1,1,1,1,1,attention_resolutions=4"
    with pytest.raises(HarnessError, match="multiples of 64, not 32x32"):
        run_small(tmp_path, {**DIGITS, "denoiser": f"adm:file={tmp_path / 'deep.pt'},{settings}"})


# Compiled.


def test_compiling_is_asked_for_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **settings: compiled.append(self))
    monkeypatch.setattr("harness.evaluation.prepare.check_compiler", lambda device: None)
    spec = RunSpec(**{**DIGITS, "denoiser": "digits"})  # type: ignore[arg-type]
    plain = prepare(spec, tmp_path)
    assert not compiled
    job = prepare(replace(spec, compile=True), tmp_path)
    assert job.denoiser and compiled == [job.denoiser.network, job.pairs[0].classifier.network]  # type: ignore[attr-defined]
    assert job.key(job.pairs[0]) != plain.key(plain.pairs[0])
    (entry,) = run_small(tmp_path / "out", {**DIGITS, "compile": True})
    assert entry.spec.compile and entry.variant == "de:times=0,50 (compiled)"


def test_no_compiler_is_said_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(function: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nlong trace")

    monkeypatch.setattr(torch, "compile", missing)
    with pytest.raises(HarnessError, match=r"--compile: .*for cpu \(RuntimeError: No working C\+\+ compiler found\)"):
        check_compiler("cpu")


def test_a_diffusion_model_of_another_size_is_refused_with_those_that_fit() -> None:
    small, _ = bundled("digits-unet")
    assert stated_side("digits") == 32 and stated_side("adm256") == 224 and stated_side(str(small)) is None
    denoiser, weights = load_denoiser(small)
    assert trained_side(weights) == 32, "the file says so"
    with pytest.warns(Notice, match="is configured for images of"):
        note_side("digits", denoiser, 224)
    for side in (24, 32, 48):
        check_side("digits", 32, side)
    check_side("adm256", 256, 224)
    check_side("unknown", None, 224)
    with pytest.raises(HarnessError, match=r"trained on images of 32 pixels, and these have 224.*fit: adm256"):
        check_side("digits", 32, 224)
    with pytest.raises(HarnessError, match="No registered one fits"):
        check_side("digits", 32, 1000)
