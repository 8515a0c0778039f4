"""The bundled classifiers of the digits: the DiffAug paper's ten, compact; `studies/ten_classifiers.py` trains them."""

from __future__ import annotations

from torch import nn

from harness.models.matching import load_bundled
from harness.plugins import model
from harness.types import Weights

RESNET, VIT = "ResNet-10, 0.7 M parameters", "ViT with 4x4 patches, 0.7 M parameters"
BUNDLED = {
    "resnet": f"{RESNET}, cross-entropy.",
    "resnet+diffaug": f"{RESNET}, trained with DiffAug.",
    "resnet+augmix": f"{RESNET}, trained with AugMix.",
    "resnet+augmix+diffaug": f"{RESNET}, trained with AugMix, then with DiffAug, too.",
    "resnet+deepaugment": f"{RESNET}, trained with DeepAugment.",
    "resnet+deepaugment+diffaug": f"{RESNET}, trained with DeepAugment, then with DiffAug, too.",
    "resnet+augmix+deepaugment": f"{RESNET}, trained with AugMix and DeepAugment.",
    "resnet+augmix+deepaugment+diffaug": f"{RESNET}, trained with AugMix and DeepAugment, then with DiffAug, too.",
    "vit": f"{VIT}, cross-entropy.",
    "vit+diffaug": f"{VIT}, trained with DiffAug.",
}

GUIDES = {"vit+diffaug": "denoised:scale=3"}
"""Classifiers that `harness generate` takes by default, with their guide and its settings."""


def _register(name: str, words: str) -> None:
    def load() -> tuple[nn.Module, Weights]:
        return load_bundled(f"digits-{name}")

    load.__doc__ = words
    guides = {"guides": GUIDES[name]} if name in GUIDES else {}
    model(f"digits/{name}", dataset="digits", **guides)(load)


for _name, _words in BUNDLED.items():
    _register(_name, _words)
