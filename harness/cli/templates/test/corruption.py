"""The corruption my-name on test digits."""

from pathlib import Path

import pytest
import torch

from harness import plugins
from harness.data.corruptions import corrupt

plugins.discover(Path(__file__).with_name("my_name.py"))
BATCH = plugins.dataset["digits"].build("test").read(range(6))


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_it_gives_images_that_differ_from_the_clean_ones(severity: int) -> None:
    corrupted = corrupt(BATCH.images + 0.1, "my-name", severity, ids=BATCH.ids)  # raises for what is no image
    assert corrupted.shape == BATCH.images.shape and not torch.equal(corrupted, BATCH.images + 0.1)


def test_an_image_does_not_depend_on_the_others() -> None:
    together = corrupt(BATCH.images, "my-name", 3, ids=BATCH.ids)
    assert torch.equal(corrupt(BATCH.images[2:3], "my-name", 3, ids=BATCH.ids[2:3])[0], together[2])


def test_its_random_numbers_belong_to_seed_and_sample() -> None:
    grey = torch.full((2, 3, 32, 32), 0.5)
    assert torch.equal(*corrupt(grey, "my-name", 3, ids=("a", "a")))
    assert not torch.equal(*corrupt(grey, "my-name", 3, ids=("a", "b")))
    assert not torch.equal(
        corrupt(grey, "my-name", 3, ids=("a", "b"), seed=1), corrupt(grey, "my-name", 3, ids=("a", "b"))
    )


def test_it_grows_with_the_severity() -> None:
    grey = torch.full((1, 3, 32, 32), 0.5)
    distances = [float((corrupt(grey, "my-name", s, ids=("a",)) - 0.5).abs().sum()) for s in range(1, 6)]
    assert distances == sorted(distances) and distances[0] < distances[-1]
