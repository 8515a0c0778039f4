"""Every classifier of torchvision, untrained: ``torchvision/resnet50``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from harness.plugins import architecture, suggest
from harness.types import HarnessError


def _version(name: str) -> str:
    import torchvision

    return f"torchvision {torchvision.__version__}"


@architecture.family("torchvision", _version)
def torchvision_model(name: str) -> Callable[..., nn.Module]:
    """Architecture NAME of torchvision, untrained."""
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise suggest("torchvision model", name, names)

    def build(**settings: Any) -> nn.Module:
        if places := [setting for setting in settings if setting.startswith(("weights", "pretrained"))]:
            raise HarnessError(f"torchvision/{name} takes no {', '.join(places)} here: only a shape may be set.")
        with warnings.catch_warnings():  # on how fast it fills tensors that a file replaces
            warnings.simplefilter("ignore", FutureWarning)
            return models.get_model(name, weights=None, **settings)

    return build
