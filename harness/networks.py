"""How a network is called: the one place that knows about tiles, devices, precision and running out of memory.

A network sees tiles of a fixed number of rows, the last one padded, whatever the batch around it. A row's result is
then bit-equal at any batch size: kernels are chosen by shape, and the shape never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from harness.types import FeatureClassifier, HarnessError, dtype_of


def autocast(device: str, dtype: str) -> torch.autocast:
    """Mixed precision for half types, nothing for float32."""
    return torch.autocast(torch.device(device).type, dtype=dtype_of(dtype), enabled=dtype != "float32")


def repeatable() -> None:
    """On a GPU float32 means float32 from now on (no TF32), and kernels are the repeatable ones."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def place(network: nn.Module, device: str, compiled: bool = False) -> nn.Module:
    """Ready for inference on a device: evaluation mode, no parameter gradients, channels-last convolutions.

    On a GPU float32 means float32 (no TF32), and kernels are the repeatable ones.
    compiled: calls of the network go through torch.compile; those of its parts, such as `features`, do not.
    """
    repeatable()
    network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    if compiled:
        # Tiles have one shape: kernels for any shape would be slower, and are what a halved tile would ask for.
        network.compile(dynamic=False)
    return network


def check_compiler(device: str) -> None:
    """Raises HarnessError where torch.compile has no compiler for a device: g++ for the CPU, Triton for a GPU."""
    try:
        torch.compile(lambda x: 2 * x + 1)(torch.ones(8, device=device))
    except Exception as error:  # of Dynamo, Inductor, Triton and the compiler itself
        said = str(error).strip().split("\n")[0][:200]
        raise HarnessError(
            f"--compile: torch.compile does not work here for {device} ({type(error).__name__}: {said}). "
            "Install a C++ compiler (for a GPU also Triton), or leave --compile out."
        ) from error


KEPT = WeakTensorKeyDictionary()
"""Tiles on their devices, by the tensor that they are parts of, then by device, size and start: see `Tiles`."""


@dataclass
class Tiles:
    """Calls functions of (rows, ...) tensors tile by tile.

    size: rows per call.
    multiple: the tile stays a multiple of this when memory forces it down.
    compiled: the networks behind these functions are compiled: see `place`.
    halved: how often the tile was halved; a record with halvings says so.
    asked: the size before that.
    """

    size: int
    device: str = "cpu"
    dtype: str = "float32"
    multiple: int = 1
    compiled: bool = False
    halved: int = field(default=0, init=False)
    asked: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.asked = self.size

    def __call__(self, function: Callable[..., Tensor], *rows: Tensor, keep: bool = False) -> Tensor:
        """`function` over (N, ...) tensors: (N, ...) on the CPU, float32 or, if it returns that, float64.

        It must treat rows independently.
        keep: for the next functions over the very same tensors, their tiles stay on the device as long as they live.
        """
        pieces, start, freed = [], 0, False
        while start < len(rows[0]):
            try:
                pieces.append(self._tile(function, rows, start, keep)[: len(rows[0]) - start])
                start += len(pieces[-1])
            except torch.OutOfMemoryError as error:
                if freed or not KEPT:
                    self._halve(error)
                KEPT.clear()
                freed = True
        return torch.cat(pieces)

    def _tile(self, function: Callable[..., Tensor], rows: tuple[Tensor, ...], start: int, keep: bool) -> Tensor:
        # A network may write into what it is given: that is always a copy.
        sent = [self._kept(r, start).clone() if keep else self._send(r, start) for r in rows]
        with torch.no_grad(), autocast(self.device, self.dtype):
            result = function(*sent)
        if not isinstance(result, Tensor):
            raise NoTensor(result)
        return (result if result.dtype == torch.float64 else result.float()).cpu()

    def _kept(self, rows: Tensor, start: int) -> Tensor:
        tiles: dict[tuple[str, int, int], Tensor] = KEPT.setdefault(rows, {})
        place = self.device, self.size, start
        if place not in tiles:
            tiles[place] = self._send(rows, start)
        return tiles[place]

    def _send(self, rows: Tensor, start: int) -> Tensor:
        """A whole tile on the device, the last one padded; always a copy."""
        rows = rows[start : start + self.size]
        if len(rows) < self.size:
            rows = torch.cat([rows, rows[-1:].expand(self.size - len(rows), *rows.shape[1:])])
        layout = torch.channels_last if rows.ndim == 4 else torch.preserve_format
        # Only CUDA waits for the copy before the memory that it is made from is used again.
        later = self.device.startswith("cuda")
        return rows.to(self.device, memory_format=layout, non_blocking=later, copy=True)

    def _halve(self, error: Exception) -> None:
        if self.size < 2 * self.multiple:
            raise HarnessError(
                f"Out of memory on {self.device} even with {self.size} image(s) at a time. "
                "Use a smaller network, --dtype bfloat16, or a device with more memory."
            ) from error
        torch.cuda.empty_cache()
        self.size = self.size // 2 // self.multiple * self.multiple
        self.halved += 1


class NoTensor(TypeError):
    """A network returned something else than a tensor."""

    def __init__(self, values: Any) -> None:
        expected = "where a tensor (B, K) is expected. Let it return the logits alone"
        super().__init__(f"it returned {described(values)}, {expected}")


def described(values: Any) -> str:
    """What a value is, in words: "a tuple of 2"."""
    if isinstance(values, Tensor):
        return f"a tensor of shape {tuple(values.shape)}"
    if isinstance(values, Mapping):
        return f"a {type(values).__name__} with the keys {', '.join(map(str, values))}"
    if isinstance(values, Sequence) and not isinstance(values, str):
        return f"a {type(values).__name__} of {len(values)}"
    return f"a {type(values).__name__}"


def finite(values: Tensor, who: str, remedy: str = "Check the checkpoint, or use --dtype float32.") -> Tensor:
    """The values (B, K), once they have proved to be numbers; `who` made them."""
    bad = int((~values.isfinite()).any(1).sum())
    if bad:
        raise HarnessError(f"{who} gave NaN or infinite outputs for {bad} of {len(values)} images. {remedy}")
    return values


class TiledClassifier:
    """A classifier as methods see it: called in tiles, and never twice on the very same view."""

    def __init__(self, network: nn.Module, tiles: Tiles) -> None:
        self.network = place(network, tiles.device, tiles.compiled)
        self.tiles = tiles
        self._seen = WeakTensorKeyDictionary()
        self._responses = WeakTensorKeyDictionary()
        self._halves: bool | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, K) float32 on the CPU."""
        if images not in self._seen:
            self._seen[images] = self.tiles(self.network, images, keep=True)
        logits: Tensor = self._seen[images]
        return logits

    def respond(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Penultimate features (B, D) and the logits (B, K) that the head makes of them, in one pass.

        A network that shows no features gives D = 0 and its logits.
        """
        if images not in self._responses:
            width = 0

            def both(x: Tensor) -> Tensor:
                nonlocal width
                features = network.features(x)
                width = features.shape[1]
                return torch.cat([features, network.head(features)], 1)

            network: Any = self.network
            if self._shows_features(images):
                values = self.tiles(both, images, keep=True)
                self._responses[images] = values[:, :width], values[:, width:]
            else:
                self._responses[images] = torch.empty(len(images), 0), self(images)
        found: tuple[Tensor, Tensor] = self._responses[images]
        return found

    def _shows_features(self, images: Tensor) -> bool:
        """Whether `features` and `head` are the two halves of the network; found out once, on a few images.

        Raises HarnessError where they fit together but give other logits than the network.
        """
        network: Any = self.network
        if self._halves is None and isinstance(network, FeatureClassifier):
            few = images[:2]
            try:
                logits = self.tiles(lambda x: network.head(network.features(x)), few)
                self._halves = logits.shape == self(few).shape
            except (RuntimeError, TypeError, ValueError, IndexError):
                # Some networks have attributes of these names that mean something else.
                self._halves = False
            if self._halves and not torch.allclose(logits, self(few), rtol=1e-2, atol=1e-2 * float(logits.abs().max())):
                raise HarnessError("head(features(images)) gives other logits than the model itself. Mend the model.")
        return bool(self._halves)
