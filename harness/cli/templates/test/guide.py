"""The guide my-name on one step from noise to digits."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness import plugins
from harness.diffusion.guided import SamplingStep, sample_noise
from harness.diffusion.lookup import find_denoiser
from harness.models.lookup import find_classifier
from harness.types import HarnessError

plugins.discover(Path(__file__).with_name("my_name.py"))
DENOISER = find_denoiser("digits")[0]
DENOISER.network.eval()
CLASSIFIER = find_classifier("digits/resnet")[0].eval()
IDS = ("sample/000000", "sample/000001", "sample/000002")


def gradient(text: str, rows: slice = slice(None)) -> Tensor | None:
    """What the guide adds at t = 500 for the classes 0, 1 and 2; None where it does not act."""
    x = sample_noise((3, 32, 32), 0, IDS, None)[rows]
    step = SamplingStep(DENOISER, DENOISER.schedule, 500, 500, x, torch.arange(3)[rows])
    return plugins.guide.configure(text).plugin(step, CLASSIFIER).gradient


def test_at_temperature_1_it_is_the_guide_denoised() -> None:
    torch.testing.assert_close(gradient("my-name:scale=2"), gradient("denoised:scale=2"))


def test_a_sample_does_not_depend_on_the_others() -> None:
    torch.testing.assert_close(
        gradient("my-name:temperature=2", slice(0, 1)), gradient("my-name:temperature=2")[:1], rtol=1e-3, atol=1e-5
    )


def test_it_acts_within_its_interval_only() -> None:
    assert gradient("my-name:interval=0,500") is None


def test_an_impossible_temperature_is_refused() -> None:
    with pytest.raises(HarnessError, match="temperature=0"):
        plugins.guide.configure("my-name:temperature=0")
