"""The bundled classifiers of the digits: compact networks, plain and with DiffAug."""

from __future__ import annotations

from torch import nn

from harness import weights
from harness.plugins import model
from harness.types import Weights

Loaded = tuple[nn.Module, Weights]


@model("digits/resnet", dataset="digits")
def resnet() -> Loaded:
    """ResNet-10, 0.7 M parameters, cross-entropy."""
    return weights.classifier(*weights.bundled("digits-resnet"))


@model("digits/resnet+diffaug", dataset="digits")
def resnet_diffaug() -> Loaded:
    """ResNet-10 trained with DiffAug."""
    return weights.classifier(*weights.bundled("digits-resnet+diffaug"))


@model("digits/vit", dataset="digits")
def vit() -> Loaded:
    """ViT with 4x4 patches, 0.7 M parameters, cross-entropy."""
    return weights.classifier(*weights.bundled("digits-vit"))


@model("digits/vit+diffaug", dataset="digits")
def vit_diffaug() -> Loaded:
    """ViT trained with DiffAug."""
    return weights.classifier(*weights.bundled("digits-vit+diffaug"))
