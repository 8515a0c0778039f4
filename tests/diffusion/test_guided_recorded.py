"""Guided trajectories against recordings of the original code of guided-diffusion, in float64 and in float32.

recorded/guided.npz holds what the authors' samplers made of the networks and inputs below; recorded/guided_record.py is
how. A denoising-assisted classifier under its total derivative has no float32 test: near the largest time the
derivative passes 1/sqrt(abar), 157, and rounding flips pixels across the clip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from adm_networks import one_thread as one_thread
from adm_networks import random_weights, unet, worst
from helpers import RECORDED_FOLDER
from test_adm import RECORDING_FLAGS, original_weights
from test_adm_classifier import SMALL
from torch import Tensor

from harness import plugins
from harness.base import noise
from harness.diffusion.adm import unet as adm
from harness.diffusion.adm.classifier import AdmClassifier, to_diffusers
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import trajectory
from harness.models.classifier import TimeConditionedClassifier
from harness.types import Sampling

RECORDING = RECORDED_FOLDER / "guided.npz"
CLASSIFIERS = RECORDED_FOLDER / "adm_classifier.npz"
STEM = "input_blocks.0.0.weight"
GRID = np.s_[..., ::8, ::8]
SCALE = 3.0
LABELS = torch.tensor([3, 7])
IDS = ("0", "1")


@dataclass(frozen=True)
class Run:
    """A recorded trajectory. through: of the guide; "" without one. denoised: the classifier sees x0_hat, too."""

    settings: Sampling
    through: str = ""
    denoised: bool = False

    @property
    def guided(self) -> bool:
        return bool(self.through)


RUNS = {
    "ancestral": Run(Sampling("ancestral", "10", variance="learned")),
    "ancestral noisy": Run(Sampling("ancestral", "10", variance="learned"), "total"),
    "ancestral noisy, fixed small": Run(Sampling("ancestral", "10", variance="fixed_small"), "total"),
    "ancestral noisy, fixed large": Run(Sampling("ancestral", "10", variance="fixed_large"), "total"),
    "ancestral da": Run(Sampling("ancestral", "10", variance="learned"), "total", True),
    "ancestral da, detached": Run(Sampling("ancestral", "10", variance="learned"), "partial", True),
    "ddim": Run(Sampling("ddim", "ddim10", variance="learned")),
    "ddim noisy": Run(Sampling("ddim", "ddim10", variance="learned"), "total"),
    "ddim noisy, eta 1": Run(Sampling("ddim", "10", eta=1.0, variance="learned"), "total"),
    "ddim da": Run(Sampling("ddim", "ddim10", variance="learned"), "total", True),
}


def start() -> Tensor:
    """x_T (2, 3, 32, 32) in float64."""
    return noise.gaussian((3, 32, 32), seed=0, purpose="recorded-start", samples=IDS).double()


def steps(count: int) -> list[Tensor]:
    """Noise of the steps from the largest time on, (2, 3, 32, 32) each."""
    return [
        noise.gaussian((3, 32, 32), seed=0, purpose="recorded-step", samples=IDS, draw=k).double() for k in range(count)
    ]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    with np.load(RECORDING) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    flags = AdmFlags.from_mapping(RECORDING_FLAGS)
    network = unet(flags)
    network.load_state_dict(
        {name: tensor.float() for name, tensor in adm.to_diffusers(original_weights(), flags).items()}
    )
    return Denoiser(network.requires_grad_(False), flags.schedule)


def classifier(denoised: bool) -> TimeConditionedClassifier:
    """The recorded classifier, of three or six channels, with weights drawn by name."""
    with np.load(CLASSIFIERS) as file:
        shapes = json.loads(str(file["da/shapes"]))
    shapes[STEM][1] = 6 if denoised else 3
    network = AdmClassifier(SMALL, 10, shapes[STEM][1])
    state = to_diffusers(random_weights({name: tuple(shape) for name, shape in shapes.items()}), SMALL)
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return TimeConditionedClassifier(network.eval().requires_grad_(False), denoised)


def sampled(denoiser: Denoiser, run: Run, dtype: torch.dtype) -> Tensor:
    """x_t after each step, (S, 2, 3, 4, 4)."""
    network = classifier(run.denoised).to(dtype) if run.guided else None
    guide = plugins.guide.configure(f"classifier:scale={SCALE},through={run.through}" if run.guided else "none").plugin
    shown = replace(denoiser, network=FirstChannels(denoiser.network)) if "fixed" in run.settings.variance else denoiser
    noises = steps(run.settings.count)
    states = trajectory(
        shown, guide, network, start().to(dtype), LABELS, run.settings, lambda step: noises[step].to(dtype)
    )
    return torch.stack([state[GRID].double() for state in states])


class FirstChannels(torch.nn.Module):
    """The noise of a network that also learned the variance."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *arguments: Any, **settings: Any) -> tuple[Tensor]:
        return (self.network(*arguments, **settings)[0][:, :3],)


@pytest.mark.parametrize("name", RUNS)
def test_trajectories_are_the_originals_in_float64(name: str, denoiser: Denoiser, recorded: dict[str, Tensor]) -> None:
    denoiser.network.double()
    assert worst(sampled(denoiser, RUNS[name], torch.float64), recorded[name]) < 1e-8


@pytest.mark.parametrize("name", ["ancestral noisy", "ddim noisy"])
def test_trajectories_of_a_noisy_classifier_are_the_originals_in_float32(
    name: str, denoiser: Denoiser, recorded: dict[str, Tensor]
) -> None:
    denoiser.network.float()
    assert worst(sampled(denoiser, RUNS[name], torch.float32), recorded[name]) < 1e-3
