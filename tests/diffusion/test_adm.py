"""Conversion of guided-diffusion checkpoints: against recordings of the original code.

recorded/adm.npz holds what the authors' code made of the weights and inputs below; recorded/adm_record.py is how.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adm_networks import random_weights, to_adm, unet, worst
from helpers import RECORDED_FOLDER
from torch import Tensor

from harness.base import noise
from harness.diffusion.adaptation import adapt, guided_step
from harness.diffusion.adm.unet import load_adm, to_diffusers
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser, at
from harness.diffusion.sampling import log_variance
from harness.types import Adaptation, HarnessError

RECORDING = RECORDED_FOLDER / "adm.npz"


RECORDING_FLAGS = {"image_size": 256, "num_channels": 32, "num_head_channels": 16, "channel_mult": "1,1,1,1,2,3"}


TIMES = (50, 150, 450, 700)
"""Where single steps were recorded."""


ENDS = [17, 803]
"""Where the network's own output was recorded."""


KEPT = (0, 1, 2, 3, 4, 12, 20, 28, 36, 44, 47, 48, 49)
"""Which of the fifty guided steps were recorded."""


SMALL = AdmFlags(num_channels=32, num_res_blocks=1, num_head_channels=16, channel_mult="1,1,1,2")


VARIANTS = [
    SMALL,
    replace(SMALL, class_cond=True, use_new_attention_order=True, noise_schedule="cosine"),
    replace(SMALL, attention_resolutions="256,64", learn_sigma=False, num_res_blocks=2),
    replace(SMALL, resblock_updown=False, num_head_channels=-1, attention_resolutions="32", use_scale_shift_norm=False),
]


NAMES = ["small", "conditional", "wide", "convolutions"]


SEED = 3
"""Of pictures and noise; of the first few, the one whose guided steps stay clear of the clip, where gradients jump."""


def draws(purpose: str, count: int, draw: int = 0) -> Tensor:
    """Standard normal pictures (count, 3, 64, 64)."""
    return noise.gaussian((3, 64, 64), seed=SEED, purpose=purpose, samples=[str(k) for k in range(count)], draw=draw)


def pictures() -> Tensor:
    """Two smooth pictures (2, 3, 64, 64) in [-1, 1] that reach both ends."""
    coarse = torch.nn.functional.interpolate(draws("picture", 2)[..., :8, :8], size=64, mode="bicubic")
    return coarse.clamp(-1, 1)


def digest(state: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    with np.load(RECORDING) as file:
        assert str(file["weights_sha256"]) == digest(original_weights()), "numpy draws other weights than then"
        return {key: torch.from_numpy(file[key]) for key in file.files if key != "weights_sha256"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adm") / "adm.pt"
    torch.save(original_weights(), path)
    return path


@pytest.fixture(scope="module")
def flags() -> AdmFlags:
    return AdmFlags.from_mapping(RECORDING_FLAGS)


@pytest.fixture(scope="module")
def denoiser(checkpoint: Path, flags: AdmFlags) -> Denoiser:
    return load_adm(checkpoint, flags)


@cache
def original_weights() -> dict[str, Tensor]:
    """The recorded network's, under the original names."""
    flags = AdmFlags.from_mapping(RECORDING_FLAGS)
    return random_weights({name: t.shape for name, t in to_adm(unet(flags, "meta").state_dict(), flags).items()})


def half(images: Tensor) -> Tensor:
    """Every second row and column, which is what was recorded of most results."""
    return images[..., ::2, ::2]


@pytest.mark.parametrize(
    ("flags", "parameters", "tensors"),
    [
        (AdmFlags(), 552_814_086, 566),
        (AdmFlags(class_cond=True), 553_838_086, 567),
        (
            AdmFlags(image_size=64, num_channels=192, num_res_blocks=3, class_cond=True, use_new_attention_order=True),
            295_904_454,
            541,
        ),
        (
            AdmFlags(
                image_size=32,
                num_channels=128,
                num_res_blocks=3,
                num_head_channels=-1,
                attention_resolutions="16,8",
                resblock_updown=False,
            ),
            52_546_438,
            446,
        ),
    ],
    ids=["256", "256-conditional", "64-conditional", "cifar10"],
)
def test_published_models_have_their_published_size(flags: AdmFlags, parameters: int, tensors: int) -> None:
    network = unet(flags, "meta")
    source = to_adm(network.state_dict(), flags)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(source) == tensors
    converted = to_diffusers(source, flags)
    assert {n: t.shape for n, t in converted.items()} == {n: t.shape for n, t in network.state_dict().items()}


def test_names_of_the_256_model() -> None:
    """Shapes as listed in the published checkpoint's own names, at the places where the numbering is easy to miss."""
    source = to_adm(unet(AdmFlags(), "meta").state_dict(), AdmFlags())
    for name, shape in {
        "input_blocks.3.0.in_layers.2.weight": (256, 256, 3, 3),
        "input_blocks.7.0.skip_connection.weight": (512, 256, 1, 1),
        "input_blocks.17.1.qkv.weight": (3072, 1024, 1),
        "middle_block.1.proj_out.weight": (1024, 1024, 1),
        "output_blocks.8.2.out_layers.3.weight": (512, 512, 3, 3),
        "output_blocks.14.1.out_layers.3.weight": (256, 256, 3, 3),
        "output_blocks.17.0.in_layers.2.weight": (256, 512, 3, 3),
    }.items():
        assert source[name].shape == shape


@pytest.mark.parametrize("flags", VARIANTS, ids=NAMES)
def test_a_half_precision_file_loads_as_float32(flags: AdmFlags, tmp_path: Path) -> None:
    network = unet(flags).half().float()
    torch.save({name: t.half() for name, t in to_adm(network.state_dict(), flags).items()}, tmp_path / "adm.pt")
    loaded = load_adm(tmp_path / "adm.pt", flags)
    state = loaded.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
    assert {t.dtype for t in state.values()} == {torch.float32}
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert loaded.schedule.betas[-1] == (0.02 if flags.noise_schedule == "linear" else 0.999)


@pytest.mark.parametrize(
    "name",
    ["out.2.bias", "time_embed.0.weight", "input_blocks.7.0.skip_connection.weight", "middle_block.1.qkv.bias"],
)
def test_a_missing_tensor_is_named(name: str) -> None:
    state = to_adm(unet(SMALL).state_dict(), SMALL)
    del state[name]
    with pytest.raises(HarnessError, match=rf"1 tensors are missing.*{name}"):
        to_diffusers(state, SMALL)


def test_left_over_tensors_are_named() -> None:
    state = to_adm(unet(SMALL).state_dict(), SMALL)
    with pytest.raises(HarnessError, match=r"1 are left over.*label_emb\.weight"):
        to_diffusers(state | {"label_emb.weight": torch.zeros(1000, 128)}, SMALL)


def test_a_wrong_width_is_an_error(tmp_path: Path) -> None:
    torch.save(to_adm(unet(SMALL).state_dict(), SMALL), tmp_path / "adm.pt")
    with pytest.raises(HarnessError, match=r"shapes that its flags promise: size mismatch for conv_in\.\w+") as raised:
        load_adm(tmp_path / "adm.pt", replace(SMALL, num_channels=64))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("refused", "flag"),
    [
        ({"image_size": 512}, "image_size=512"),
        ({"channel_mult": "2,2,4"}, "channel_mult='2,2,4'"),
        ({"channel_mult": "0.5,1,1"}, "channel_mult='0.5,1,1'"),
        ({"num_head_channels": -1, "num_heads_upsample": 0}, "num_head_channels=-1"),
        ({"num_head_channels": -1, "num_heads": 3}, "num_heads=3"),
        ({"num_channels": 96, "num_head_channels": 80}, "num_head_channels=80"),
        ({"num_channels": 100}, "num_channels=100"),
        ({"attention_resolutions": "16,0"}, "attention_resolutions='16,0'"),
        ({"predict_xstart": True}, "predict_xstart=True"),
        ({"noise_schedule": "sigmoid"}, "noise_schedule='sigmoid'"),
        ({"use_new_attention_order": "False"}, "use_new_attention_order='False'"),
        ({"num_chanels": 32}, "'num_chanels'"),
    ],
)
def test_flags_that_cannot_be_converted_are_refused_by_name(refused: dict[str, Any], flag: str) -> None:
    with pytest.raises(HarnessError) as error:
        AdmFlags.from_mapping(refused)
    assert flag in str(error.value)


def test_flags_that_change_nothing_are_accepted() -> None:
    assert AdmFlags.from_mapping({"use_fp16": True, "dropout": 0.1, "timestep_respacing": "100"}) == AdmFlags()


class Dangerous:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("code from a checkpoint was run",)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("<!DOCTYPE html><html>Sign in to continue</html>"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps(Dangerous(), protocol=2)),
        lambda path: torch.save({"out.2.bias": Dangerous()}, path),
        lambda path: torch.save([torch.zeros(3)], path),
        lambda path: None,
    ],
    ids=["html", "empty", "pickle", "object", "list", "nothing"],
)
def test_what_is_no_checkpoint_is_not_opened(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "adm.pt"
    write(path)
    with pytest.raises(HarnessError, match=str(path)):
        load_adm(path, AdmFlags())


def test_same_output_as_the_original(denoiser: Denoiser, recorded: dict[str, Tensor]) -> None:
    """1e-5 is tight on purpose: a group norm epsilon of 1e-6 instead of 1e-5 already costs 2e-5."""
    with torch.no_grad():
        eps, v = denoiser.predict_noise(draws("x", 2), torch.tensor(ENDS))
    assert v is not None
    assert worst(half(torch.cat([eps, v], 1)), recorded["model_output"]) < 1e-5


def test_attention_order_matters(flags: AdmFlags, checkpoint: Path, recorded: dict[str, Tensor]) -> None:
    other = load_adm(checkpoint, replace(flags, use_new_attention_order=True))
    with torch.no_grad():
        output = half(other.network(draws("x", 2), torch.tensor(ENDS), return_dict=False)[0])
    assert worst(output, recorded["model_output"]) > 0.05
    assert worst(output, recorded["model_output_new_attention_order"]) < 1e-5


@pytest.mark.parametrize("k", range(len(TIMES)), ids=map(str, TIMES))
def test_same_single_step_as_the_original(denoiser: Denoiser, recorded: dict[str, Tensor], k: int) -> None:
    schedule, t = denoiser.schedule, torch.tensor([TIMES[k]] * 2)
    with torch.no_grad():
        x_t = denoiser.diffuse((pictures() + 1) / 2, t, draws("one-step", 2, k))
        assert worst(half(x_t), recorded["x_t"][k]) < 1e-6
        assert worst(half(denoiser.predict_x0(x_t, t)) * 2 - 1, recorded["x0_hat"][k]) < 5e-5
        eps, v = denoiser.predict_noise(x_t, t)
    of_x0, of_xt = schedule.posterior_mean
    mean = at(of_x0, t) * denoiser.x0(schedule, x_t, t, eps) + at(of_xt, t) * x_t
    assert worst(half(mean), recorded["mean"][k]) < 5e-6
    assert worst(half(log_variance(schedule, t, v)), recorded["log_variance"][k]) < 5e-6


def test_same_schedules_as_the_original(denoiser: Denoiser, recorded: dict[str, Tensor]) -> None:
    # Even without respacing, the original rebuilds its betas from abar, which costs a last bit.
    np.testing.assert_allclose(denoiser.schedule.betas, recorded["betas"].numpy(), rtol=0, atol=2e-16)
    np.testing.assert_array_equal(denoiser.schedule.alpha_bar, recorded["alphas_cumprod"].numpy())
    np.testing.assert_array_equal(denoiser.schedule.respaced(100).times, recorded["timestep_map"].numpy())


def test_same_guided_steps_as_the_original(denoiser: Denoiser, recorded: dict[str, Tensor]) -> None:
    """Each step from the recorded input, so that one step's rounding does not become the next one's input.

    The gradient jumps where a pixel of x_0 crosses -1 or 1. Steps with a pixel closer to that than x_0's rounding may
    therefore differ in some pixels; over all pixels they agree.
    """
    schedule, reference = denoiser.schedule.respaced(100), pictures()[:1]
    for k, x_t, expected in zip(KEPT, recorded["step_input"], recorded["step_sample"], strict=True):
        sample = guided_step(
            denoiser, schedule, x_t, 49 - k, reference, Adaptation(), draws("guided", 1, 1 + k), torch.ones(1)
        )
        error = (half(sample) - expected).abs()
        at_the_edge = recorded["clip_margin"][k] < 1e-5 and error.mean() < 1e-3
        assert error.max() < 1e-5 or at_the_edge, f"step {k}: {error.max():.1e}"


def test_same_adaptation_as_the_original(denoiser: Denoiser, recorded: dict[str, Tensor]) -> None:
    """From the image to the last sample, judged by the mean: see the steps above for why not by the maximum."""
    starts: list[Tensor] = []
    handle = denoiser.network.register_forward_pre_hook(lambda _, args: starts.append(args[0].detach()))
    adapted = adapt(denoiser, (pictures()[:1] + 1) / 2, Adaptation(), lambda k: draws("guided", 1, k), torch.ones(1))
    handle.remove()
    assert len(starts) == 50
    assert worst(starts[0], recorded["step_input"][0]) < 1e-6
    error = (adapted - ((recorded["final_sample"] + 1) / 2).clamp(0, 1)).abs() * 2
    assert error.mean() < 1e-3
    assert (error > 1e-3).float().mean() <= 1e-3
