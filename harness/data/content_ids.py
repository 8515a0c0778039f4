"""Sample ids from image content: the SHA-256 of the encoded bytes, whatever the layout on disk.

The same files as folders, Parquet or tars then get the same noise, the same order and the same hash, and can be paired.
An image that was encoded anew is another image.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.base import cache
from harness.base.parsing import parse_json
from harness.data.pictures import EncodedImages
from harness.types import BadImage

DIGITS = 20
"""Hexadecimal digits of an id, 80 bits: of two million data sets of a billion images, one has two images of one id."""

THREADS = 8
"""Files that are read at a time."""

UNREADABLE = "unreadable/"
"""Prefix of the id of an image whose bytes cannot be read; its name on disk follows."""


@dataclass(frozen=True, eq=False)
class ByContent:
    """A source whose images have ids by content, and stand in the order of these.

    source: the images as they lie on disk. ids: N different names. places: (N,) int64, position of each in `source`.
    """

    source: EncodedImages
    ids: Sequence[str]
    places: np.ndarray

    @property
    def root(self) -> Path:
        return self.source.root

    @property
    def names(self) -> Sequence[str] | None:
        return self.source.names

    @property
    def targets(self) -> np.ndarray:
        targets: np.ndarray = self.source.targets[self.places]
        return targets

    @property
    def unread(self) -> Sequence[str]:
        return self.source.unread

    def open(self, index: int) -> IO[bytes]:
        return self.source.open(int(self.places[index]))

    def where(self, index: int) -> str:
        return self.source.where(int(self.places[index]))

    def holders(self) -> Iterable[tuple[Path, int]]:
        return self.source.holders()

    def marks(self) -> Iterable[object]:
        """None: the ids identify the images."""
        return ()


def by_content(source: EncodedImages) -> ByContent:
    """A source whose ids are the first digits of the SHA-256 of the images' bytes; equal images are numbered.

    Equal images stand in the order of their labels. The user's cache folder has the hashes by path, size and time.
    """
    digests = _digests(source)
    names = [digest or f"{UNREADABLE}{name}" for digest, name in zip(digests, source.ids, strict=True)]
    labels = [source.names[k] if source.names else k for k in source.targets.tolist()]
    places = sorted(range(len(names)), key=lambda k: (names[k], labels[k]))
    seen: Counter[str] = Counter()
    ids = []
    for place in places:
        seen[names[place]] += 1
        again = seen[names[place]]
        ids.append(names[place] if again == 1 else f"{names[place]}#{again}")
    return ByContent(source, tuple(ids), np.array(places, dtype=np.int64))


def _digests(source: EncodedImages) -> list[str | None]:
    """The ids by content, in the order of the source; None for images that cannot be read."""
    mark = f"ids 1 {os.path.abspath(source.root)}"
    before = _remembered(mark)
    holders = list(source.holders())
    starts = np.cumsum([0, *(count for _, count in holders)]).tolist()

    def look(number: int) -> tuple[str, list[Any]]:
        path, count = holders[number]
        stamp = _stamp(path)
        row = before.get(str(path), [])
        if row[:2] == stamp and len(row[2]) == count:
            return str(path), row
        return str(path), [*stamp, list(_read(source, starts[number], count))]

    with ThreadPoolExecutor(THREADS) as pool:
        rows = dict(pool.map(look, range(len(holders))))
    digests: list[str | None] = [digest for path, _ in holders for digest in rows[str(path)][2]]
    changed = {path: row for path, row in rows.items() if row is not before.get(path) and None not in row[2]}
    if changed:
        cache.store("ids", mark, json.dumps({**before, **changed}).encode())
    return digests


def _remembered(mark: str) -> Mapping[str, list[Any]]:
    """For each file on disk: size, time, and the digests of its images, as the cache has them."""
    content = cache.load("ids", mark)
    with contextlib.suppress(ValueError):
        return dict(parse_json(content)) if content else {}
    return {}


def _stamp(path: Path) -> list[int]:
    """Size and time of a file, zeros if it cannot be examined; taken before it is read."""
    try:
        state = path.stat()
    except OSError:
        return [0, 0]
    return [state.st_size, state.st_mtime_ns]


def _read(source: EncodedImages, start: int, count: int) -> Iterator[str | None]:
    for index in range(start, start + count):
        try:
            with source.open(index) as file:
                yield hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]  # type: ignore[arg-type]
        except (OSError, BadImage):
            yield None
