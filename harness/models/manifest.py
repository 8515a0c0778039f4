"""Classifiers that others published, from a manifest: a TOML file with one entry each."""

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
from harness.models.locate import File, PublishedWeights
from harness.models.lookup import load_classifier
from harness.types import HarnessError, Weights

Loaded = tuple[nn.Module, Weights]


@dataclass(frozen=True, kw_only=True)
class ManifestEntry(PublishedWeights):
    """A published classifier.

    architecture, num_classes: what is built and filled. dataset: whose classes it knows.
    mean, std: of the training recipe, per channel of images in [0, 1].
    rename: (pattern, replacement) pairs, from the authors' names of tensors to the architecture's.
    """

    architecture: str
    dataset: str
    num_classes: int
    mean: Sequence[float]
    std: Sequence[float]
    rename: Sequence[tuple[str, str]] = ()

    def load(self) -> Loaded:
        """The classifier and where it came from: the published file, or one that `convert` made of it."""
        path = self.locate()
        if is_checkpoint(path):
            return self._converted(path)
        status = self.check(path)
        body = plugins.architecture[self.architecture].build(num_classes=self.num_classes)
        kind = f"weights of {self.name!r} ({self.architecture})"
        body, found = load_published(path, body, kind, f"Fetch it again: {self.page}", self._ours)
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
        info = replace(found, name=self.name, details={**details, **found.details})
        return ImageClassifier(body, self.mean, self.std).eval(), info

    def _ours(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors under the architecture's names."""
        renamed = {}
        for name, tensor in state.items():
            for pattern, replacement in self.rename:
                name = re.sub(pattern, replacement, name)
            renamed[name] = tensor
        return renamed

    def _converted(self, path: Path) -> Loaded:
        network, found = load_classifier(path)
        told = found.details.get("name", self.name), found.details["architecture"]
        if told != (self.name, self.architecture):
            raise HarnessError(f"{path} holds {told[0]!r} ({told[1]}), not {self.name!r} ({self.architecture}).")
        return network, Weights(self.name, found.sha256, path.name, {"as_published": "unknown", **found.details})


def manifest(text: str) -> list[ManifestEntry]:
    """The entries of a manifest, in its order: ``[shared]`` settings, and an array ``classifier`` of the others."""
    told = parse_toml(text)
    return [_entry({**told["shared"], **entry}) for entry in told["classifier"]]


def _entry(told: dict[str, Any]) -> ManifestEntry:
    files = [File(**file) for file in told.pop("files")]
    rename = [(pattern, replacement) for pattern, replacement in told.pop("rename", ())]
    return ManifestEntry(files=files, rename=rename, **told)


def register(text: str) -> None:
    """Make every entry of a manifest a model; default line-ups take those whose weights are here."""
    for entry in manifest(text):
        plugins.model(entry.name, dataset=entry.dataset, published=entry, lacks=_lacks(entry))(_builder(entry))


def _lacks(entry: ManifestEntry) -> Callable[[], str]:
    return lambda: entry.lacks


def _builder(entry: ManifestEntry) -> Callable[[], Loaded]:
    def build() -> Loaded:
        return entry.load()

    build.__doc__ = entry.about
    return build


def convert(network: nn.Module, found: Weights, out: Path) -> str:
    """Write a classifier as a harness checkpoint, which loads fast and without a pickle; its SHA-256.

    The header names the architecture, the file that it was made of and that file's hash.
    Raises HarnessError for a network whose architecture the harness cannot build by itself.
    """
    if "architecture" not in found.details:
        raise HarnessError(
            f"{found.name!r} cannot be converted: its network is not an architecture that a checkpoint can name "
            "(harness list architectures). Its own file is what to keep."
        )
    header = {"original": found.source, "original_sha256": found.sha256, **found.details}
    return write_checkpoint(out, network, header)
