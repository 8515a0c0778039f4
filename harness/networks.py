"""How a network is called: the one place that knows about tiles, devices, precision and running out of memory.

A network sees tiles of a fixed number of rows, the last one padded, whatever the batch around it. A row's result is
then bit-equal at any batch size: kernels are chosen by shape, and the shape never changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from harness.types import HarnessError, dtype_of


def autocast(device: str, dtype: str) -> torch.autocast:
    """Mixed precision for half types, nothing for float32."""
    return torch.autocast(torch.device(device).type, dtype=dtype_of(dtype), enabled=dtype != "float32")


def place(network: nn.Module, device: str) -> nn.Module:
    """Ready for inference on a device: evaluation mode, no parameter gradients, channels-last convolutions.

    On a GPU float32 means float32 (no TF32), and kernels are the repeatable ones.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)


@dataclass
class Tiles:
    """Calls functions of (rows, ...) tensors tile by tile.

    size: rows per call.
    multiple: the tile stays a multiple of this when memory forces it down.
    halved: how often the tile was halved; a record with halvings says so.
    """

    size: int
    device: str = "cpu"
    dtype: str = "float32"
    multiple: int = 1
    halved: int = field(default=0, init=False)

    def __call__(self, function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """`function` over (N, ...) tensors, (N, ...) float32 on the CPU; `function` must treat rows independently."""
        pieces, start = [], 0
        while start < len(rows[0]):
            try:
                pieces.append(self._tile(function, [r[start : start + self.size] for r in rows]))
                start += len(pieces[-1])
            except torch.OutOfMemoryError as error:
                self._halve(error)
        return torch.cat(pieces)

    def _tile(self, function: Callable[..., Tensor], rows: list[Tensor]) -> Tensor:
        count = len(rows[0])
        padded = [self._send(torch.cat([r, r[-1:].expand(self.size - count, *r.shape[1:])])) for r in rows]
        with torch.no_grad(), autocast(self.device, self.dtype):
            return function(*padded)[:count].float().cpu()

    def _send(self, rows: Tensor) -> Tensor:
        if rows.ndim == 4:
            return rows.to(self.device, memory_format=torch.channels_last)
        return rows.to(self.device)

    def _halve(self, error: Exception) -> None:
        if self.size < 2 * self.multiple:
            raise HarnessError(
                f"Out of memory on {self.device} even with {self.size} image(s) at a time. "
                "Use a smaller network, --dtype bfloat16, or a device with more memory."
            ) from error
        torch.cuda.empty_cache()
        self.size = self.size // 2 // self.multiple * self.multiple
        self.halved += 1


def finite(values: Tensor, who: str) -> Tensor:
    """The values (B, K), once they have proved to be numbers; `who` made them."""
    bad = int((~values.isfinite()).any(1).sum())
    if bad:
        raise HarnessError(
            f"{who} gave NaN or infinite outputs for {bad} of {len(values)} images. "
            "Check the checkpoint, or use --dtype float32."
        )
    return values


class TiledClassifier:
    """A classifier as methods see it: called in tiles, and never twice on the very same view."""

    def __init__(self, network: nn.Module, tiles: Tiles) -> None:
        self._network = place(network, tiles.device)
        self._tiles = tiles
        self._seen = WeakTensorKeyDictionary()

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, K) float32 on the CPU."""
        if images not in self._seen:
            self._seen[images] = self._tiles(self._network, images)
        logits: Tensor = self._seen[images]
        return logits
