"""Augmentation of whole pictures by timm's transforms, as in the training of models for ImageNet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.base import noise
from harness.plugins import augmentation
from harness.train.step import Step


@augmentation("crop-flip", pictures=True)
@dataclass(frozen=True)
class CropFlip:
    """A random resized crop and a flip: torchvision's V1 recipe, and the clean branch of DiffAug's authors.

    least: smallest share of the picture's area. policy: one of timm's auto-augment texts. jitter: of the colours.
    """

    least: float = 0.08
    interpolation: str = "bilinear"
    policy: str = ""
    jitter: float = 0.0

    def __call__(self, step: Step) -> Step:
        transform = self.transform(step.raw.images.shape[-1])
        rngs = noise.generators(step.seed, "pictures", step.augmented.ids, step.epoch)
        images = []
        for picture, rng in zip(step.pictures, rngs, strict=True):
            with seeded(rng):
                images.append(transform(picture))
        return step.with_images(torch.stack(images))

    def transform(self, size: int) -> Any:
        """From a picture to (3, size, size) in [0, 1]."""
        from timm.data import create_transform

        # Not normalised, and still with the usual mean: it is the colour that rotation and shear fill corners with.
        transform: Any = create_transform(
            size, is_training=True, scale=(self.least, 1.0), interpolation=self.interpolation,
            auto_augment=self.policy or None, color_jitter=self.jitter or None, normalize=False, re_prob=0.0,
        )  # fmt: skip
        return lambda picture: transform(picture).float() / 255


@augmentation("three-augment", pictures=True)
@dataclass(frozen=True)
class ThreeAugment(CropFlip):
    """Crop and flip, one of grey, solarised and blurred, and colour jitter (Touvron et al., DeiT III, ECCV 2022)."""

    interpolation: str = "bicubic"
    policy: str = "3a"
    jitter: float = 0.3


@augmentation("rand-augment", pictures=True)
@dataclass(frozen=True)
class RandAugment(CropFlip):
    """Crop and flip, and RandAugment (Cubuk et al., 2020) in timm's form: DeiT's fine-tuning."""

    interpolation: str = "bicubic"
    policy: str = "rand-m9-mstd0.5-inc1"


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """The global generators that timm and torchvision draw from, seeded by `rng`, and afterwards as they were."""
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(int(rng.integers(2**62)))
        np.random.seed(int(rng.integers(2**32)))
        torch.manual_seed(int(rng.integers(2**62)))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)
