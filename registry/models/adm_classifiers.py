"""OpenAI's noisy classifiers, from local files: in the weights folder by name, or anywhere with a file's name.

They know the 1,000 classes of ImageNet in the usual order. No fact "dataset": made for diffused images, they are no
default models of suites that show plain ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from harness.diffusion.adm.classifier_checkpoint import load
from harness.diffusion.adm.classifier_flags import ClassifierFlags
from harness.diffusion.adm.published import GUIDED, published_by_openai
from harness.models.published.locate import WeightFiles, chosen
from harness.plugins import model
from harness.types import HarnessError, Weights

DEPTHS = {64: 4, 128: 2, 256: 2, 512: 2}
"""Residual blocks per level of the published classifiers, by image size."""

SCHEDULES = {64: "cosine", 128: "linear", 256: "linear", 512: "linear"}
"""Noise schedules, of 1000 times, with which the README of guided-diffusion samples under them."""

CLASSES = 1000
"""Outputs of the published classifiers."""


def _register(image_size: int, depth: int) -> None:
    name, words = f"adm{image_size}-classifier", f"Noisy classifier of ImageNet at {image_size}x{image_size}"
    published = published_by_openai(name, words, "jul-2021", f"{image_size}x{image_size}_classifier.pt", GUIDED)
    flags = ClassifierFlags(image_size=image_size, classifier_depth=depth)
    remedy = "Give another file as --model adm-classifier:file=X.pt."

    def build(weight_files: WeightFiles) -> tuple[nn.Module, Weights]:
        path = published.locate(weight_files)
        if path.suffix != ".safetensors":
            ClassifierFlags.of(chosen(path)[0], asdict(flags))  # raises HarnessError if the file beside it disagrees
        network, info = load(path, flags)
        if (outputs := info.details["arguments"]["num_classes"]) != CLASSES:
            raise HarnessError(f"{path} has {outputs} outputs, {name} has the {CLASSES} classes of ImageNet. {remedy}")
        network.noise_schedule = SCHEDULES[image_size], 1000
        origin = {"dataset": "imagenet", "name": name, "origin": GUIDED, "licence": published.licence}
        return network, replace(info, name=name, details={**origin, **info.details})

    build.__doc__ = f"{words}, made to guide; it takes x_t and the time (Dhariwal & Nichol, NeurIPS 2021)."
    model(name, published=published)(build)


for _image_size, _depth in DEPTHS.items():
    _register(_image_size, _depth)


@model("adm-classifier")
@dataclass(frozen=True, init=False)
class AnyAdmClassifier(ClassifierFlags):
    """Any noisy classifier of guided-diffusion, adm-classifier:file=X.pt,classifier_width=64; other flags from X.json.

    Default flags are the 256x256 classifier's. file: X.pt, or X.pt#PART if it holds several networks.
    """

    file: str = ""
    settings: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __init__(self, file: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        object.__setattr__(self, "file", file)
        object.__setattr__(self, "settings", settings)

    def __call__(self) -> tuple[nn.Module, Weights]:
        """The classifier and its provenance."""
        if not self.file:
            raise HarnessError(
                "--model adm-classifier names no file. Write adm-classifier:file=X.pt and the flags that differ from "
                "the defaults."
            )
        path, _ = chosen(Path(self.file))
        if path.suffix == ".safetensors":
            return load(Path(self.file), ClassifierFlags(**self.settings))
        flags, beside = ClassifierFlags.of(path, self.settings)
        return load(Path(self.file), flags, beside)
