"""The bundled classifiers of the digits: the DiffAug paper's ten, compact, and two of diffused images, which guide.

`studies/ten_classifiers.py` and `studies/guidance.py` train them. Facts: ``guides``, the guide that a classifier serves
by default in `harness generate`; ``noisy`` marks a classifier of diffused images, which no suite takes by default,
`noisy-accuracy` included, unless the suite's own `models` name it.
"""

from __future__ import annotations

from typing import Any

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
ENCODER = "Encoder of a diffusion UNet, 0.9 M parameters, made to guide"
GUIDING = {
    "encoder+noisy": f"{ENCODER}: sees x_t and t.",
    "encoder+da": f"{ENCODER}: sees x_t, its one-step denoising, and t.",
}

GUIDES = {"vit+diffaug": "denoised:scale=3", "encoder+da": "classifier:scale=10"}
"""Classifiers that `harness generate` takes by default, with their guide and its settings."""


def _register(name: str, words: str, **facts: Any) -> None:
    def load() -> tuple[nn.Module, Weights]:
        return load_bundled(f"digits-{name}")

    load.__doc__ = words
    guides = {"guides": GUIDES[name]} if name in GUIDES else {}
    model(f"digits/{name}", **facts, **guides)(load)


for _name, _words in BUNDLED.items():
    _register(_name, _words, dataset="digits")
for _name, _words in GUIDING.items():
    _register(_name, _words, dataset="digits", noisy=True)
