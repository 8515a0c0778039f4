"""The suites of a user's own images: at 32 pixels as ever, or at the size that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_files import as_folder, make

from harness import plugins
from harness.data import StoredPictures
from harness.evaluation.records.keys import benchmark
from harness.types import HarnessError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return as_folder(tmp_path / "photos", make(6, ["ant", "bee"]), "test")


def test_images_have_32_pixels_unless_another_size_is_set(photos: Path) -> None:
    small, large = (plugins.suite.configure(f"folder:data={photos}{more}") for more in ("", ",image_size=48"))
    assert benchmark(small.text) == "folder" and benchmark(large.text) == "folder:image_size=48"
    data = [suite.plugin.open(suite.plugin.conditions()[0], 0) for suite in (small, large)]
    assert [one.read([0, 5]).images.shape[-1] for one in data] == [32, 48]
    assert isinstance(data[1], StoredPictures), "large images are decoded when they are read"
    assert [name.removeprefix("test/") for name in data[0].ids] == list(data[1].ids)
    assert data[0].classes == data[1].classes == ("ant", "bee")
    assert plugins.suite.configure(f"folder:data={photos},image_size=32,split=test").text == small.text


def test_corruptions_are_those_of_the_size(photos: Path) -> None:
    suite = plugins.suite.configure(f"folder-c:data={photos},image_size=64").plugin
    (image,) = suite.open(suite.conditions()[0], 0).read([0]).images
    assert image.shape == (3, 64, 64)


def test_a_split_of_another_name_is_read(photos: Path) -> None:
    (photos / "test").rename(photos / "holiday")
    suite = plugins.suite.configure(f"folder:data={photos},split=holiday").plugin
    assert len(suite.open(suite.conditions()[0], 0).ids) == 6


@pytest.mark.parametrize("suite", ["folder", "folder-c"])
def test_sizes_beyond_reason_are_refused(suite: str) -> None:
    with pytest.raises(HarnessError, match=f"{suite}: image_size=4 must be at least 8"):
        plugins.suite.configure(f"{suite}:data=x,image_size=4")
    if suite == "folder-c":
        with pytest.raises(HarnessError, match="severity=9"):
            plugins.suite.configure("folder-c:data=x,severity=9")
