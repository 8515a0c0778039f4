"""A plugin file with networks that generate in milliseconds, for tests and for commands with ``--plugin``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import BaseGuide, Guidance, SamplingStep
from harness.diffusion.schedule import linear
from harness.plugins import dataset, denoiser, guide, model
from harness.types import HarnessError, Weights

SIDE, CLASSES = 8, ("ant", "bee", "cat")


class TinyNoise(nn.Module):
    """Predicts noise: a convolution of the image, shifted by the time and the class."""

    def __init__(self, channels: int = 3, classes: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.convolution = nn.Conv2d(3, channels, 3, padding=1)
            self.class_embedding = nn.Embedding(classes, 3) if classes else None

    def forward(self, x: Tensor, t: Tensor, return_dict: bool = False, class_labels: Tensor | None = None) -> Any:
        time.sleep(float(os.environ.get("TINY_SECONDS", "0")))
        if class_labels is not None and self.class_embedding is not None:
            x = x + self.class_embedding(class_labels)[:, :, None, None]
        return (torch.tanh(self.convolution(x) + t.to(x.dtype)[:, None, None, None] / 1000),)


class TinyClassifier(nn.Module):
    """Logits of x_t, and of its denoising where it is told; without a time, of images."""

    def __init__(self, denoised: bool, classes: int = 3, side: int = SIDE) -> None:
        super().__init__()
        self.denoised = denoised
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.head = nn.Linear(3 * side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1))

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        return self(torch.sin(3 * (x_t if x0_hat is None else x_t + x0_hat)))


class TinyPlain(nn.Module):
    """A classifier that knows no time."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyClassifier(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images)


@dataset("tiny", image_size=SIDE, num_classes=len(CLASSES), classes=CLASSES, splits=("train",))
def tiny(split: str) -> Any:
    """Three classes of images of eight pixels."""
    raise HarnessError("no image of it is needed")


def _weights(name: str, **details: Any) -> Weights:
    return Weights(name, f"{name:0<64}".replace("/", "-"), "plugin", {"dataset": "tiny", **details})


@denoiser("tiny", dataset="tiny")
def unconditional() -> tuple[Denoiser, Weights]:
    """Learned variance, no class."""
    return Denoiser(TinyNoise(6), linear()), _weights("tiny")


@denoiser("tiny-fixed")
def fixed() -> tuple[Denoiser, Weights]:
    """No variance, no class."""
    return Denoiser(TinyNoise(), linear()), _weights("tiny-fixed")


@denoiser("tiny-conditional", conditional="tiny")
def conditional() -> tuple[Denoiser, Weights]:
    """With the class or without; its own order of classes is another one."""
    classes = list(reversed(CLASSES))
    weights = _weights("tiny-conditional", classes=classes, arguments={"num_classes": 3})
    return Denoiser(TinyNoise(3, 4), linear(), null_label=3), weights


@denoiser("tiny-needs-class")
def needs_class() -> tuple[Denoiser, Weights]:
    """Never without the class."""
    return Denoiser(TinyNoise(3, 3), linear()), _weights("tiny-needs-class")


@model("tiny/noisy", dataset="tiny", guides="classifier:scale=2")
def noisy() -> tuple[nn.Module, Weights]:
    """Sees x_t."""
    return TinyClassifier(False), _weights("tiny/noisy")


@model("tiny/da", dataset="tiny")
def da() -> tuple[nn.Module, Weights]:
    """Sees x_t and its denoising; its own order of classes is another one."""
    return TinyClassifier(True), _weights("tiny/da", classes=["cat", "ant", "bee"], arguments={"num_classes": 3})


@model("tiny/plain", dataset="tiny", guides="denoised")
def plain() -> tuple[nn.Module, Weights]:
    """Knows no time."""
    return TinyPlain(), _weights("tiny/plain")


@model("tiny/large", dataset="tiny")
def large() -> tuple[nn.Module, Weights]:
    """For images of sixteen pixels."""
    return TinyClassifier(False, side=16), _weights("tiny/large")


@model("tiny/others", dataset="tiny")
def others() -> tuple[nn.Module, Weights]:
    """Of other classes."""
    return TinyClassifier(False, 2), _weights("tiny/others", classes=["dog", "eel"], arguments={"num_classes": 2})


@denoiser("tiny-five")
def five_told() -> tuple[Denoiser, Weights]:
    """Told one of five classes without names."""
    return Denoiser(TinyNoise(3, 5), linear()), _weights("tiny-five", arguments={"num_classes": 5})


@model("tiny/five", dataset="tiny")
def five() -> tuple[nn.Module, Weights]:
    """Of five classes without names."""
    return TinyClassifier(False, 5), _weights("tiny/five", arguments={"num_classes": 5})


@guide("push")
@dataclass(frozen=True)
class Push(BaseGuide):
    """A guide of three lines: the labels, as a gradient."""

    def __call__(self, step: SamplingStep, network: Any) -> Guidance:
        prediction = step.predict(None)
        gradient = self.scale * step.labels[:, None, None, None].expand_as(step.x_t).to(step.x_t)
        return Guidance(prediction.noise, prediction.variance, gradient)
