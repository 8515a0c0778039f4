"""The augmentation my-name on training digits."""

from pathlib import Path

import torch

from harness import plugins
from harness.train.step import Step

plugins.discover(Path(__file__).with_name("my_name.py"))
DATA = plugins.dataset["digits"].build("train")
AUGMENT = plugins.augmentation.configure("my-name").plugin


def augmented(indices: range, epoch: int = 0) -> torch.Tensor:
    """Images of the training split after the augmentation."""
    batch = DATA.read(indices)
    return AUGMENT(Step(raw=batch, augmented=batch, seed=0, epoch=epoch)).augmented.images


def test_images_stay_in_0_to_1_and_change() -> None:
    images = augmented(range(6))
    assert images.shape == (6, 3, 32, 32) and float(images.min()) >= 0 and float(images.max()) <= 1
    assert not torch.equal(images, DATA.read(range(6)).images)


def test_an_image_does_not_depend_on_the_others() -> None:
    torch.testing.assert_close(augmented(range(3, 4))[0], augmented(range(6))[3])


def test_every_epoch_has_its_own_random_numbers() -> None:
    assert torch.equal(augmented(range(6), 1), augmented(range(6), 1))
    assert not torch.equal(augmented(range(6), 0), augmented(range(6), 1))
