"""What is evaluated, known by what it does: networks and methods on fixed images, before the run.

A hash covers files; it does not cover what these import, constants inside a compiled network, or a library's change. So
the outputs for fixed images are kept with the parts and in the record, and must be met again where a run goes on.

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

from harness.networks import described
from harness.types import HarnessError

PROBED = 4
"""Images that are shown: those of the data but for the last, which is the first one inverted."""

POOLED = 8
"""Sides to which images among the outputs are averaged before they are kept."""

TOLERANCE = {"float32": (1e-4, 1e-3), "float16": (1e-2, 1e-2), "bfloat16": (5e-2, 5e-2)}
"""By arithmetic, the absolute and the relative difference up to which outputs count as equal."""

SUM = 1e-3
"""How near to one all rows must sum to be taken for probabilities."""


@dataclass(frozen=True, eq=False)
class Probe:
    """What one pair of classifier and method gave for fixed images.

    ids: of the images. device: what computed. dtypes, outputs: for "model", "method" and "denoiser" the arithmetic and
    what each gave, for "images" the images themselves, (n, ...) float32. unknown: what could not be probed, and why.
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
            name: np.frombuffer(base64.b64decode(told["float32"], validate=True), "<f4").reshape(told["shape"])
            for name, told in dict(values["outputs"]).items()
        }
        dtypes, unknown = ({str(k): str(v) for k, v in dict(values[key]).items()} for key in ("dtypes", "unknown"))
        return cls(tuple(map(str, values["ids"])), str(values["device"]), dtypes, outputs, unknown)

    def differences(self, other: Probe) -> dict[str, float]:
        """By name of the output the largest difference to another probe's, where it is more than rounding explains.

        Infinite for an output of another shape. What only one of the two has is not compared, nor are other images.
        """
        if self.ids != other.ids:
            return {}
        found = {}
        for name in self.outputs.keys() & other.outputs.keys():
            mine, theirs = self.outputs[name], other.outputs[name]
            if mine.shape != theirs.shape:
                found[name] = float("inf")
            elif not _close(mine, theirs, self.dtypes.get(name, "float32")):
                found[name] = float(np.nanmax(np.abs(mine.astype(float) - theirs)))
        return found


def _close(a: Any, b: Any, dtype: str) -> bool:
    absolute, relative = TOLERANCE[dtype]
    return bool(np.allclose(np.asarray(a), np.asarray(b), atol=absolute, rtol=relative, equal_nan=True))


def spell(differences: Mapping[str, float]) -> str:
    """Differences in words: ``those of the model (up to 0.37 apart)``."""
    said = [f"those of the {name} ({'of another shape' if d == float('inf') else f'up to {d:.2g} apart'})"
            for name, d in sorted(differences.items())]  # fmt: skip
    return " and ".join(said)


def shown(images: Tensor) -> Tensor:
    """The images to probe with, (`PROBED`, 3, H, W), from up to as many of the data, at least one."""
    # Neighbours that differ: a data set may hold copies of one image.
    others = [images[k % len(images)].roll(k // len(images), -1) for k in range(1, PROBED - 1)]
    return torch.stack([images[0], *others, 1 - images[0]])


def outputs(
    call: Callable[[Tensor], Tensor],
    images: Tensor,
    who: str,
    *,
    dtype: str = "float32",
    group: int = 1,
    cause: Callable[[], str] = lambda: "",
) -> Tensor:
    """What `call` gives for images (B, ...), once it gave the same again, and for the first group of them alone.

    who: for messages. group: images that are declared to belong together. cause: why it may not be so, in words.
    Raises HarnessError where an output depends on chance, or on images beside its own.
    """
    together = checked(call(images.clone()), who, len(images))
    again, alone = call(images.clone()), call(images[:group].clone())
    if not _close(together, again, dtype):
        raise HarnessError(
            f"{who} gives other outputs for the same images the second time{cause()}. Its numbers would be a matter of "
            "chance: nothing may be drawn at random in evaluation, or the draws must depend on the image alone."
        )
    if not _close(together[:group], alone, dtype):
        raise HarnessError(
            f"{who} gives an image another output beside other images than alone{cause()}. Its numbers would depend on "
            "the batch: nothing may be averaged, normalised or ranked over the images of a batch."
        )
    return together.float()


def checked(values: Any, who: str, images: int) -> Tensor:
    """The values, if they are a tensor with a row per image; HarnessError, which says what they are instead."""
    if isinstance(values, Tensor) and values.ndim and len(values) == images:
        return values
    raise HarnessError(f"{who} returned {described(values)} for {images} images, where a tensor (B, K) is expected.")


def cause_in(network: nn.Module) -> str:
    """Which layers of a network look at the batch or draw at random although it is in evaluation mode, in words."""
    for name, layer in network.named_modules():
        kind = f"{type(layer).__name__} {name!r}" if name else type(layer).__name__
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            why = "is in training mode" if layer.training else "has no running statistics"
            return f": its layer {kind} {why}, and normalises by the batch"
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p:
            return f": its layer {kind} is in training mode"
    return ""


def check_logits(values: Tensor, who: str) -> None:
    """Raise HarnessError for outputs (B, K) that are probabilities: softmax over these gives other confidences."""
    if values.shape[1] > 1 and bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < SUM).all()):
        raise HarnessError(
            f"{who} gives rows that sum to one: probabilities, where logits are expected. Leave out the last softmax, "
            "or return the logarithm: probabilities.clamp(min=1e-30).log()."
        )


def pooled(images: Tensor) -> Tensor:
    """Images (B, C, H, W) as they are kept, (B, C, at most `POOLED`, at most `POOLED`)."""
    height, width = images.shape[-2:]
    return F.adaptive_avg_pool2d(images.float(), (min(POOLED, height), min(POOLED, width)))
