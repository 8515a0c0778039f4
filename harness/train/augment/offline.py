"""A data set's copy under DeepAugment, on disk: one PNG per image, one folder per class, and a manifest.

Every change is keyed: those of weights by (seed, network, number of the group), those of activations by (seed, network,
image). So it does not matter where the work is interrupted, in how many processes it is done, or what is there already.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness import noise, plugins, record
from harness.data import open_dataset, resized
from harness.data.contents import check_counted
from harness.errors import Notice
from harness.files import check_writable, parse_json, read_limited, sweep, writing
from harness.train.augment.deepaugment import Distorter, configured
from harness.types import Dataset, HarnessError

MANIFEST = "deepaugment.json"
VERSION = 2
"""Raised whenever the same settings would give other images."""


@dataclass(frozen=True)
class CopySpec:
    """Everything that decides the images of a copy.

    dataset, split, data: what is copied; `data` is the folder of data sets that read one.
    network: a distorter with its settings, ``noise2net:max_eps=0.5``.
    group: this many consecutive images share one draw of weights. The published program draws anew with probability
        0.05 before each image, which is every 20 on average.
    """

    dataset: str
    network: str
    split: str = "train"
    data: str = ""
    seed: int = 0
    group: int = 20


@dataclass(frozen=True)
class Copied:
    """How far a copy is: images that are there, and how many of them this run has made."""

    done: int
    made: int
    total: int


def copy(
    spec: CopySpec,
    out: Path,
    report: Callable[[Copied], None] = lambda copied: None,
    *,
    shard: tuple[int, int] = (0, 1),
    device: str = "cpu",
    fresh: bool = False,
) -> Copied:
    """Make what is missing of a copy in `out`.

    shard: (i, n) for the i-th of n processes that share the work. fresh: forget an earlier copy in `out`.
    Raises HarnessError where `out` holds anything else, or a copy made under other settings.
    """
    _, distorter = configured(spec.network)
    distorter.check(spec.dataset)
    data = open_dataset(spec.dataset, spec.split, spec.data)
    check_counted(data)
    targets = [out / name for name in names(data)]
    told = _identity(spec, data, distorter)
    check_writable(out)
    for folder in {target.parent for target in targets} | {out}:
        sweep(folder)
    _claim(out, told, fresh)
    _drop_damaged(out)
    missing = _missing(out, targets)
    made = 0
    for group, rows in groupby(missing, lambda k: k // spec.group):
        if group % shard[1] != shard[0]:
            continue
        for k, image in _distorted(spec, data, distorter, group, list(rows), device):
            _write(targets[k], image)
            made += 1
            report(Copied(len(targets) - len(missing) + made, made, len(targets)))
    copied = Copied(len(targets) - len(_missing(out, targets)), made, len(targets))
    _tell(out, told, "complete" if copied.done == copied.total else "partial", device)
    return copied


def check_usable(out: Path) -> None:
    """Raises HarnessError for a copy that `harness augment` has not finished, that has lost images since, or that is of
    another split than the training split; folders without its manifest are as they are.
    """
    file = out / MANIFEST
    if not file.is_file():
        return
    try:
        told = parse_json(read_limited(file))
        split = told["made_from"]["split"]
        finished = told["status"] == "complete" and len(list(out.glob("*/*"))) >= told["made_from"]["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file} is damaged ({type(error).__name__}: {error}). Make the copy again.") from error
    if split != "train":
        raise HarnessError(f"{out} is a copy of the split {split!r}, not of train. Make one of the training images.")
    if not finished:
        raise HarnessError(f"{out} is a copy that is not finished. Run its harness augment command again: it goes on.")


def _missing(out: Path, targets: list[Path]) -> list[int]:
    there = set(out.glob("*/*.png"))
    return [k for k, target in enumerate(targets) if target not in there]


def _drop_damaged(out: Path) -> None:
    """Name and remove the images that are not as they were written."""
    damaged = [image for image in sorted(out.glob("*/*.png")) if not _is_whole(image)]
    for image in damaged:
        image.unlink()
    if damaged:
        more = f" {len(damaged) - 1} more are damaged, too." if len(damaged) > 1 else ""
        warnings.warn(Notice(f"{damaged[0]} is damaged and is made anew.{more}"), stacklevel=3)


def _is_whole(file: Path) -> bool:
    """Whether a PNG is as it was written, by the checksums of its chunks."""
    content, place = file.read_bytes(), 8
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return False
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        kind, end = content[place + 4 : place + 8], place + 8 + size
        if zlib.crc32(content[place + 4 : end]).to_bytes(4, "big") != content[end : end + 4]:
            return False
        place = end + 4
        if kind == b"IEND":
            return place == len(content)
    return False


def names(data: Dataset) -> list[str]:
    """CLASS/IMAGE.png for every image, all different.

    CLASS is the data set's name for it, where it has one, else its number, with zeros in front so that names sort as
    numbers do. IMAGE is the id, with dashes for what separates folders.
    """
    if bool((data.labels < 0).any()):
        raise HarnessError(f"Data set {data.name!r} holds images outside its classes, which have no class folder.")
    classes = class_names(data)
    plain = [f"{classes[label]}/{stem(i)}" for i, label in zip(data.ids, data.labels.tolist(), strict=True)]
    count = Counter(plain)
    return [
        f"{name if count[name] == 1 else name.partition('/')[0] + '/' + quote(i, safe='')}.png"
        for name, i in zip(plain, data.ids, strict=True)
    ]


def class_names(data: Dataset) -> Sequence[str]:
    """The class folders of a copy, in the order of the labels."""
    width = len(str(data.num_classes - 1))
    return getattr(data, "classes", ()) or [f"{c:0{width}d}" for c in range(data.num_classes)]


def stem(sample: str) -> str:
    """The name of a sample's file in a copy, without its ending."""
    return sample.removesuffix(Path(sample).suffix).replace("/", "-")


def _distorted(
    spec: CopySpec, data: Dataset, distorter: Distorter, group: int, rows: list[int], device: str
) -> Iterator[tuple[int, Tensor]]:
    """Rows of one group and their images (3, H, W), at the size that the network gives them."""
    purpose = f"deepaugment/{spec.network.partition(':')[0]}"
    distort = distorter.perturbed(noise.generator(spec.seed, f"{purpose}/weights", str(group)), device)
    for row, image in zip(rows, _whole(data, rows, distorter.size), strict=True):
        rng = noise.generator(spec.seed, f"{purpose}/activations", data.ids[row])
        with torch.no_grad():
            distorted = distort(distorter.shown(image[None].to(device)), rng)[0].cpu()
        yield row, distorted


def _whole(data: Any, rows: Sequence[int], size: int | None) -> Iterator[Tensor]:
    """Images (3, H, W) in [0, 1]: whole pictures, their shorter side at `size`, as the published programs take them.

    Where the network takes any size, the shorter side is the data set's; where there are no pictures, images are as the
    data set has them.
    """
    if not hasattr(data, "picture"):
        yield from data.read(rows).images
        return
    uncropped = replace(data.geometry, resize=size or data.geometry.resize, crop=0, interpolation="bilinear")
    for row in rows:
        pixels = resized(data.picture(row), uncropped, data.where(row))
        yield torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255


def _write(target: Path, image: Tensor) -> None:
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    with writing(target) as partial:
        Image.fromarray(pixels).save(partial, format="PNG")


def _identity(spec: CopySpec, data: Dataset, distorter: Distorter) -> dict[str, Any]:
    """What a manifest must agree on. Where files lie is no part of it: their hashes are."""
    entry = plugins.distorter.of(spec.network)
    weights = distorter.provenance
    told = {
        **{key: value for key, value in asdict(spec).items() if key != "data"},
        "network": entry.name,
        "settings": {key: getattr(distorter, key) for key in entry.parameters if key != "weights"},
        "weights_sha256": weights.sha256 if weights else None,
        "plugin": entry.source,
        "data_sha256": data.sha256,
        "images": len(data.ids),
        "version": VERSION,
    }
    return dict(json.loads(json.dumps(told)))  # as it reads in a manifest


def _claim(out: Path, told: dict[str, Any], fresh: bool) -> None:
    """Make sure that `out` is this copy's: empty, begun under the same settings, or cleared for a fresh start."""
    file = out / MANIFEST
    if not file.is_file():
        if any(not path.name.startswith(".") for path in out.iterdir()):
            raise HarnessError(f"{out} holds files but no {MANIFEST}. Give a new or empty folder with --out.")
    elif fresh:
        for image in out.glob("*/*.png"):
            image.unlink()
    else:
        try:
            then = dict(parse_json(read_limited(file))["made_from"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HarnessError(f"{file} is damaged ({type(error).__name__}: {error}). --fresh starts over.") from error
        changed = sorted(key for key in told.keys() | then.keys() if told.get(key) != then.get(key))
        changed = [f"{key}: {then.get(key)} there, {told.get(key)} here" for key in changed]
        if changed:
            raise HarnessError(
                f"{file} belongs to a copy with other settings ({'; '.join(changed)}). "
                "Give another --out, or --fresh to start over."
            )
        return
    _tell(out, told, "partial", "cpu")


def _tell(out: Path, told: dict[str, Any], status: str, device: str) -> None:
    manifest = {"status": status, "made_from": told, "environment": record.environment(device)}
    with writing(out / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
