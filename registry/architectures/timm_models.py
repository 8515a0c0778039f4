"""Every architecture of timm, untrained: ``timm/resnet50``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from harness.plugins import architecture, suggest


def _version(name: str) -> str:
    import timm

    return f"timm {timm.__version__}"


@architecture.family("timm", _version)
def timm_model(name: str) -> Callable[..., nn.Module]:
    """Architecture NAME of timm, with its normalisation."""
    import timm

    if not timm.is_model(name):
        raise suggest("timm model", name, timm.list_models())

    def build(**settings: Any) -> nn.Module:
        return timm.create_model(name, **settings)

    return build
