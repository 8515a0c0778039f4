"""The UCI handwritten digits (Alpaydin & Kaynak, 1998), which ship inside scikit-learn: no download."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from harness.data import ArrayDataset
from harness.plugins import dataset
from harness.types import Geometry

TEST_PER_CLASS = 60
"""Test images of each class."""

SIDE = 32
"""Height and width of every image in pixels."""


def render(bitmap: np.ndarray) -> np.ndarray:
    """An 8x8 array of block counts 0..16 as a (32, 32) uint8 grey image: scaled to 0..255, then Pillow's bicubic."""
    grey = np.round(bitmap * (255 / 16)).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


RECIPE = {"epochs": 60, "batch_size": 64, "lr": 2e-3, "weight_decay": 0.05, "warmup": 5, "augment": "affine"}
"""Settings of trainings of classifiers."""


@dataset("digits", image_size=SIDE, num_classes=10, splits=("train", "test"), recipe=RECIPE)
@lru_cache(maxsize=2)
def digits(split: str) -> ArrayDataset:
    """1,797 handwritten digits, 10 classes, 32x32 RGB: 600 for testing (60 a class), 1,197 for training.

    The split and the order are fixed by a hash of each image's id, so they depend on no random generator and every
    k-th image is a fair sample.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    ids = [f"digits-{index:04d}" for index in range(len(raw.target))]
    order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest())
    test = [i for c in range(10) for i in [j for j in order if raw.target[j] == c][:TEST_PER_CLASS]]
    chosen = {"test": set(test), "train": set(order) - set(test)}[split]
    rows = [i for i in order if i in chosen]
    grey = np.stack([render(raw.images[i]) for i in rows])
    return ArrayDataset(
        name="digits",
        ids=tuple(ids[i] for i in rows),
        pixels=torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1).contiguous(),
        labels=torch.from_numpy(raw.target[rows].astype(np.int64)),
        num_classes=10,
        geometry=Geometry(resize=SIDE, crop=SIDE, interpolation="bicubic"),
    )
