"""The bundled classifier of CIFAR-10."""

from __future__ import annotations

from torch import nn

from harness.models.matching import load_bundled
from harness.plugins import model
from harness.types import Weights


@model("cifar10/resnet", dataset="cifar10")
def resnet() -> tuple[nn.Module, Weights]:
    """ResNet-10, 0.7 M parameters, cross-entropy, 12 epochs."""
    return load_bundled("cifar10-resnet")
