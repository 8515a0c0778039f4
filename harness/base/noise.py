"""Random numbers that belong to a sample, not to the order in which samples are visited.

Every draw comes from numpy's Philox, a counter-based generator (Salmon et al., SC 2011), keyed by a hash of
(seed, purpose, sample id, draw). The same sample therefore sees the same noise at any batch size, in any shard, after
any resume and on any device. Drawing happens on the CPU.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

THREADED = 16_384
"""Numbers per row from which rows are drawn in parallel."""


def generator(seed: int, purpose: str, sample: str, draw: int = 0) -> np.random.Generator:
    """The generator of one sample for one purpose.

    purpose: use of the numbers, such as "gaussian_noise/5" or "denoise"; other purposes are independent streams.
    draw: number of a repeated draw for one purpose (a diffusion time, an epoch).
    """
    key = hashlib.blake2b(f"{seed}\0{purpose}\0{sample}\0{draw}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def generators(
    seed: int, purpose: str, samples: Sequence[str], draw: int | Sequence[int] = 0
) -> list[np.random.Generator]:
    """One generator per sample; `draw` may be one for all or one for each."""
    draws = [draw] * len(samples) if isinstance(draw, int) else draw
    return [generator(seed, purpose, sample, k) for sample, k in zip(samples, draws, strict=True)]


def children(rng: np.random.Generator, count: int) -> list[np.random.Generator]:
    """Independent generators keyed by the next numbers of `rng`; the k-th is the same however many there are."""
    keys = rng.integers(2**64, size=(count, 2), dtype=np.uint64)
    return [np.random.Generator(np.random.Philox(key=key)) for key in keys]


def gaussian(
    shape: Sequence[int], *, seed: int, purpose: str, samples: Sequence[str], draw: int | Sequence[int] = 0
) -> Tensor:
    """Standard normal noise (B, *shape) float32, one independent row per sample (and draw)."""
    import torch  # here, so that metrics draw without it

    rows = np.empty((len(samples), *shape), dtype=np.float32)

    def fill(row: np.ndarray, rng: np.random.Generator) -> None:
        rng.standard_normal(out=row, dtype=np.float32)

    rngs = generators(seed, purpose, samples, draw)
    if rows[:1].size < THREADED:
        deque(map(fill, rows, rngs), maxlen=0)
    else:
        # numpy draws without the interpreter's lock: images of 224 pixels come as fast as there are cores.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            deque(pool.map(fill, rows, rngs), maxlen=0)
    return torch.from_numpy(rows)


def integers(low: int, high: int, *, seed: int, purpose: str, samples: Sequence[str], draw: int = 0) -> Tensor:
    """Uniform integers in [low, high), (B,) int64, one per sample."""
    import torch

    return torch.tensor([int(rng.integers(low, high)) for rng in generators(seed, purpose, samples, draw)])
