"""The architecture my-name on training digits."""

from pathlib import Path

import torch

from harness import plugins

plugins.discover(Path(__file__).with_name("my_name.py"))
ENTRY = plugins.architecture["my-name"]
BATCH = plugins.dataset["digits"].build("train").read(range(8))


def test_it_gives_a_logit_per_class() -> None:
    for classes in (2, 10):
        assert ENTRY.build(classes)(BATCH.images).shape == (8, classes)


def test_every_weight_learns() -> None:
    network = ENTRY.build(10)
    torch.nn.functional.cross_entropy(network(BATCH.images), BATCH.labels).backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in network.parameters())


def test_in_evaluation_an_image_does_not_depend_on_the_others() -> None:
    network = ENTRY.build(10).eval()
    torch.testing.assert_close(network(BATCH.images[:1])[0], network(BATCH.images)[0])
