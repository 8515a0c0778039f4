"""The specification of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.errors import HarnessError

LARGEST_TILE = 2**16
"""Rows per network call; tiles are padded to their size, whatever there is to evaluate."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a number. ``dataclasses.asdict`` of it, given back, is the same run.

    suite, models, methods: canonical names with their settings; a record's own spec holds one model and one method.
    denoiser: name or path, None where no method needs one.
    every: take every k-th test sample; 1 is the whole test set.
    limit: take at most this many samples per condition; 0 is no limit.
    dtype, denoiser_dtype: arithmetic of the classifiers and of the denoiser: float32, bfloat16 or float16.
    tile: rows per network call, whatever the batch; see `harness.networks`.
    compile: the networks went through torch.compile, which changes roundings.
    gradient_tile: rows per gradient of an attack, whatever the batch; no suite without attacks depends on it.
    """

    suite: str
    models: tuple[str, ...]
    methods: tuple[str, ...]
    denoiser: str | None = None
    seed: int = 0
    every: int = 1
    limit: int = 0
    dtype: str = "float32"
    denoiser_dtype: str = "float32"
    tile: int = 100
    device: str = "cpu"
    compile: bool = False
    gradient_tile: int = 16

    def __post_init__(self) -> None:
        if self.every < 1 or self.limit < 0:
            raise HarnessError(f"every={self.every} must be at least 1, limit={self.limit} at least 0.")
        for name, rows in (("tile", self.tile), ("gradient_tile", self.gradient_tile)):
            if not 1 <= rows <= LARGEST_TILE:
                raise HarnessError(f"{name}={rows} must be at least 1 and at most {LARGEST_TILE:,}.")

    @property
    def stride(self) -> str:
        """`every` in words: "every 3rd"."""
        teen = self.every % 100 in (11, 12, 13)
        return f"every {self.every}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(self.every % 10, 'th')}"


def dtype_of(name: str) -> torch.dtype:
    """The torch type of a name, one of the three that the harness computes in; HarnessError for others."""
    try:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    except KeyError:
        raise HarnessError(f"dtype {name!r} must be one of float32, bfloat16, float16.") from None
