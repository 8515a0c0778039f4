"""Every architecture of timm, untrained: ``timm/resnet50``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from harness.plugins import architecture, suggest
from harness.types import HarnessError

PLACES = ("pretrained", "checkpoint_path", "cache_dir")
"""Prefixes of settings by which timm fetches and opens files, which a checkpoint's header must not contain."""


def _version(name: str) -> str:
    import timm

    return f"timm {timm.__version__}"


@architecture.family("timm", _version)
def timm_model(name: str) -> Callable[..., nn.Module]:
    """Architecture NAME of timm, untrained."""
    import timm

    if not timm.is_model(name):
        raise suggest("timm model", name, timm.list_models())

    def build(**settings: Any) -> nn.Module:
        if places := [setting for setting in settings if setting.startswith(PLACES)]:
            raise HarnessError(f"timm/{name} takes no {', '.join(places)} here: only a network's shape may be set.")
        return timm.create_model(name, **settings)

    return build
