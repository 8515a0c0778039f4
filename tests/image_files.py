"""A tiny data set of encoded images, and its layouts on disk."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("n01440764", "n01530575", "n02099601")
"""Labels 0, 10 and 207 of ImageNet."""

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
"""CIFAR-10's classes but for the last."""


@dataclass(frozen=True)
class File:
    """One image of the tiny data set, encoded."""

    label: str
    name: str
    content: bytes

    @property
    def stem(self) -> str:
        return self.name.partition(".")[0]


def make(count: int = 20, classes: Sequence[str] = CLASSES) -> list[File]:
    """JPEG and PNG files of various shapes, among them grey and CMYK ones; in the order of class and name."""
    random = np.random.default_rng(0)
    files = []
    for k in range(count):
        width, height = (int(side) for side in random.integers(24, 60, 2))
        coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        image = coarse.resize((width, height), Image.Resampling.BICUBIC).convert(("RGB", "L", "RGB", "CMYK")[k % 4])
        ending, options = (".png", {}) if k % 4 == 2 else (".JPEG", {"quality": 90})
        buffer = io.BytesIO()
        image.save(buffer, "PNG" if ending == ".png" else "JPEG", **options)
        label = classes[k % len(classes)]
        files.append(File(label, f"{label}_{k:03d}{ending}", buffer.getvalue()))
    return sorted(files, key=lambda file: (file.label, file.name))


FILES = make()


def as_folder(root: Path, files: Sequence[File] = FILES, split: str = "val") -> Path:
    for file in files:
        path = root / split / file.label / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    return root


def as_parquet(
    root: Path,
    files: Sequence[File] = FILES,
    names: Sequence[str] | None = CLASSES,
    *,
    paths: bool = True,
    images: str = "image",
    label: float | None = None,
) -> Path:
    """Two files with row groups of three; labels are positions in `names`, without these the names themselves."""
    folder = root / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for part, chosen in enumerate((files[:11], files[11:])):
        encoded = [{"bytes": f.content, "path": f.name if paths else None} for f in chosen]
        labels: list[Any] = [names.index(f.label) if names else f.label for f in chosen]
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
        table = pa.table({images: encoded, "label": labels if label is None else [label] * len(chosen)})
        file = folder / f"validation-0000{part}-of-00002.parquet"
        pq.write_table(table.replace_schema_metadata(metadata), file, row_group_size=3)
    return root


def as_tars(root: Path, files: Sequence[File] = FILES, labels: str = "cls", names: Sequence[str] | None = None) -> Path:
    """Two shards; labels in .cls (names, or positions in `names`), in .json, or in the names of folders."""
    root.mkdir(parents=True, exist_ok=True)
    for part, chosen in enumerate((files[:11], files[11:])):
        with tarfile.open(root / f"tiny-validation-{part:04d}.tar", "w") as shard:
            shard.addfile(tarfile.TarInfo("._hidden.jpg"))
            for file in chosen:
                label: Any = names.index(file.label) if names else file.label
                members = {f"{file.label}/{file.name}" if labels == "folder" else file.name: file.content}
                if labels == "cls":
                    members[f"{file.stem}.cls"] = str(label).encode()
                if labels == "json":
                    members[f"{file.stem}.json"] = json.dumps({"width": 5, "label": label}).encode()
                for name, content in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    shard.addfile(info, io.BytesIO(content))
    return root
