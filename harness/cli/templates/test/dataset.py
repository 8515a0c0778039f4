"""The data set my-name: counts, ids, labels and images."""

from pathlib import Path

import pytest
import torch

from harness import plugins

plugins.discover(Path(__file__).with_name("my_name.py"))
SPLITS = {split: plugins.dataset["my-name"].build(split) for split in ("train", "test")}


def test_the_splits_have_different_images() -> None:
    ids = [name for data in SPLITS.values() for name in data.ids]
    assert (len(SPLITS["train"].ids), len(SPLITS["test"].ids)) == (400, 100)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("split", SPLITS)
def test_every_class_has_images_in_0_to_1(split: str) -> None:
    data = SPLITS[split]
    batch = data.read(range(10))
    assert set(data.labels.tolist()) == set(range(data.num_classes))
    assert batch.images.shape == (10, 3, data.geometry.crop, data.geometry.crop)
    assert float(batch.images.min()) >= 0 and float(batch.images.max()) <= 1


def test_opening_it_again_gives_the_same_data() -> None:
    again = plugins.dataset["my-name"].build("test")
    assert again.sha256 == SPLITS["test"].sha256 != SPLITS["train"].sha256
    assert torch.equal(again.read([3]).images[0], again.read(range(10)).images[3])
