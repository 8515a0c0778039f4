"""Every pretrained classifier of torchvision: ``torchvision/resnet50`` or ``torchvision/resnet50.IMAGENET1K_V1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from harness.models.external.text import ModelText
from harness.models.external.torchvision_weights import load
from harness.models.published.locate import WeightFiles
from harness.plugins import model, suggest
from harness.types import Weights


def _source(name: str) -> str:
    import torchvision

    return f"torchvision {torchvision.__version__}"


@model.family("torchvision", _source)
def torchvision_pretrained(name: str) -> Callable[[WeightFiles, ModelText], tuple[nn.Module, Weights]]:
    """Model NAME of torchvision, or NAME.WEIGHTS: its default weights or the named ones, size and normalisation."""
    from torchvision import models

    base, _, weights = name.partition(".")
    names = models.list_models(module=models)
    if base not in names:
        raise suggest("torchvision model", base, names)
    members: dict[str, Any] = dict(models.get_model_weights(base).__members__)
    if weights and weights not in members:
        raise suggest(f"weights of torchvision/{base}", weights, list(members))
    chosen = members[weights] if weights else models.get_model_weights(base).DEFAULT
    return lambda weight_files, stated: load(f"torchvision/{base}.{chosen.name}", chosen, weight_files, stated)
