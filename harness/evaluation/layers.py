"""Layers of a network by name: their outputs for some images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.base.errors import suggest
from harness.models.hooks import hooked
from harness.models.tiles import Tiles, described
from harness.types import Unsuited


def outputs(network: nn.Module, images: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
    """Outputs (R, ...) of layers for images (R, 3, H, W), in the order of the names, from one pass.

    names: as `named_modules` has them, such as "layer3" or "blocks.5.norm1"; what lies around the network, such as
    normalisation and another order of classes, need not be named. A layer that is called several times gives its last
    output. Raises `Unsuited` for names that no layer has, and for layers that give anything but a tensor of R rows.
    """
    layers = {name: find(network, name) for name in names}
    values: dict[str, Any] = {}
    with hooked(layers, lambda name, layer, inputs, output: values.__setitem__(name, output)):
        network(images)
    return tuple(_checked(name, values.get(name), len(images)) for name in names)


def tiled(tiles: Tiles, network: nn.Module, images: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
    """The same in tiles, on the CPU, for any number of images."""
    shapes: list[torch.Size] = []

    def side_by_side(x: Tensor) -> Tensor:
        values = outputs(network, x, names)
        shapes[:] = [value.shape[1:] for value in values]
        return torch.cat([value.reshape(len(x), -1) for value in values], 1)

    rows = tiles(side_by_side, images)
    pieces = rows.split([shape.numel() for shape in shapes], 1)
    return tuple(piece.reshape(-1, *shape) for piece, shape in zip(pieces, shapes, strict=True))


def find(network: nn.Module, name: str) -> nn.Module:
    """The layer of that name: the outermost module whose full name is or ends with it."""
    paths = {path: module for path, module in network.named_modules() if path == name or path.endswith(f".{name}")}
    depth = min((path.count(".") for path in paths), default=0)
    outermost = [path for path in paths if path.count(".") == depth]
    if len(outermost) == 1:
        return paths[outermost[0]]
    if outermost:
        raise Unsuited(f"several layers are called {name!r}. Name one in full: {', '.join(outermost)}.")
    inner = network
    # Normalisation or another order of classes around the network need not be named.
    while len(below := list(inner.children())) == 1 and list(below[0].children()):
        inner = below[0]
    choices = [path for path, _ in inner.named_modules() if path]
    raise Unsuited(str(suggest("layer", name, choices, " of the model")))


def _checked(name: str, values: Any, images: int) -> Tensor:
    if not isinstance(values, Tensor) or not values.ndim or len(values) != images:
        problem = "was not called" if values is None else f"gave {described(values)}"
        raise Unsuited(f"layer {name!r} {problem}, where a tensor ({images}, ...) is expected. Choose another layer.")
    return values
