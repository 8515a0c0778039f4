"""The alignment that the options ask for: its defaults, its checks, and its term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from harness import plugins
from harness.diffusion.analysis.layer_features import layer_features
from harness.diffusion.denoiser import Denoiser
from harness.models.tiles import Tiles
from harness.train.objectives.alignment import ADVERSARIAL, CLEAN, Alignment, projection
from harness.train.objectives.joint import shows_features
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError

WIDTH = 2_048
"""Width of the projection where the denoiser states none: REPA's."""


def filled(spec: TrainSpec) -> TrainSpec:
    """The specification with the settings of the alignment filled in.

    Images: attacked ones in adversarial training, clean ones otherwise. Time and width: what the denoiser states (fact
    ``alignment``). Raises HarnessError for attacked images without an attack, and for a denoiser without a time.
    """
    if not spec.align:
        return spec
    attacked = bool(spec.adversarial)
    if spec.align_on in ("adv", "both") and not attacked:
        raise HarnessError(f"--align-on {spec.align_on} needs attacked images: add --adversarial, or leave it out.")
    entry = plugins.denoiser.get(spec.diffusion)
    stated = entry.facts.get("alignment", {}) if entry else {}
    time = stated.get("time") if spec.align_time is None else spec.align_time
    if time is None:
        raise HarnessError(
            f"--align-time: {spec.diffusion!r} states no time. Find one by "
            f"`harness analyse denoiser {spec.diffusion} --dataset {spec.dataset}`."
        )
    width = spec.align_width or stated.get("width", WIDTH)
    return replace(spec, align_on=spec.align_on or ("adv" if attacked else "clean"), align_time=time, align_width=width)


def alignment_of(
    spec: TrainSpec, terms: Sequence[str], network: nn.Module, denoiser: Denoiser, data: Dataset, device: str
) -> Alignment:
    """The term of --align, with a projection of random weights on the device.

    terms: names of the other terms. network: the classifier, on the CPU. data: whose images it will see.
    Raises HarnessError for a network without features, and for a time or a layer that the denoiser does not have.
    """
    if not shows_features(network):
        raise HarnessError(
            f"--align needs features, and {spec.model!r} shows none. Choose an architecture with timm's "
            "forward_features and forward_head."
        )
    time = spec.align_time or 0
    denoiser.check_times((time,))
    blank = torch.zeros(1, 3, data.geometry.crop, data.geometry.crop)
    with torch.no_grad():
        features: Any = network.eval()
        width = features.features(blank).shape[1]
    target = _target_width(spec, denoiser, blank, device)
    clean = CLEAN if CLEAN in terms else Alignment.name
    on = {"adv": (ADVERSARIAL,), "clean": (clean,), "both": (ADVERSARIAL, clean)}[spec.align_on]
    return Alignment(
        denoiser, projection(width, spec.align_width, target).to(device), time, spec.align_weight, on, spec.align_layer,
        _leaves_images(spec), device, spec.dtype,
    )  # fmt: skip


def _target_width(spec: TrainSpec, denoiser: Denoiser, blank: torch.Tensor, device: str) -> int:
    time = torch.tensor([spec.align_time or 0])
    try:
        found = Tiles(1, device, spec.dtype)(
            lambda x, t, eps: layer_features(denoiser, spec.align_layer, x, t, eps), blank, time, blank
        )
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise HarnessError(
            f"The denoiser {spec.diffusion!r} fails on images of {blank.shape[-1]} pixels ({type(error).__name__}: "
            f"{error}). Choose another with --diffusion."
        ) from error
    return found.shape[1]


def _leaves_images(spec: TrainSpec) -> bool:
    """True where nothing alters the images of a sample from epoch to epoch."""
    return spec.augment == "none" and not (spec.augmix or spec.mixup or spec.cutmix or spec.deepaugment)
