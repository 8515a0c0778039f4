"""Call networks in tiles: the one place that handles devices, precision and lack of memory.

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

from harness.models import features
from harness.types import HarnessError, dtype_of


def autocast(device: str, dtype: str) -> torch.autocast:
    """Mixed precision for half types, nothing for float32."""
    return torch.autocast(torch.device(device).type, dtype=dtype_of(dtype), enabled=dtype != "float32")


def repeatable() -> None:
    """Make float32 on a GPU mean float32 from now on (no TF32), with repeatable kernels."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def place(network: nn.Module, device: str, compiled: bool = False) -> nn.Module:
    """Prepare a network for inference: evaluation mode, no parameter gradients, channels-last convolutions.

    See `repeatable` for GPUs. compiled: calls of the network go through torch.compile; those of its parts, such as
    `features`, do not.
    """
    repeatable()
    network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    if compiled:
        # Tiles have one shape. Without this, a halved tile would ask for slower kernels of any shape.
        network.compile(dynamic=False)
    return network


def check_compiler(device: str) -> None:
    """Raise HarnessError if torch.compile has no compiler for a device: g++ for the CPU, Triton for a GPU."""
    try:
        torch.compile(lambda x: 2 * x + 1)(torch.ones(8, device=device))
    except Exception as error:  # of Dynamo, Inductor, Triton and the compiler itself
        reason = str(error).strip().split("\n")[0][:200]
        raise HarnessError(
            f"--compile: torch.compile does not work here for {device} ({type(error).__name__}: {reason}). "
            "Install a C++ compiler (for a GPU also Triton), or leave --compile out."
        ) from error


class TileCache:
    """Tiles that stay on their devices as long as their tensor lives.

    The `Tiles` of one job share one cache: lack of memory anywhere drops all of it.
    """

    def __init__(self) -> None:
        self._tiles = WeakTensorKeyDictionary()

    def of(self, rows: Tensor) -> dict[tuple[str, int, int], Tensor]:
        """The tiles of one tensor, by device, size and first row."""
        tiles: dict[tuple[str, int, int], Tensor] = self._tiles.setdefault(rows, {})
        return tiles

    def clear(self) -> None:
        """Free the memory."""
        self._tiles.clear()

    def __contains__(self, rows: Tensor) -> bool:
        return rows in self._tiles

    def __len__(self) -> int:
        return len(self._tiles)


@dataclass
class Tiles:
    """Calls functions of (rows, ...) tensors tile by tile.

    size: rows per call.
    multiple: a tile that lack of memory halves stays a multiple of this.
    compiled: the networks behind these functions are compiled: see `place`.
    cache: holds the tiles of calls with `keep`; shared with other `Tiles` of the same device.
    halved: number of halvings, which records show.
    asked: the size before any halving.
    """

    size: int
    device: str = "cpu"
    dtype: str = "float32"
    multiple: int = 1
    compiled: bool = False
    cache: TileCache = field(default_factory=TileCache, repr=False, compare=False)
    halved: int = field(default=0, init=False)
    asked: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.asked = self.size

    def __call__(self, function: Callable[..., Tensor], *rows: Tensor, keep: bool = False) -> Tensor:
        """`function` over (N, ...) tensors: (N, ...) on the CPU, float32 or, if it returns that, float64.

        The function must treat rows independently.
        keep: the tiles stay on the device as long as the tensors live, for further functions of the same tensors.
        """
        pieces: list[Tensor] = []
        start, freed = 0, False
        while start < len(rows[0]):
            try:
                pieces.append(self._tile(function, rows, start, keep)[: len(rows[0]) - start])
                start += len(pieces[-1])
            except torch.OutOfMemoryError as error:
                if freed or not self.cache:
                    self._halve(error)
                self.cache.clear()
                freed = True
        return torch.cat(pieces)

    def gradient(self, function: Callable[..., Tensor], images: Tensor, *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (N,) of `function` over images (N, ...) and rows (N, ...), and their gradients by the images (N, ...).

        Both are on the CPU, float32 or, for float64 images, float64. The function must treat rows independently and
        may write into its input. Gradients are exact in float32: there is no mixed precision, whatever `dtype`.
        """

        def differentiate(tile: Tensor, *others: Tensor) -> Tensor:
            with torch.enable_grad(), autocast(self.device, "float32"):
                leaf = tile.requires_grad_()
                values = function(leaf.clone(), *others)
                check_values(values, len(tile))
                (gradient,) = torch.autograd.grad(values.sum(), leaf)
            return torch.cat([values.detach()[:, None].to(gradient), gradient.flatten(1)], 1)

        columns = self(differentiate, images, *rows)
        return columns[:, 0], columns[:, 1:].reshape(images.shape)

    def _tile(self, function: Callable[..., Tensor], rows: tuple[Tensor, ...], start: int, keep: bool) -> Tensor:
        # A network may write into its input, so it gets a copy.
        sent = [self._kept(r, start).clone() if keep else self._send(r, start) for r in rows]
        with torch.no_grad(), autocast(self.device, self.dtype):
            result = function(*sent)
        if not isinstance(result, Tensor):
            raise NoTensor(result)
        return (result if result.dtype == torch.float64 else result.float()).cpu()

    def _kept(self, rows: Tensor, start: int) -> Tensor:
        tiles = self.cache.of(rows)
        place = self.device, self.size, start
        if place not in tiles:
            tiles[place] = self._send(rows, start)
        return tiles[place]

    def _send(self, rows: Tensor, start: int) -> Tensor:
        """One full tile on the device, the last one padded; always a copy."""
        rows = rows[start : start + self.size]
        if len(rows) < self.size:
            rows = torch.cat([rows, rows[-1:].expand(self.size - len(rows), *rows.shape[1:])])
        layout = torch.channels_last if rows.ndim == 4 else torch.preserve_format
        # Only CUDA waits for the copy before its source is used again.
        later = self.device.startswith("cuda")
        return rows.to(self.device, memory_format=layout, non_blocking=later, copy=True)

    def _halve(self, error: Exception) -> None:
        if self.size < 2 * self.multiple:
            small = f"Out of memory on {self.device} even with {self.size} image(s) at a time"
            remedy = "Use a smaller network, --dtype bfloat16, or a device with more memory"
            raise HarnessError(f"{small}. {remedy}.") from error
        torch.cuda.empty_cache()
        self.size = self.size // 2 // self.multiple * self.multiple
        self.halved += 1


class NoTensor(TypeError):
    """A network returned something else than a tensor."""

    def __init__(self, values: Any) -> None:
        expected = "where a tensor (B, K) is expected. Let it return the logits alone"
        super().__init__(f"it returned {described(values)}, {expected}")


def described(values: Any) -> str:
    """Describe a value in words: "a tuple of 2"."""
    if isinstance(values, Tensor):
        return f"a tensor of shape {tuple(values.shape)}"
    if isinstance(values, Mapping):
        return f"a {type(values).__name__} with the keys {', '.join(map(str, values))}"
    if isinstance(values, Sequence) and not isinstance(values, str):
        return f"a {type(values).__name__} of {len(values)}"
    return f"a {type(values).__name__}"


def finite(values: Tensor, who: str, remedy: str = "Check the checkpoint, or use --dtype float32.") -> Tensor:
    """The values (B, K) of `who`, checked; raises HarnessError for NaN and infinity."""
    bad = int((~values.isfinite()).any(1).sum())
    if bad:
        raise HarnessError(f"{who} gave NaN or infinite outputs for {bad} of {len(values)} images. {remedy}")
    return values


def check_values(values: Any, images: int) -> None:
    """Raise HarnessError unless a loss gave one differentiable value per image: a tensor (B,) with a gradient."""
    if not isinstance(values, Tensor) or values.shape != (images,):
        raise HarnessError(f"A loss must give one value per image, ({images},) here; it gave {described(values)}.")
    if not values.requires_grad:
        raise HarnessError(
            "The loss does not depend on the images in a way that can be differentiated: a step on the way from the "
            "images is detached, discrete or under torch.no_grad. Attack with gradient-free queries or by transfer."
        )


GRADIENT_TILE = 16
"""Default rows per gradient: a backward pass holds every activation of its forward pass."""


class TiledClassifier:
    """A classifier as methods and attacks see it: called in tiles, and once per view.

    gradient_tiles: tiles of gradients, of `GRADIENT_TILE` rows by default.
    """

    def __init__(self, network: nn.Module, tiles: Tiles, gradient_tiles: Tiles | None = None) -> None:
        self.network = place(network, tiles.device, tiles.compiled)
        self.tiles = tiles
        self.gradient_tiles = gradient_tiles or Tiles(GRADIENT_TILE, tiles.device, cache=tiles.cache)
        self._logits = WeakTensorKeyDictionary()
        self._responses = WeakTensorKeyDictionary()
        self._shown: features.Shown | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, K) float32 on the CPU."""
        if images not in self._logits:
            self._logits[images] = self.tiles(self.network, images, keep=True)
        logits: Tensor = self._logits[images]
        return logits

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B,) of a loss and gradients (B, 3, H, W) by the images: see `harness.types.GradientClassifier`."""
        return self.gradient_tiles.gradient(lambda x, *others: loss(self.network(x), *others), images, *rows)

    def drawn(self, draw: int) -> TiledClassifier:
        """The classifier itself, which draws nothing at random."""
        return self

    def of(self, rows: Sequence[int]) -> TiledClassifier:
        """The classifier itself, which knows no samples."""
        return self

    def straight_through(self) -> TiledClassifier:
        """The classifier itself, which has no view to go through."""
        return self

    @property
    def undefended(self) -> TiledClassifier:
        """The classifier itself: no method defends it."""
        return self

    def respond(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Penultimate features (B, D) and the head's logits (B, K), in one pass.

        For a network without features, D = 0: `shown` has the reason.
        """
        if images not in self._responses:
            width = 0

            def both(x: Tensor) -> Tensor:
                nonlocal width
                hidden = network.features(x)
                width = hidden.shape[1]
                return torch.cat([hidden, network.head(hidden)], 1)

            network, reason = self.shown(images)
            if not reason:
                values = self.tiles(both, images, keep=True)
                self._responses[images] = values[:, :width], values[:, width:]
            else:
                self._responses[images] = torch.empty(len(images), 0), self(images)
        response: tuple[Tensor, Tensor] = self._responses[images]
        return response

    def shown(self, images: Tensor) -> tuple[Any, str]:
        """The network with `features` and `head`, and the reason why it has none; "" if it has.

        images: (B, 3, H, W), of which the first call looks at a few: see `harness.models.features`.
        """
        if self._shown is None:
            few = Tiles(2 * features.PROBED, self.tiles.device)
            self._shown = features.shown(self.network, images, self.tiles, few)
        return self._shown.network, self._shown.reason

    @property
    def notes(self) -> Sequence[str]:
        """A sentence for records on the layer whose input are the features; none for a network's own."""
        return [self._shown.note] if self._shown and self._shown.note else []
