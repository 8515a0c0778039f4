"""Images that a suite made, in a file of numpy beside the sample table.

    id, condition  (N,) texts      label  (N,) int64      image  (N, 3, H, W) float32 in [0, 1]

The rows are those of the sample table. ``numpy.load`` reads it, without this project.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.base.errors import HarnessError
from harness.base.files import file_sha256, read_limited, writing
from harness.evaluation.records.parquet import MOST
from harness.evaluation.records.rows import KEYS, Rows

COLUMN = "image"
"""Column of rows on their way to the file: (N, 3 H W), square images."""

SUFFIX = ".npz"


def write(file: Path, rows: Rows) -> dict[str, str]:
    """Put the images of rows on disk; the name and SHA-256 that their record states."""
    flat = np.asarray(rows[COLUMN], dtype=np.float32)
    side = math.isqrt(flat.shape[1] // 3)
    texts = {name: np.asarray(rows[name]).astype(str) for name in ("id", "condition")}
    label = np.asarray(rows["label"])
    with writing(file) as partial, partial.open("wb") as sink:
        np.savez(sink, label=label, image=flat.reshape(-1, 3, side, side), id=texts["id"], condition=texts["condition"])
    return {"file": file.name, "sha256": file_sha256(file)}


def is_beside(stated: Mapping[str, str], record: Path) -> bool:
    """True if the images that a record states lie beside it, unchanged."""
    file = record.with_suffix(SUFFIX)
    return stated.get("file") == file.name and file.is_file() and stated.get("sha256") == file_sha256(file)


def read(file: Path, stated: Mapping[str, str]) -> dict[str, Any]:
    """The arrays of a file, by name; raises HarnessError for one that is missing, other than stated, or damaged."""
    try:
        content = read_limited(file, 2 * MOST)
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}. The adversarial images belong beside their record.") from error
    if hashlib.sha256(content).hexdigest() != stated.get("sha256"):
        raise HarnessError(
            f"{file} holds other images than its record names (SHA-256 differs). Restore it, or run again with "
            "--keep-images."
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in (*KEYS, COLUMN)}
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise HarnessError(f"{file} holds no adversarial images ({type(error).__name__}: {error}).") from error
    images = arrays[COLUMN]
    if images.ndim != 4 or images.dtype != np.float32 or len({len(values) for values in arrays.values()}) > 1:
        raise HarnessError(f"{file} holds images of shape {images.shape} and type {images.dtype}, not (N, 3, H, W).")
    if broken := int((~np.isfinite(images)).any((1, 2, 3)).sum()):
        raise HarnessError(f"{file} holds {broken} images with values that are no numbers, such as NaN.")
    return arrays
