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

from harness import plugins
from harness.base import noise, provenance
from harness.base.errors import Notice
from harness.base.files import check_writable, read_limited, sweep, writing
from harness.base.parsing import parse_json
from harness.data import open_dataset, resized
from harness.data.folder_contents import check_all_read
from harness.train.augment.deepaugment import Distorter, configured
from harness.types import Dataset, HarnessError

MANIFEST = "deepaugment.json"
VERSION = 2
"""Raised whenever the same settings would give other images."""


@dataclass(frozen=True)
class CopySpec:
    """Everything that decides the images of a copy.

    dataset, split, data: the images to copy; `data` is the folder of data sets that read one.
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
    """Progress of a copy: images that are there, how many of them this run has made, and images in all."""

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
    """Make the missing images of a copy in `out`.

    shard: (i, n) for the i-th of n processes that share the work. fresh: forget an earlier copy in `out`.
    Raises HarnessError where `out` holds anything else, or a copy made under other settings.
    """
    _, distorter = configured(spec.network)
    distorter.check(spec.dataset)
    data = open_dataset(spec.dataset, spec.split, spec.data)
    check_all_read(data)
    targets = [out / name for name in names(data)]
    made_from = _identity(spec, data, distorter)
    check_writable(out)
    for folder in {target.parent for target in targets} | {out}:
        sweep(folder)
    _claim(out, made_from, fresh)
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
    _write_manifest(out, made_from, "complete" if copied.done == copied.total else "partial", device)
    return copied


def check_usable(out: Path) -> None:
    """Raises HarnessError for an unfinished copy of `harness augment`, and for one of another split than train.

    A finished copy that has lost images counts as unfinished. Folders without the manifest are not checked.
    """
    file = out / MANIFEST
    if not file.is_file():
        return
    try:
        manifest = parse_json(read_limited(file))
        split = manifest["made_from"]["split"]
        finished = manifest["status"] == "complete" and len(list(out.glob("*/*"))) >= manifest["made_from"]["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file} is damaged ({type(error).__name__}: {error}). Make the copy again.") from error
    if split != "train":
        raise HarnessError(f"{out} is a copy of the split {split!r}, not of train. Make one of the training images.")
    if not finished:
        raise HarnessError(f"{out} is a copy that is not finished. Run its harness augment command again: it goes on.")


def _missing(out: Path, targets: list[Path]) -> list[int]:
    present = set(out.glob("*/*.png"))
    return [k for k, target in enumerate(targets) if target not in present]


def _drop_damaged(out: Path) -> None:
    """Remove the images whose files have changed since they were written, with a notice."""
    damaged = [image for image in sorted(out.glob("*/*.png")) if not _is_intact(image)]
    for image in damaged:
        image.unlink()
    if damaged:
        more = f" {len(damaged) - 1} more are damaged, too." if len(damaged) > 1 else ""
        warnings.warn(Notice(f"{damaged[0]} is damaged and is made anew.{more}"), stacklevel=3)


def _is_intact(file: Path) -> bool:
    """True for a PNG whose chunks all have their checksums."""
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
    for row, image in zip(rows, _uncropped(data, rows, distorter.size), strict=True):
        rng = noise.generator(spec.seed, f"{purpose}/activations", data.ids[row])
        with torch.no_grad():
            distorted = distort(distorter.shown(image[None].to(device)), rng)[0].cpu()
        yield row, distorted


def _uncropped(data: Any, rows: Sequence[int], size: int | None) -> Iterator[Tensor]:
    """Images (3, H, W) in [0, 1]: whole pictures, their shorter side at `size`, as the published programs take them.

    Where the network takes any size, the shorter side is the data set's; where there are no pictures, images are as the
    data set has them.
    """
    if not hasattr(data, "picture"):
        yield from data.read(rows).images
        return
    geometry = replace(data.geometry, resize=size or data.geometry.resize, crop=0, interpolation="bilinear")
    for row in rows:
        pixels = resized(data.picture(row), geometry, data.where(row))
        yield torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255


def _write(target: Path, image: Tensor) -> None:
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    with writing(target) as partial:
        Image.fromarray(pixels).save(partial, format="PNG")


def _identity(spec: CopySpec, data: Dataset, distorter: Distorter) -> dict[str, Any]:
    """The settings and hashes that a manifest must agree on, without the places of files."""
    entry = plugins.distorter.of(spec.network)
    weights = distorter.provenance
    identity = {
        **{key: value for key, value in asdict(spec).items() if key != "data"},
        "network": entry.name,
        "settings": {key: getattr(distorter, key) for key in entry.parameters if key != "weights"},
        "weights_sha256": weights.sha256 if weights else None,
        "plugin": entry.source,
        "data_sha256": data.sha256,
        "images": len(data.ids),
        "version": VERSION,
    }
    return dict(json.loads(json.dumps(identity)))  # as it reads in a manifest


def _claim(out: Path, made_from: dict[str, Any], fresh: bool) -> None:
    """Make sure that `out` belongs to this copy: empty, begun under the same settings, or cleared."""
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
        changed = sorted(key for key in made_from.keys() | then.keys() if made_from.get(key) != then.get(key))
        differences = [f"{key}: {then.get(key)} there, {made_from.get(key)} here" for key in changed]
        if differences:
            raise HarnessError(
                f"{file} belongs to a copy with other settings ({'; '.join(differences)}). "
                "Give another --out, or --fresh to start over."
            )
        return
    _write_manifest(out, made_from, "partial", "cpu")


def _write_manifest(out: Path, made_from: dict[str, Any], status: str, device: str) -> None:
    manifest = {"status": status, "made_from": made_from, "environment": provenance.environment(device)}
    with writing(out / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
