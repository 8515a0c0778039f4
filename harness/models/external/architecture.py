"""The architecture behind a file's tensors: its library, its number of classes and its image size, from their shapes.

Networks are built without memory, and their shapes compared with those of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import plugins
from harness.base.errors import suggest
from harness.models.files import bounded
from harness.models.files.state_dict import unwrapped
from harness.plugins import Entry
from harness.types import HarnessError

LIBRARIES = ("timm", "torchvision")
"""Families of architectures in which a name without a prefix is looked up, in this order."""
COUNTS = (3, 5)
"""Numbers of classes of the two networks whose comparison shows which tensors depend on it."""
SIDES = (224, 32, 64, 96, 128, 160, 192, 240, 256, 288, 320, 336, 384, 448, 480, 512)
"""Image sizes that are tried for a network whose position embedding has another size than usual."""
COMMON = (
    "timm/resnet18", "timm/resnet34", "timm/resnet50", "timm/resnet101", "timm/wide_resnet50_2",
    "timm/vit_small_patch16_224", "timm/vit_base_patch16_224", "timm/convnext_tiny", "timm/efficientnet_b0",
    "timm/mobilenetv2_100", "torchvision/vit_b_16", "torchvision/mobilenet_v3_large", "torchvision/vgg16",
)  # fmt: skip
"""Architectures that a message suggests where a file's tensors fit one."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Fit:
    """An architecture beside the tensors of a file.

    architecture: name with its library. arguments: of its builder. tensors: those of the file under its names.
    different: names of tensors that only one of the two has, or that differ in shape.
    """

    architecture: str
    entry: Entry
    arguments: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    different: frozenset[str]

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None for an architecture without such an argument."""
        return self.arguments.get("num_classes")

    def build(self) -> nn.Module:
        """The untrained network, no larger than the file explains; raises HarnessError where it cannot be built."""
        elements = sum(tensor.numel() for tensor in self.tensors.values())
        try:
            with bounded.at_most(len(self.tensors), elements), torch.random.fork_rng(devices=[]):
                network: nn.Module = self.entry.build(**self.arguments)
        except HarnessError:
            raise
        except Exception as error:
            raise HarnessError(
                f"Architecture {self.architecture!r} could not be built: {type(error).__name__}: {error}"
            ) from error
        return network


def candidates(name: str) -> list[str]:
    """The architectures that a name may mean: the registered one, or else those of the libraries that have it.

    Raises HarnessError for a name that no one has, and for an architecture of another kind of network.
    """
    prefix, slash, _ = name.partition("/")
    if name in plugins.architecture or (slash and f"{prefix}/NAME" in plugins.architecture.families):
        names = [name]
    else:
        names = [full for library in LIBRARIES if _exists(full := f"{library}/{name}")]
    if not names:
        raise suggest("architecture", name, _all_names())
    if (kind := plugins.architecture[names[0]].facts.get("kind", "classifier")) != "classifier":
        raise HarnessError(f"Architecture {name!r} is of the kind {kind}, where a classifier is expected.")
    return names


def fitted(path: Path, state: Mapping[str, Tensor], name: str, size: tuple[int, int] | None) -> Fit:
    """The first of the `candidates` that fits a file's tensors exactly, or else the one that fits best.

    path: of the file, for messages. size: height and width of the images, if stated.
    """
    fits: list[Fit] = []
    for architecture in candidates(name):
        for fit in _fits(path, state, architecture, size):
            if not fit.different:
                return fit
            fits.append(fit)
    if not fits:
        raise HarnessError(f"Architecture {name!r} could not be built with a number of classes.")
    return min(fits, key=lambda fit: len(fit.different))


def suggestions(path: Path, state: Mapping[str, Tensor]) -> list[str]:
    """Well-known architectures that fit a file's tensors exactly; two at most."""
    names: list[str] = []
    for name in COMMON:
        try:
            names += [name] if any(not fit.different for fit in _fits(path, state, name, None, ())) else []
        except HarnessError:  # a file of several networks
            return []
        if len(names) == 2:
            break
    return names


def _fits(
    path: Path, state: Mapping[str, Tensor], name: str, size: tuple[int, int] | None, sides: tuple[int, ...] = SIDES
) -> Iterator[Fit]:
    """The architecture in each of its variants, with the number of classes that the file's tensors show."""
    entry = plugins.architecture[name]
    elements = sum(tensor.numel() for tensor in state.values())
    for variant in _variants(entry, size, sides):
        first, second = (_shapes(entry, _with_classes(entry, variant, count), len(state), elements) for count in COUNTS)
        if first is None or second is None:
            continue
        tensors = unwrapped(path, state, first.keys())
        arguments = _with_classes(entry, variant, _count(first, second, tensors))
        expected = _shapes(entry, arguments, len(state), elements) or first
        yield Fit(name, entry, arguments, tensors, _different(expected, tensors))


def _variants(entry: Entry, size: tuple[int, int] | None, sides: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Arguments of a builder: the stated image size, the architecture's own, other sizes; without auxiliary heads."""
    family = entry.name.partition("/")[0]
    named = {"timm": "img_size", "torchvision": "image_size"}.get(family)
    named = named or next((key for key in ("img_size", "image_size") if _takes(entry, key)), None)
    if named and size:
        yield {named: size if family == "timm" else size[0]}
    yield {}
    if entry.name in ("torchvision/googlenet", "torchvision/inception_v3"):
        yield {"aux_logits": False}
    if named and not size:
        yield from ({named: side} for side in sides)


def _with_classes(entry: Entry, variant: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {**variant, "num_classes": count} if _takes(entry, "num_classes") else dict(variant)


def _takes(entry: Entry, argument: str) -> bool:
    """True if a builder declares an argument, or takes any."""
    try:
        parameters = signature(entry.build).parameters
    except (TypeError, ValueError):
        return False
    several = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    return argument in parameters or (several and (argument == "num_classes" or "/" not in entry.name))


def _shapes(entry: Entry, arguments: Mapping[str, Any], tensors: int, elements: int) -> Shapes | None:
    """Shapes of a network's tensors by name; None where these arguments build none.

    A network that reads its tensors' numbers while it is built needs memory.
    """
    for device in ("meta", "cpu"):
        try:
            with bounded.at_most(tensors, elements), torch.random.fork_rng(devices=[]), torch.device(device):
                state = entry.build(**arguments).state_dict()
            return {name: tuple(tensor.shape) for name, tensor in state.items()}
        except bounded.TooLarge:
            return None
        except TypeError:  # an argument that it does not take
            return None
        except HarnessError:
            raise
        except Exception:
            if device == "cpu":
                return None
    return None


def _count(first: Shapes, second: Shapes, tensors: Mapping[str, Tensor]) -> int:
    """The number of classes that a file's tensors show; that of the first network where none depends on it."""
    low, high = COUNTS
    for name, shape in first.items():
        other = second.get(name, ())
        own = tuple(tensors[name].shape) if name in tensors else ()
        for small, large, side in zip(shape, other, own, strict=False):
            slope, rest = divmod(large - small, high - low)
            count, remainder = divmod(side - small, slope) if slope > 0 and not rest else (0, 1)
            if not remainder and count + low > 0:
                return count + low
    return low


def _different(expected: Shapes, tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """Names at which shapes and tensors disagree; counters of batches may lack, as old files have none."""
    names = {name for name in expected.keys() ^ tensors.keys() if not name.endswith("num_batches_tracked")}
    return frozenset(names | {n for n in expected.keys() & tensors.keys() if expected[n] != tuple(tensors[n].shape)})


def _exists(name: str) -> bool:
    try:
        plugins.architecture[name]
    except HarnessError:
        return False
    return True


def _all_names() -> list[str]:
    """Names of architectures without their library."""
    import timm
    from torchvision import models

    entries = [entry.name for entry in plugins.architecture.entries() if not entry.facts.get("kind")]
    return list(dict.fromkeys([*entries, *timm.list_models(), *models.list_models(module=models)]))
