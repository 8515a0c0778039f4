"""Published classifiers from a manifest: a TOML file with one entry each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness import plugins
from harness.base.parsing import parse_toml
from harness.models.checkpoint import is_checkpoint, load_published, write_checkpoint
from harness.models.classifier import ImageClassifier
from harness.models.lookup import load_classifier
from harness.models.published.locate import PublishedFile, PublishedWeights, WeightFiles
from harness.types import HarnessError, Weights

Loaded = tuple[nn.Module, Weights]


@dataclass(frozen=True, kw_only=True)
class ManifestEntry(PublishedWeights):
    """A published classifier.

    architecture, num_classes: the network that takes the tensors. dataset: the data whose classes it knows.
    mean, std: normalisation of the training recipe, per channel of images in [0, 1].
    rename: (pattern, replacement) pairs from the authors' names of tensors to the architecture's.
    """

    architecture: str
    dataset: str
    num_classes: int
    mean: Sequence[float]
    std: Sequence[float]
    rename: Sequence[tuple[str, str]] = ()

    def load(self, weight_files: WeightFiles) -> Loaded:
        """The classifier and its provenance, from the published file or from one that `write_classifier` made of it."""
        path = self.locate(weight_files)
        if is_checkpoint(path):
            return self._converted(path)
        status = self.check(path)
        body = plugins.architecture[self.architecture].build(num_classes=self.num_classes)
        kind = f"weights of {self.name!r} ({self.architecture})"
        body, file_info = load_published(path, body, kind, f"Fetch it again: {self.page}", self._renamed)
        details = {
            "kind": "classifier",
            "name": self.name,
            "architecture": self.architecture,
            "arguments": {"num_classes": self.num_classes},
            "dataset": self.dataset,
            "origin": self.page,
            "licence": self.licence,
            "as_published": status,
        }
        info = replace(file_info, name=self.name, details={**details, **file_info.details})
        return ImageClassifier(body, self.mean, self.std).eval(), info

    def _renamed(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors under the architecture's names."""
        renamed = {}
        for name, tensor in state.items():
            for pattern, replacement in self.rename:
                name = re.sub(pattern, replacement, name)
            renamed[name] = tensor
        return renamed

    def _converted(self, path: Path) -> Loaded:
        network, info = load_classifier(path)
        name = info.details.get("name", self.name)
        architecture = info.details["architecture"]
        if (name, architecture) != (self.name, self.architecture):
            raise HarnessError(f"{path} holds {name!r} ({architecture}), not {self.name!r} ({self.architecture}).")
        return network, Weights(self.name, info.sha256, path.name, {"as_published": "unknown", **info.details})


def manifest(text: str) -> list[ManifestEntry]:
    """The entries of a manifest, in its order: ``[shared]`` settings, and an array ``classifier`` of separate ones."""
    tables = parse_toml(text)
    return [_entry({**tables["shared"], **entry}) for entry in tables["classifier"]]


def _entry(settings: dict[str, Any]) -> ManifestEntry:
    files = [PublishedFile(**file) for file in settings.pop("files")]
    rename = [(pattern, replacement) for pattern, replacement in settings.pop("rename", ())]
    return ManifestEntry(files=files, rename=rename, **settings)


def register(text: str) -> None:
    """Register every entry of a manifest as a model; suites take those whose weights are here by default."""
    for entry in manifest(text):
        plugins.model(entry.name, dataset=entry.dataset, published=entry)(_builder(entry))


def _builder(entry: ManifestEntry) -> Callable[[WeightFiles], Loaded]:
    def build(weight_files: WeightFiles) -> Loaded:
        return entry.load(weight_files)

    build.__doc__ = entry.about
    return build


def write_classifier(network: nn.Module, info: Weights, out: Path) -> str:
    """Write a classifier as a harness checkpoint, which loads fast and without a pickle; returns its SHA-256.

    The header names the architecture, the original file and its hash.
    Raises HarnessError for a network whose architecture the harness cannot build by itself.
    """
    if "architecture" not in info.details:
        raise HarnessError(
            f"{info.name!r} cannot be converted: its network is not an architecture that a checkpoint can name "
            "(harness list architectures). Keep its original file."
        )
    header = {"original": info.source, "original_sha256": info.sha256, **info.details}
    return write_checkpoint(out, network, header)
