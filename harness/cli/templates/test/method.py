"""The method my-name on test digits."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from harness import plugins
from harness.models.lookup import find_classifier
from harness.types import HarnessError

plugins.discover(Path(__file__).with_name("my_name.py"))
IMAGES = plugins.dataset["digits"].build("test").read(range(6)).images
CLASSIFIER = find_classifier("digits/resnet")[0].eval()


def probabilities(text: str, images: Tensor) -> Tensor:
    """Class probabilities (B, 10) of the method, configured as on the command line."""
    with torch.no_grad():
        return plugins.method.configure(text).plugin(SimpleNamespace(original=lambda: images), CLASSIFIER)


def test_rows_are_probabilities() -> None:
    rows = probabilities("my-name", IMAGES)
    assert rows.shape == (6, 10) and float(rows.min()) >= 0
    torch.testing.assert_close(rows.sum(1), torch.ones(6))


def test_an_image_does_not_depend_on_the_others() -> None:
    torch.testing.assert_close(probabilities("my-name", IMAGES[:1])[0], probabilities("my-name", IMAGES)[0])


def test_the_weights_0_and_1_are_the_image_and_its_mirror_image() -> None:
    with torch.no_grad():
        torch.testing.assert_close(probabilities("my-name:weight=0", IMAGES), CLASSIFIER(IMAGES).softmax(-1))
    torch.testing.assert_close(probabilities("my-name:weight=1", IMAGES), probabilities("my-name:0", IMAGES.flip(-1)))


def test_an_impossible_weight_is_refused() -> None:
    with pytest.raises(HarnessError, match="weight=2"):
        plugins.method.configure("my-name:weight=2")
