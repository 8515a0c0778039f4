"""Images as a network expects them: normalisation, size and order of the channels.

Stated by the user, or by the network's own configuration; the user's word counts, and a contradiction is said.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from harness.models.classifier import fitted
from harness.types import HarnessError

INTERPOLATIONS = ("bilinear", "bicubic")
"""Ways of resizing images to the size that a network expects."""
LARGEST = 2**12
"""Largest side of an image in pixels."""
SAME = 1e-3
"""Difference up to which two means or standard deviations are one: configurations round them."""
SIDE = 64
"""Side in pixels of the images that measure an image processor."""
WRAPPERS = (nn.DataParallel, DistributedDataParallel, AveragedModel)
"""Modules of torch that keep a network, with the same inputs and outputs, as their `module`."""


@dataclass(frozen=True)
class Preprocessing:
    """Statements about a network's images; None and empty where there is none.

    mean, std: of each channel, for images in [0, 1].
    image_size: height and width; images of other sizes are resized to it, inside the network.
    interpolation: "bilinear" or "bicubic", antialiased.
    accepted: further sizes that enter unchanged.
    bgr: True where blue is the first channel.
    Raises HarnessError for numbers that cannot be meant.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None
    interpolation: str | None = None
    accepted: tuple[tuple[int, int], ...] = ()
    bgr: bool = False

    def __post_init__(self) -> None:
        for name, low in (("mean", 0.0), ("std", 1e-6)):
            values = getattr(self, name)
            if values is not None and not _channels(values, low):
                raise HarnessError(
                    f"{name}={_spelled(values)} must be three numbers from {low:g} to 1, for channels in [0, 1]. "
                    "Divide numbers for pixels from 0 to 255 by 255."
                )
        if self.image_size and not _sides(self.image_size):
            raise HarnessError(f"image_size={_spelled(self.image_size)} must be one or two sides from 1 to {LARGEST}.")
        if self.interpolation not in (None, *INTERPOLATIONS):
            raise HarnessError(f"interpolation={self.interpolation} must be one of {', '.join(INTERPOLATIONS)}.")

    @classmethod
    def of(cls, network: nn.Module) -> Preprocessing:
        """Statements of the network's own configuration: timm's, or transformers' image processor.

        Torch's plain modules state nothing but the size of a vision transformer.
        """
        network = bare(network)
        config = getattr(network, "pretrained_cfg", None)
        if isinstance(config, Mapping) and config.get("mean"):
            return cls._of_timm(config, built_size(network))
        processor = getattr(network, "image_processor", None)
        if processor is not None:
            return cls.of_processor(processor, built_size(network))
        return cls(image_size=built_size(network))

    @classmethod
    def _of_timm(cls, config: Mapping[str, Any], built: tuple[int, int] | None) -> Preprocessing:
        stated = [_pair(config[key][1:]) for key in ("input_size", "test_input_size") if config.get(key)]
        sizes = [size for size in dict.fromkeys([built] if built else stated) if size]
        interpolation = config.get("interpolation")
        return cls(
            mean=tuple(map(float, config["mean"])),
            std=tuple(map(float, config["std"])),
            image_size=sizes[0] if sizes else None,
            interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
            accepted=tuple(sizes[1:]),
        )

    @classmethod
    def of_processor(cls, processor: Any, built: tuple[int, int] | None = None) -> Preprocessing:
        """Effect of an image processor of transformers, measured on images of one colour each.

        Its crop belongs to the data: images enter at the size that it hands on. built: the size that the network was
        built for, which counts. Raises HarnessError for anything but resizing, cropping and a linear map per channel.
        """
        black, grey, white, red = (
            _shown(processor, colour) for colour in ((0,) * 3, (51,) * 3, (255,) * 3, (255, 0, 0))
        )
        (_, height, width), centre = black.shape, (slice(None), black.shape[1] // 2, black.shape[2] // 2)
        slope = (white - black)[centre]
        if not torch.allclose(grey[centre], black[centre] + slope / 5, atol=1e-4) or not bool((slope > 0).all()):
            raise HarnessError(
                f"{type(processor).__name__} does more to an image than a mean and a std per channel. Load the network "
                "in a plugin file (see docs/extend.md)."
            )
        bgr = bool((red - black)[centre][2] > 0)
        mean, std = ((-black[centre] / slope).tolist(), (1 / slope).tolist())
        return cls(
            mean=tuple(round(value, 6) + 0.0 for value in (mean[::-1] if bgr else mean)),
            std=tuple(round(value, 6) for value in (std[::-1] if bgr else std)),
            image_size=built or (height, width),
            interpolation={2: "bilinear", 3: "bicubic"}.get(int(getattr(processor, "resample", 0) or 0)),
            bgr=bgr,
        )

    def contradictions(self, own: Preprocessing) -> list[str]:
        """Sentences on settings that differ from the network's own, one each."""
        sentences = []
        for setting in fields(Preprocessing)[:4]:
            mine, theirs = getattr(self, setting.name), getattr(own, setting.name)
            if mine is None or theirs is None or _same(mine, theirs) or mine in own.accepted:
                continue
            sentences.append(
                f"{setting.name}={_spelled(mine)} was stated, and the network's own configuration says "
                f"{_spelled(theirs)}: the stated one counts."
            )
        return sentences


class Preprocessed(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to logits (B, K): resized where needed, normalised, and then shown to `body`.

    mean, std: buffers, for channels in [0, 1] in the order red, green, blue. sizes, interpolation: see
    `harness.models.classifier.fitted`. bgr: hand blue over as the first channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        sizes: Sequence[tuple[int, int]] = (),
        interpolation: str = "bicubic",
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.body, self.sizes, self.interpolation, self.bgr = body, sizes, interpolation, bgr
        self.register_buffer("mean", torch.tensor(list(mean)).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(3, 1, 1))

    def preprocess(self, images: Tensor) -> Tensor:
        """The images as `body` sees them."""
        normalised = (fitted(images, self.sizes, self.interpolation) - self.mean) / self.std
        return normalised.flip(1) if self.bgr else normalised

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(self.body(self.preprocess(images)))


def logits_of(output: Any) -> Tensor:
    """The logits in what a network returns: the tensor itself, or the field of that name, as in transformers."""
    return cast(Tensor, output if isinstance(output, Tensor) else getattr(output, "logits", output))


def wrapped(
    network: nn.Module, stated: Preprocessing, own: Preprocessing
) -> tuple[nn.Module, dict[str, Any], list[str]]:
    """A classifier of images in [0, 1], the details for its record, and contradictions between the two, as sentences.

    stated: the user's word, which counts. own: the network's configuration. Details: mean, std, sizes, interpolation,
    and under "notes" sentences on what was assumed because neither says it.
    """
    mean, std = stated.mean or own.mean, stated.std or own.std
    notes = []
    missing = [name for name, values in (("mean", mean), ("std", std)) if values is None]
    if missing:
        notes.append(
            f"Nothing states the {' and '.join(missing)} of the images that the network was trained on: mean 0 and std "
            "1 were taken, which leaves pixels in [0, 1]."
            if len(missing) == 2
            else f"Nothing states the {missing[0]} of the images that the network was trained on: "
            f"{0 if missing == ['mean'] else 1} was taken."
        )
    mean, std = mean or (0.0,) * 3, std or (1.0,) * 3
    accepted = () if stated.image_size else own.accepted
    size = stated.image_size or own.image_size
    sizes = [size, *accepted] if size else []
    interpolation = stated.interpolation or own.interpolation or "bicubic"
    details: dict[str, Any] = {"mean": list(mean), "std": list(std)}
    details |= {"sizes": [list(pair) for pair in sizes], "interpolation": interpolation} if sizes else {}
    details |= {"channels": "bgr"} if own.bgr else {}
    details |= {"notes": notes} if notes else {}
    classifier = Preprocessed(network, mean, std, sizes, interpolation, own.bgr)
    return classifier.train(network.training), details, stated.contradictions(own)


def bare(network: nn.Module) -> nn.Module:
    """The network inside the wrappers of torch.compile, of parallel training and of averaged weights."""
    while is_wrapper(network):
        network = cast(nn.Module, network.module if isinstance(network, WRAPPERS) else network._orig_mod)
    return network


def is_wrapper(network: nn.Module) -> bool:
    """True for a module of torch around a network; a user's own module called `module` may normalise images."""
    # Its import takes seconds; without it no network is compiled.
    dynamo: ModuleType | None = sys.modules.get("torch._dynamo.eval_frame")
    return isinstance(network, WRAPPERS) or (dynamo is not None and isinstance(network, dynamo.OptimizedModule))


def built_size(network: nn.Module) -> tuple[int, int] | None:
    """The only size that a vision transformer takes, from timm's patch embedding or torchvision's attribute."""
    patches = getattr(network, "patch_embed", None)
    if getattr(patches, "strict_img_size", False):
        return _pair(getattr(patches, "img_size", None))
    config = getattr(network, "config", None)  # of transformers
    return _pair(getattr(network, "image_size", None) or getattr(config, "image_size", None))


def _shown(processor: Any, colour: tuple[int, ...]) -> Tensor:
    """An image of one colour behind an image processor, (3, H, W)."""
    image = np.broadcast_to(np.array(colour, np.uint8), (SIDE, SIDE, 3)).copy()
    return cast(Tensor, processor(images=image, return_tensors="pt")["pixel_values"][0]).float()


def _pair(size: Any) -> tuple[int, int] | None:
    """Height and width, from both or from one side; None for anything else."""
    if isinstance(size, int) and not isinstance(size, bool):
        return (size, size)
    if isinstance(size, Sequence) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return (int(size[0]), int(size[1]))
    return None


def _channels(values: Sequence[float], low: float) -> bool:
    return len(values) == 3 and all(isfinite(value) and low <= value <= 1 for value in values)


def _sides(size: Sequence[int]) -> bool:
    return len(size) == 2 and all(1 <= side <= LARGEST for side in size)


def _same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, str):
        return bool(mine == theirs)
    return all(abs(a - b) <= SAME for a, b in zip(mine, theirs, strict=True))


def _spelled(values: Any) -> str:
    return values if isinstance(values, str) else ",".join(f"{value:g}" for value in values)
