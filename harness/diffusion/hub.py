"""Load UNets of diffusers from a folder with ``config.json`` and ``diffusion_pytorch_model.safetensors``.

In a pipeline's folder, ``unet/`` holds the network, and ``scheduler/`` or the folder itself the schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import safe_open
from torch import nn

from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.base.signatures import sniff
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import Schedule, check_steps, cosine
from harness.models.files import bounded, formats
from harness.types import HarnessError

CONFIG = "config.json"
"""File of the network's configuration."""
TENSORS = "diffusion_pytorch_model.safetensors"
"""File of its weights."""
SCHEDULER = "scheduler_config.json"
"""File of the noise schedule."""


def is_unet(folder: Path) -> bool:
    """True for a folder of diffusers with a UNet, or with a pipeline that has one."""
    return (folder / CONFIG).is_file() or (folder / "unet" / CONFIG).is_file()


def files(folder: Path) -> Sequence[Path]:
    """The files that decide the numbers: configuration, tensors and, if it exists, the schedule."""
    unet = folder if (folder / CONFIG).is_file() else folder / "unet"
    beside = [folder, folder / "scheduler", folder.parent / "scheduler"]
    schedulers = [place / SCHEDULER for place in beside if (place / SCHEDULER).is_file()]
    return [unet / CONFIG, unet / TENSORS, *schedulers[:1]]


def load_unet(folder: Path) -> Denoiser:
    """The UNet2DModel of a folder, in float32 on the CPU, loaded strictly; without a scheduler the DDPM paper's betas.

    Raises HarnessError for other networks, for tensors that do not fit, and for networks that do not predict noise.
    """
    from diffusers import UNet2DModel

    if (folder / "unet_ema").is_dir() and (folder / "unet").is_dir():
        raise HarnessError(
            f"{folder} holds two networks, as unet and as unet_ema. Give the folder of the one that is meant, such as "
            f"{folder / 'unet_ema'}."
        )
    config, tensors, *scheduler = files(folder)
    settings = _object(config)
    channels = (settings.get("in_channels"), settings.get("out_channels"))
    if settings.get("_class_name") != "UNet2DModel" or channels not in ((3, 3), (3, 6)):
        raise HarnessError(
            f"{config} describes a {settings.get('_class_name')} with {channels[0]} channels in and {channels[1]} out. "
            "Diffusion models here are UNet2DModels from 3 channels to 3, or 6 with learned sigma."
        )
    if not tensors.is_file():
        raise HarnessError(
            f"No weights at {tensors}. Only safetensors are read; diffusers' save_pretrained writes them."
        )
    formats.check(tensors, safetensors=True)
    try:
        bounded.check(lambda: UNet2DModel.from_config(settings), *_size(tensors))
        network, report = UNet2DModel.from_pretrained(
            config.parent,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # diffusers and safetensors raise a dozen kinds
        reason = " ".join(str(error).split())[:300]
        raise HarnessError(
            f"{tensors} cannot be loaded: it does not fit {config.name}, or was cut short ({reason}). Fetch it again."
        ) from error
    different = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if different:
        first = different[0]
        raise HarnessError(f"{tensors} does not fit {config.name}: {len(different)} tensors differ, first {first}.")
    schedule = _schedule(scheduler[0]) if scheduler else _linear({})
    return Denoiser(cast(nn.Module, network).float().eval().requires_grad_(False), schedule)


def _size(tensors: Path) -> tuple[int, int]:
    """Numbers of tensors and of elements in a safetensors file."""
    with safe_open(tensors, framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - safe_open is no mapping
    return len(shapes), sum(map(prod, shapes))


def _object(file: Path) -> Mapping[str, Any]:
    content = read_limited(file)
    try:
        return dict(parse_json(content))
    except (ValueError, TypeError) as error:
        reason = f"it is {what}." if (what := sniff(content)) else f"it is not a JSON object ({error})."
        raise HarnessError(f"{file} cannot be read: {reason} Fetch it again.") from error


def _schedule(file: Path) -> Schedule:
    """The betas of a scheduler's configuration, in float64; diffusers itself keeps float32."""
    settings = _object(file)
    name = settings.get("beta_schedule", "linear")
    predicted = settings.get("prediction_type", "epsilon")
    if predicted != "epsilon":
        raise HarnessError(
            f"{file}: the network predicts {predicted!r}; diffusion models here predict 'epsilon', noise."
        )
    if settings.get("trained_betas") is not None:
        try:
            betas = np.asarray(settings["trained_betas"], dtype=np.float64).reshape(-1)
        except (ValueError, TypeError, OverflowError) as error:
            raise HarnessError(f"{file}: its trained_betas are no list of numbers ({error}).") from error
        return _checked(file, Schedule(betas, np.arange(check_steps(len(betas)))))
    if name not in BETAS or "num_train_timesteps" not in settings or settings.get("rescale_betas_zero_snr"):
        raise HarnessError(
            f"{file}: the schedule {name!r} of a {settings.get('_class_name')} must be one of {', '.join(BETAS)}."
        )
    try:
        return _checked(file, BETAS[name](settings))
    except (ValueError, TypeError, OverflowError) as error:
        raise HarnessError(f"{file} does not describe a schedule ({error}).") from error


def _checked(file: Path, schedule: Schedule) -> Schedule:
    if not ((schedule.betas >= 0) & (schedule.betas < 1)).all():  # NaN is neither
        raise HarnessError(f"{file}: its betas are not all between 0 and 1.")
    return schedule


def _linear(settings: Mapping[str, Any]) -> Schedule:
    steps, (first, last) = _steps(settings), _ends(settings)
    return Schedule(np.linspace(first, last, steps), np.arange(steps))


def _scaled_linear(settings: Mapping[str, Any]) -> Schedule:
    steps, (first, last) = _steps(settings), _ends(settings)
    return Schedule(np.linspace(first**0.5, last**0.5, steps) ** 2, np.arange(steps))


def _steps(settings: Mapping[str, Any]) -> int:
    return check_steps(settings.get("num_train_timesteps", 1000))


def _ends(settings: Mapping[str, Any]) -> tuple[float, float]:
    return settings.get("beta_start", 1e-4), settings.get("beta_end", 0.02)


BETAS = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "squaredcos_cap_v2": lambda settings: cosine(_steps(settings)),
}
"""Schedules by diffusers' names."""
