"""Image classifiers of the Hugging Face hub, timm's and transformers': ``hf/microsoft/resnet-18`` or ``hf/FOLDER``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from harness.models.external import hub
from harness.models.external.text import ModelText
from harness.plugins import model
from harness.types import Weights


@model.family("hf", lambda name: "")  # the hash of its files identifies it
def hub_classifier(name: str) -> Callable[[ModelText], tuple[nn.Module, Weights]]:
    """Classifier NAME of the hub, ORG/MODEL or ORG/MODEL@REVISION, from its cache or the network; or its folder."""

    def build(stated: ModelText) -> tuple[nn.Module, Weights]:
        if hub.is_repository(Path(name)):
            return hub.load_folder(Path(name), stated)
        repository, _, revision = name.partition("@")
        folder = hub.fetched(repository, revision)
        network, info = hub.load_folder(folder, stated)
        return network, replace(info, source=f"hf/{repository}@{folder.name}")

    return build
