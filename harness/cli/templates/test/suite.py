"""The suite my-name: its conditions and their images."""

from pathlib import Path

import torch

from harness import plugins

plugins.discover(Path(__file__).with_name("my_name.py"))
SUITE = plugins.suite.configure("my-name").plugin
OPENED = {condition.name: SUITE.open(condition, 0) for condition in SUITE.conditions()}


def test_every_condition_shows_the_same_source_images() -> None:
    assert list(OPENED) == ["fog/1", "fog/2", "fog/3", "fog/4", "fog/5"]
    clean = SUITE.test_images()
    assert all(data.ids == clean.ids and torch.equal(data.labels, clean.labels) for data in OPENED.values())


def test_images_lie_in_0_to_1_and_change_with_the_condition() -> None:
    images = [data.read(range(3)).images for data in OPENED.values()]
    assert all(float(some.min()) >= 0 and float(some.max()) <= 1 for some in images)
    assert not torch.equal(images[0], images[-1])


def test_the_same_images_are_read_again_and_alone() -> None:
    data = OPENED["fog/3"]
    assert torch.equal(data.read([2]).images[0], data.read([0, 1, 2]).images[2])
