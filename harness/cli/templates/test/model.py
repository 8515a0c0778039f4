"""The model my-name on test digits."""

from pathlib import Path

import torch

from harness import plugins
from harness.models.lookup import find_classifier

plugins.discover(Path(__file__).with_name("my_name.py"))
IMAGES = plugins.dataset["digits"].build("test").read(range(6)).images
NETWORK = find_classifier("my-name")[0].eval().requires_grad_(False)


def test_it_gives_a_logit_per_class() -> None:
    logits = NETWORK(IMAGES)
    assert logits.shape == (6, 10) and bool(logits.isfinite().all())
    assert not torch.allclose(logits.sum(1), torch.ones(6)), "probabilities, where logits are expected"


def test_an_image_does_not_depend_on_the_others() -> None:
    torch.testing.assert_close(NETWORK(IMAGES[:1])[0], NETWORK(IMAGES)[0])


def test_the_head_of_the_features_is_the_output() -> None:
    torch.testing.assert_close(NETWORK.head(NETWORK.features(IMAGES)), NETWORK(IMAGES))


def test_a_second_copy_has_the_same_weights() -> None:
    torch.testing.assert_close(find_classifier("my-name")[0].eval()(IMAGES), NETWORK(IMAGES))
