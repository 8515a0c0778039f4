"""The architecture behind a file's tensors: its library, its number of classes and its image size, from their shapes.

Networks are built without memory, and their shapes compared with those of the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import plugins
from harness.models.files import bounded
from harness.models.files.state_dict import COUNTER, unwrapped
from harness.models.preprocessing import built_size
from harness.plugins import Entry
from harness.plugins.registry import unknown
from harness.types import HarnessError

LIBRARIES = ("timm", "torchvision")
"""Families of architectures in which a name without a prefix is looked up, in this order."""
COUNTS = (3, 5)
"""Numbers of classes of the two networks whose comparison shows which tensors depend on it."""
PREFIXES = (0, 1, 2, 5)
"""Numbers of tokens in a position embedding beside those of an image: of the class, of distillation, registers."""
COMMON = {
    "timm/resnet18": 102, "timm/resnet34": 182, "timm/resnet50": 267, "timm/resnet101": 522,
    "timm/wide_resnet50_2": 267, "timm/vit_tiny_patch16_224": 152, "timm/vit_small_patch16_224": 152,
    "timm/vit_base_patch16_224": 152, "timm/convnext_tiny": 182, "timm/efficientnet_b0": 311,
    "timm/mobilenetv2_100": 262, "torchvision/vit_b_16": 152, "torchvision/vgg16": 32,
}  # fmt: skip
"""Architectures that a message suggests where a file's tensors fit one, and their tensors without batch counters."""

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
        raise unknown("architecture", name, _all_names())
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
    """Well-known architectures that fit a file's tensors exactly."""
    count = sum(not name.endswith(COUNTER) for name in state)
    try:
        return [
            name
            for name, tensors in COMMON.items()
            if tensors == count and any(not fit.different for fit in _fits(path, state, name, None))
        ]
    except HarnessError:  # a file of several networks
        return []


def _fits(path: Path, state: Mapping[str, Tensor], name: str, size: tuple[int, int] | None) -> Iterator[Fit]:
    """The architecture in each of its variants, with the number of classes that the file's tensors show."""
    entry = plugins.architecture[name]
    elements = sum(tensor.numel() for tensor in state.values())
    variants = deque(_variants(entry, size))
    while variants:
        variant = variants.popleft()
        first, second = (_built(entry, _with_classes(entry, variant, count), len(state), elements) for count in COUNTS)
        if first is None or second is None:
            continue
        tensors = unwrapped(path, state, first.shapes.keys())
        count = _count(first.shapes, second.shapes, tensors)
        arguments = _with_classes(entry, variant, count)
        built = _built(entry, arguments, len(state), elements) or first
        different = _different(built.shapes, tensors)
        yield Fit(name, entry, arguments, tensors, different)
        if len(different) == 1 and built.side and (argument := _size_argument(entry)) and argument not in variant:
            (embedding,) = different
            usual, actual = built.shapes.get(embedding, ()), _shape(tensors, embedding)
            sides = _sides(usual[1], actual[1], built.side) if len(usual) == len(actual) == 3 else ()
            variants.extend({argument: side} for side in sides)


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    return tuple(tensors[name].shape) if name in tensors else ()


def _sides(usual: int, actual: int, side: int) -> Iterator[int]:
    """Image sizes at which a position embedding of `usual` tokens for `side` pixels has the actual number of them."""
    for prefix in PREFIXES:
        roots = [isqrt(max(tokens - prefix, 0)) for tokens in (usual, actual)]
        exact = all(root and root**2 == tokens - prefix for root, tokens in zip(roots, (usual, actual), strict=True))
        if exact and side * roots[1] % roots[0] == 0:
            yield side * roots[1] // roots[0]


def _variants(entry: Entry, size: tuple[int, int] | None) -> Iterator[dict[str, Any]]:
    """Arguments of a builder: the stated image size, the architecture's own; without auxiliary heads."""
    argument = _size_argument(entry)
    if argument and size:
        yield {argument: size[0] if entry.name.startswith("torchvision/") else size}
    yield {}
    if entry.name in ("torchvision/googlenet", "torchvision/inception_v3"):
        yield {"aux_logits": False}


def _size_argument(entry: Entry) -> str | None:
    """The argument by which a builder takes an image size, if it may have one."""
    of_library = {"timm": "img_size", "torchvision": "image_size"}.get(entry.name.partition("/")[0])
    return of_library or next((name for name in ("img_size", "image_size") if _takes(entry, name)), None)


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


@dataclass(frozen=True)
class _Built:
    """Shapes of a network's tensors, and the side of the images that it takes, 0 if it takes any."""

    shapes: Shapes
    side: int


def _built(entry: Entry, arguments: Mapping[str, Any], tensors: int, elements: int) -> _Built | None:
    """A network without memory; None where these arguments build none.

    A network that reads its tensors' numbers while it is built needs memory.
    """
    for device in ("meta", "cpu"):
        try:
            with bounded.at_most(tensors, elements), torch.random.fork_rng(devices=[]), torch.device(device):
                network = entry.build(**arguments)
            shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
            return _Built(shapes, (built_size(network) or (0,))[0])
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
    """Names at which shapes and tensors disagree; batch counters may lack."""
    names = {name for name in expected.keys() ^ tensors.keys() if not name.endswith(COUNTER)}
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
