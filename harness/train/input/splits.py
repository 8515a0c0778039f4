"""Open the data that a training reads: its training samples, and the split that it is tested on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from harness import plugins
from harness.data import Subset, open_dataset
from harness.data.folder_contents import check_all_read
from harness.data.opening import SPELLINGS
from harness.train.input import copies
from harness.train.input.copies import WithCopies
from harness.train.input.labels import first_of_each_class, labelled
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError

HELD_OUT = 1024
"""Training images that --select holds out, as in Wang et al. (ICML 2023); a tenth of the images at most."""


def open_split(spec: TrainSpec, split: str) -> Dataset:
    """A split of the data set, at the size of --image-size; raises HarnessError where it is stored at another."""
    data: Any = open_dataset(spec.dataset, split, spec.data)
    check_all_read(data)
    if not spec.image_size or spec.image_size == data.geometry.crop:
        return cast(Dataset, data)
    if not is_resizable(data):
        raise HarnessError(
            f"--image-size {spec.image_size}: {spec.dataset!r} is stored at {data.geometry.crop} pixels. Leave it out."
        )
    return replace(data, geometry=data.geometry.scaled(spec.image_size))


def open_training(spec: TrainSpec) -> Dataset:
    """The training split: those of --limit that are not held out and whose labels may be used.

    With their copies, or generated images, where these are samples too.
    """
    test_folders = _test_folders(spec)
    for folder in spec.data_extra:
        if Path(folder).resolve() in test_folders:
            raise HarnessError(f"--data-extra {folder} holds the data set's own test images. Leave it out.")
    data, _ = _divided(spec)
    if spec.labels < 1 and not spec.consistency_radius:
        labelled_ids = labelled(data.ids, spec.labels, spec.seed, data.labels)
        data = cast(Dataset, Subset(data, tuple(i for i, name in enumerate(data.ids) if name in labelled_ids)))
    if spec.data_extra and spec.extra_as != "terms":
        data = cast(Dataset, WithCopies(data, copies.open_copies(data, spec.data_extra)))
    return data


def open_heldout(spec: TrainSpec) -> Dataset | None:
    """The training images that --select holds out, as many of each class as possible; None without it."""
    return _divided(spec)[1] if spec.select else None


def _divided(spec: TrainSpec) -> tuple[Dataset, Dataset | None]:
    """The training split, or its part of --limit, without the images that --select holds out, and these."""
    data = open_split(spec, "train")
    if spec.limit:
        data = cast(Dataset, Subset(data, first_of_each_class(data.ids, data.labels, spec.limit)))
    if not spec.select:
        return data, None
    count = spec.select_images or min(HELD_OUT, len(data.ids) // 10)
    if not 0 < count < len(data.ids):
        raise HarnessError(
            f"--select must hold out at least 1 and not all of the {len(data.ids)} training images, and would hold out "
            f"{count}. Give another number by --select-images."
        )
    heldout = first_of_each_class(data.ids, data.labels, count)
    rest = sorted(set(range(len(data.ids))) - set(heldout))
    return cast(Dataset, Subset(data, tuple(rest))), cast(Dataset, Subset(data, heldout))


def is_resizable(data: Any) -> bool:
    """True where the data set, or the one that it is a part or an extension of, reads pictures of any size."""
    return is_resizable(data.whole) if hasattr(data, "whole") else hasattr(data, "source")


def _test_folders(spec: TrainSpec) -> set[Path]:
    """Folders that may hold a split other than the training split."""
    if not spec.data:
        return set()
    splits = [name for name in plugins.dataset[spec.dataset].facts.get("splits", ()) if name != "train"]
    names = [spelling for split in splits for spelling in SPELLINGS.get(split, (split,))]
    return {(Path(spec.data) / name).resolve() for name in names}
