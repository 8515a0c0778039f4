"""Probes: the outputs of networks and methods for fixed images, taken before the run.

A hash covers files, but neither their imports, constants inside a compiled network, nor a library's change. Therefore
the outputs for fixed images are stored with the parts and in the record, and a resumed run must reproduce them.

The same images, once more and beside others, must give the same outputs: rows that depend on their neighbours or on
chance would depend on the batch, the tile and the shard.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.tiles import described
from harness.types import HarnessError

PROBED = 4
"""Number of probe images: all from the data but the last, which is the first one inverted."""

POOLED = 8
"""Side in pixels to which images among the outputs are averaged before they are stored."""

TOLERANCE = {"float32": (1e-4, 1e-3), "float16": (1e-2, 1e-2), "bfloat16": (5e-2, 5e-2)}
"""Absolute and relative difference up to which outputs count as equal, by arithmetic."""

SUM = 1e-3
"""Distance from one within which all rows must sum to count as probabilities."""


@dataclass(frozen=True, eq=False)
class Probe:
    """The outputs of one pair of classifier and method for fixed images.

    ids: of the images. device: name of the hardware. dtypes: arithmetic of "model", "method" and "denoiser".
    outputs: their outputs, (n, ...) float32; under "images" the images themselves. unknown: reasons why something could
        not be probed, by name.
    """

    ids: tuple[str, ...]
    device: str
    dtypes: Mapping[str, str]
    outputs: Mapping[str, np.ndarray]
    unknown: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As records hold it: float32 numbers, little-endian, in base64."""
        return {
            "ids": list(self.ids),
            "device": self.device,
            "dtypes": dict(self.dtypes),
            "unknown": dict(self.unknown),
            "outputs": {
                name: {
                    "shape": list(values.shape),
                    "float32": base64.b64encode(values.astype("<f4").tobytes()).decode(),
                }
                for name, values in self.outputs.items()
            },
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Probe:
        """The inverse of `to_json`; raises ValueError, KeyError or TypeError for anything else."""
        outputs = {
            name: np.frombuffer(base64.b64decode(stored["float32"], validate=True), "<f4").reshape(stored["shape"])
            for name, stored in dict(values["outputs"]).items()
        }
        dtypes = _texts(values["dtypes"])
        unknown = _texts(values["unknown"])
        return cls(tuple(map(str, values["ids"])), str(values["device"]), dtypes, outputs, unknown)

    def differences(self, other: Probe) -> dict[str, float]:
        """Largest difference to another probe, by name of the output, of outputs that differ by more than rounding.

        Infinite for an output of another shape. Outputs of only one of the two are not compared, nor probes of other
        images.
        """
        if self.ids != other.ids:
            return {}
        differences = {}
        for name in self.outputs.keys() & other.outputs.keys():
            a = self.outputs[name]
            b = other.outputs[name]
            if a.shape != b.shape:
                differences[name] = float("inf")
            elif not _close(a, b, self.dtypes.get(name, "float32")):
                differences[name] = float(np.nanmax(np.abs(a.astype(float) - b)))
        return differences


def _texts(values: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in dict(values).items()}


def _close(a: Any, b: Any, dtype: str) -> bool:
    absolute, relative = TOLERANCE[dtype]
    return bool(np.allclose(np.asarray(a), np.asarray(b), atol=absolute, rtol=relative, equal_nan=True))


def spell(differences: Mapping[str, float]) -> str:
    """Differences in words: ``those of the model (up to 0.37 apart)``."""
    phrases = []
    for name, difference in sorted(differences.items()):
        apart = "of another shape" if difference == float("inf") else f"up to {difference:.2g} apart"
        phrases.append(f"those of the {name} ({apart})")
    return " and ".join(phrases)


def shown(images: Tensor) -> Tensor:
    """Probe images (`PROBED`, 3, H, W), made from one or more images of the data."""
    # Neighbours must differ, and a data set may hold copies of one image.
    others = [images[k % len(images)].roll(k // len(images), -1) for k in range(1, PROBED - 1)]
    return torch.stack([images[0], *others, 1 - images[0]])


def rows_of(some: Tensor, images: Tensor) -> list[int]:
    """Rows of `images` that some of them are: each keeps its noise, whatever is beside it."""
    if len(some) == len(images):
        return list(range(len(images)))
    return [next(row for row, other in enumerate(images) if torch.equal(image, other)) for image in some]


def outputs(
    call: Callable[[Tensor], Tensor],
    images: Tensor,
    who: str,
    *,
    dtype: str = "float32",
    group: int = 1,
    cause: Callable[[], str] = lambda: "",
    each: bool = False,
) -> Tensor:
    """Outputs of `call` for images (B, ...), float32, checked to be the same again, and for a group alone.

    The first and the last group are tried: the one tells of rows after it, the other of rows before it. each: try all.

    who: name for messages. group: number of images that are declared to belong together. cause: a likely reason for
    a failure, in words. Raises HarnessError if an output depends on chance or on other images.
    """
    together = checked(call(images.clone()), who, len(images))
    again = call(images.clone())
    if not _close(together, again, dtype):
        raise HarnessError(
            f"{who} gives other outputs for the same images the second time{cause()}. Its numbers would be a matter of "
            "chance: nothing may be drawn at random in evaluation, or the draws must depend on the image alone."
        )
    starts = range(0, len(images), group) if each else sorted({0, len(images) - group})
    for start in starts:
        rows = slice(start, start + group)
        if not _close(together[rows], call(images[rows].clone()), dtype):
            raise HarnessError(
                f"{who} gives an image another output beside other images than alone{cause()}. Its numbers would "
                "depend on the batch: nothing may be averaged, normalised or ranked over the images of a batch, nor "
                "taken from another one of them."
            )
    return together.float()


def checked(values: Any, who: str, images: int) -> Tensor:
    """The values, if they are a tensor with a row per image; raises HarnessError for anything else."""
    if isinstance(values, Tensor) and values.ndim and len(values) == images:
        return values
    raise HarnessError(f"{who} returned {described(values)} for {images} images, where a tensor (B, K) is expected.")


def cause_in(network: nn.Module) -> str:
    """The first layer that looks at the batch or draws at random in evaluation mode, in words; "" if there is none."""
    for name, layer in network.named_modules():
        kind = f"{type(layer).__name__} {name!r}" if name else type(layer).__name__
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            why = "is in training mode" if layer.training else "has no running statistics"
            return f": its layer {kind} {why}, and normalises by the batch"
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p:
            return f": its layer {kind} is in training mode"
    return ""


def check_logits(values: Tensor, who: str) -> None:
    """Raise HarnessError for outputs (B, K) that are probabilities: another softmax would give other confidences."""
    if values.shape[1] > 1 and bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < SUM).all()):
        raise HarnessError(
            f"{who} gives rows that sum to one: probabilities, where logits are expected. Leave out the last softmax, "
            "or return the logarithm: probabilities.clamp(min=1e-30).log()."
        )


def pooled(images: Tensor) -> Tensor:
    """Images (B, C, H, W) averaged to the stored size, (B, C, at most `POOLED`, at most `POOLED`)."""
    height, width = images.shape[-2:]
    return F.adaptive_avg_pool2d(images.float(), (min(POOLED, height), min(POOLED, width)))
