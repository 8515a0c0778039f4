"""The smoother my-name on test digits."""

from pathlib import Path

import torch
from torch import Tensor

from harness import plugins

plugins.discover(Path(__file__).with_name("my_name.py"))
IMAGES = plugins.dataset["digits"].build("test").read(range(6)).images
NOISE = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(0))


def smoothed(images: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """What the classifier sees of images under this noise."""
    return plugins.smoother.configure("my-name").plugin(images, sigma, None, lambda purpose: noise, 0)


def test_it_sees_the_sum_of_image_and_noise_alone() -> None:
    torch.testing.assert_close(smoothed(IMAGES, NOISE, 0.5), smoothed(IMAGES + 0.5 * NOISE, NOISE, 0.0))


def test_noise_is_not_clipped() -> None:
    assert float(smoothed(IMAGES, NOISE, 9.0).min()) < 0 and float(smoothed(IMAGES, NOISE, 9.0).max()) > 1


def test_an_image_does_not_depend_on_the_others() -> None:
    torch.testing.assert_close(smoothed(IMAGES[:1], NOISE[:1], 0.5)[0], smoothed(IMAGES, NOISE, 0.5)[0])


def test_an_image_of_one_colour_stays_as_it_is() -> None:
    grey = torch.full((1, 3, 32, 32), 0.5)
    torch.testing.assert_close(smoothed(grey, NOISE[:1], 0.0), grey)
