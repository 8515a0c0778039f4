"""Finished samples on disk: sealed parts of consecutive samples, in a folder named after all that decides a pixel.

    OUT/.parts/6a5b4c3d2e1f/000100-000150.npy

A part is a .npy file, with a line of JSON on its cost and a seal behind the array. Parts may overlap and have any
length: samples do not depend on it.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.base import sealed

FOLDER = ".parts"
"""Folder of the parts, below that of the samples."""


@dataclass(frozen=True)
class SamplingCost:
    """Time that some samples took. halved: number of times that memory forced a smaller tile."""

    seconds: float = 0.0
    halved: int = 0

    def __add__(self, other: SamplingCost) -> SamplingCost:
        return SamplingCost(self.seconds + other.seconds, self.halved + other.halved)


@dataclass(frozen=True)
class FinishedPart:
    """The samples from `start` to before `stop`. pixels: (stop - start, H, W, 3) uint8."""

    start: int
    stop: int
    pixels: np.ndarray
    cost: SamplingCost


class PartFolder:
    """The parts of one generation. key: the hash of all that decides a pixel. shape: (3, H, W) of a sample."""

    def __init__(self, out: Path, key: str, shape: Sequence[int]) -> None:
        self.path = out / FOLDER / key
        self._shape = (*shape[1:], shape[0])

    def write(self, start: int, pixels: np.ndarray, cost: SamplingCost) -> None:
        """Put samples from number `start` on disk, in full or not at all. pixels: (B, H, W, 3) uint8."""
        file = self.path / f"{start:06d}-{start + len(pixels):06d}.npy"
        content = io.BytesIO()
        np.save(content, pixels)
        content.write(json.dumps(vars(cost)).encode() + b"\n")
        place = content.tell()
        content.write(sealed.BLANK)
        sealed.write(file, bytearray(content.getvalue()), place, self._name(file))

    def lacking(self, samples: int) -> list[int]:
        """Numbers of the samples, of so many, that no intact part holds. A damaged part is reported."""
        there = np.zeros(samples, dtype=bool)
        for file in self._files():
            if part := self._read(file):
                there[part.start : part.stop] = True
        return np.flatnonzero(~there).tolist()

    def covers(self, samples: int) -> bool:
        """True if the names of the files cover so many samples, whether their content is intact or not."""
        there = np.zeros(samples, dtype=bool)
        for file in self._files():
            there[slice(*_range(file))] = True
        return bool(there.all())

    def in_order(self, samples: int) -> Iterator[FinishedPart]:
        """The samples in order, each once; stops before the first one that no intact part holds."""
        position = 0
        for file in self._files():
            start, stop = _range(file)
            if start <= position < stop and (part := self._read(file)):
                end = min(stop, samples)
                yield FinishedPart(position, end, part.pixels[position - start : end - start], part.cost)
                position = end
            if position == samples:
                return

    def clear(self) -> None:
        """Delete the parts."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):  # other generations have parts there, or there are none
            self.path.parent.rmdir()

    def _files(self) -> list[Path]:
        """The files of parts, by their first sample, the longest first."""
        files = [file for file in self.path.glob("*.npy") if re.fullmatch(r"\d{6}-\d{6,7}", file.stem)]
        return sorted(files, key=lambda file: (_range(file)[0], -_range(file)[1]))

    def _read(self, file: Path) -> FinishedPart | None:
        """The part in a file; None if it is damaged, which the user is told, or not of this generation's images."""
        content = sealed.read_or_tell(file, self._name(file))
        if content is None:
            return None
        start, stop = _range(file)
        stream = io.BytesIO(content)
        pixels = np.load(stream, allow_pickle=False)
        cost = SamplingCost(**json.loads(stream.read().removesuffix(content[-len(sealed.BLANK) :])))
        return FinishedPart(start, stop, pixels, cost) if pixels.shape == (stop - start, *self._shape) else None

    def _name(self, file: Path) -> str:
        return f"{self.path.name}/{file.name}"


def _range(file: Path) -> tuple[int, int]:
    start, stop = file.stem.split("-")
    return int(start), int(stop)
