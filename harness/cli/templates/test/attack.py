"""The attack my-name on test digits."""

from pathlib import Path

import torch

from harness import plugins
from harness.attacks import losses
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.types import ThreatModel

plugins.discover(Path(__file__).with_name("my_name.py"))
BATCH = plugins.dataset["digits"].build("test").read(range(6))
CLASSIFIER = TiledClassifier(find_classifier("digits/resnet")[0], Tiles(100))


def attacked(rows: slice, eps: float) -> torch.Tensor:
    """Adversarial versions of some of the images."""
    attack, threat = plugins.attack.configure("my-name").plugin, ThreatModel("linf", eps)
    images, labels = BATCH.images[rows], BATCH.labels[rows]
    return attack(images, labels, CLASSIFIER, lambda purpose: torch.zeros_like(images), threat)


def test_the_result_lies_in_the_ball_and_in_0_to_1() -> None:
    images = attacked(slice(None), 0.1)
    assert float((images - BATCH.images).abs().max()) <= 0.1 + 1e-6
    assert float(images.min()) >= 0 and float(images.max()) <= 1


def test_the_loss_rises() -> None:
    before = losses.cross_entropy(CLASSIFIER(BATCH.images), BATCH.labels)
    after = losses.cross_entropy(CLASSIFIER(attacked(slice(None), 0.1)), BATCH.labels)
    assert float(after.mean()) > float(before.mean())


def test_an_image_does_not_depend_on_the_others() -> None:
    torch.testing.assert_close(attacked(slice(0, 1), 0.1)[0], attacked(slice(None), 0.1)[0])
