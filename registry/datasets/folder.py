"""Images of your own: one folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from harness.data import ArrayDataset
from harness.plugins import dataset
from harness.types import Geometry, HarnessError

SIDE = 32
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


@dataset("folder", image_size=SIDE, reads_folder=True)
def folder(split: str, data: Path) -> ArrayDataset:
    """DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, resized to 32x32 (shorter side, bicubic) and centre-cropped."""
    classes, others = _classes(data / "train"), _classes(data / "test")
    if len(classes) < 2 or not others:
        raise HarnessError(f"{data} must hold train/CLASS/*.png and test/CLASS/*.png with at least two classes.")
    if classes != others:
        odd = ", ".join(sorted(set(classes) ^ set(others)))
        raise HarnessError(f"{data}: train and test must hold the same classes. Only one of them holds {odd}.")
    files, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(p for p in (data / split / name).glob("*") if p.suffix.lower() in ENDINGS)
        if not found:
            raise HarnessError(f"No images in {data / split / name}. Every class needs some, in train and in test.")
        files += found
        labels += [label] * len(found)
    return ArrayDataset(
        name="folder",
        ids=tuple(str(f.relative_to(data)) for f in files),
        pixels=torch.from_numpy(np.stack([_read(f) for f in files])).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor(labels),
        num_classes=len(classes),
        geometry=Geometry(resize=SIDE, crop=SIDE, interpolation="bicubic"),
        classes=tuple(classes),
    )


def _classes(folder: Path) -> list[str]:
    """Names of the class folders; none where the folder is missing or closed."""
    try:
        return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def _read(file: Path) -> np.ndarray:
    """One image as (32, 32, 3) uint8."""
    try:
        image = Image.open(file).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise HarnessError(f"{file} is not a readable image ({error}). Repair or remove it.") from error
    scale = SIDE / min(image.size)
    width, height = (max(SIDE, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))
