"""Sets of generated images: archives and folders give the same pixels, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.generation.score.images import open_set
from harness.types import HarnessError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def folder_of(root: Path, classes: tuple[str, ...] = ()) -> Path:
    """The images as PNG files, flat or in class folders."""
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        place = root / classes[label] if classes else root
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return root


def test_archives_and_folders_hold_the_same_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", PIXELS, LABELS)
    archive = open_set(tmp_path / "a.npz", labels=True).images
    folder = open_set(folder_of(tmp_path / "flat")).images
    assert archive is not None and folder is not None
    assert archive.labels is not None and archive.labels.tolist() == LABELS.tolist()
    assert torch.equal((archive.read(0, 6) * 255).round().to(torch.uint8), torch.from_numpy(PIXELS).permute(0, 3, 1, 2))
    rows = {image.numpy().tobytes() for image in archive.read(0, 6)}
    assert rows == {image.numpy().tobytes() for image in folder.read(0, 6)}
    assert (archive.size, folder.size) == ((8, 8), (8, 8))


def test_class_folders_label_their_images_by_the_names_of_the_classes(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "classed", ("ant", "bee", "cat"))
    images = open_set(root, ("cat", "bee", "ant"), labels=True).images
    assert images is not None and images.labels is not None
    expected = {pixels.tobytes(): 2 - label for pixels, label in zip(PIXELS, LABELS.tolist(), strict=True)}
    for image, label in zip(images.read(0, 6), images.labels.tolist(), strict=True):
        assert expected[(image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().tobytes()] == label
    unlabelled = open_set(root).images
    assert unlabelled is not None and unlabelled.labels is None and unlabelled.sha256 == images.sha256


def test_names_of_files_change_neither_order_nor_hash(tmp_path: Path) -> None:
    first, second = (folder_of(tmp_path / name) for name in "ab")
    for file in list(second.iterdir()):
        file.rename(second / f"{9 - int(file.stem)}x.png")
    one, two = open_set(first).images, open_set(second).images
    assert one is not None and two is not None and one.sha256 == two.sha256
    assert torch.equal(one.read(0, 6), two.read(0, 6))


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": PIXELS}, "has the arrays images. Expected is OpenAI's layout"),
        ({"arr_0": PIXELS / 255}, "arr_0 is 6 x 8 x 8 x 3 float64"),
        ({"arr_0": PIXELS.transpose(0, 3, 1, 2)[..., :2]}, "N x H x W x 3 uint8"),
        ({"arr_0": PIXELS[:0]}, "arr_0 is 0 x 8 x 8 x 3"),
        ({"arr_0": PIXELS, "arr_1": LABELS[:5]}, "arr_1 is 5 int64; expected are 6"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, "expected are mu"),
        ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, "NaN or infinite"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 0.5], [0.0, 1.0]])}, "no covariance"),
    ],
)
def test_other_arrays_are_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(HarnessError, match=message):
        open_set(tmp_path / "a.npz", labels=True)


def test_folders_without_images_or_with_several_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="No images in"):
        open_set(tmp_path / "empty")
    root = folder_of(tmp_path / "sizes")
    Image.fromarray(PIXELS[0][:4]).save(root / "small.png")
    images = open_set(root).images
    assert images is not None
    with pytest.raises(HarnessError, match="Bring all images to one size"):
        images.read(0, 7)
