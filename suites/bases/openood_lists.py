"""Suites on OpenOOD's data folder: its image lists, and checks that they fit together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness.data import ImageList, Place, Recognised, benchmark_classes
from harness.suites.bases.detection import ID, SHIFTED, OpenOOD
from harness.types import Condition, Geometry, HarnessError

SCRIPT = "https://github.com/Jingkang50/OpenOOD/tree/main/scripts/download"
"""OpenOOD's download script."""


@dataclass(frozen=True)
class FromLists(OpenOOD):
    """Base of the suites that read OpenOOD's folder: DIR/benchmark_imglist, DIR/images_largescale, DIR/images_classic.

    classes: number of classes. images: folder of the images; elsewhere: folder of a data set that lies in another one.
    outside_validation: list of the validation images out of distribution.

    data: DIR. full_spectrum: images under covariate shift count as in distribution.
    """

    classes: ClassVar[int]
    geometry: ClassVar[Geometry]
    images: ClassVar[str]
    elsewhere: ClassVar[Mapping[str, str]] = {}
    outside_validation: ClassVar[str]
    data: str = ""
    full_spectrum: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise HarnessError(
                f"{self.name} needs OpenOOD's data folder: --data DIR, with benchmark_imglist in it. "
                f"OpenOOD's script downloads it: {SCRIPT}"
            )

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """The data set's lists: the archive of lists holds those of all, so the images must be there, too."""
        lists = place.below("benchmark_imglist", cls.dataset)
        if "benchmark_imglist" not in place.folders or f"test_{cls.dataset}.txt" not in lists.files:
            return ()
        uses = ["benchmark_imglist", cls.images, *cls.elsewhere.values()]
        try:
            listed = cls(data=str(place.path))._open_list(f"test_{cls.dataset}", False)
            problem = "" if (listed.root / listed.paths[0]).is_file() else f"no {listed.paths[0]} in {listed.root}"
        except HarnessError as error:
            problem = str(error)
        return [Recognised({"data": str(place.path)}, uses, problem=problem)]

    def open(self, condition: Condition, seed: int) -> ImageList:
        """One list; one outside distribution must not hold images or classes of the training data."""
        if condition.group == ID:
            return self._list(f"test_{self.dataset}")
        name = condition.name.partition("/")[2]
        return self._list(f"test_{name}", outside=condition.group != SHIFTED)

    def training(self) -> ImageList:
        """The training list."""
        return self._list(f"train_{self.dataset}")

    def validation(self) -> tuple[ImageList, ImageList]:
        """The validation lists."""
        return self._list(f"val_{self.dataset}"), self._list(self.outside_validation, outside=True)

    def facts(self) -> Mapping[str, str]:
        """A hash of all the lists."""
        lists = [self.open(c, 0) for c in self.conditions()] + [self.training(), *self.validation()]
        return {"lists": hashlib.sha256("".join(d.list_sha256 for d in lists).encode()).hexdigest()[:12]}

    def _list(self, stem: str, outside: bool = False) -> ImageList:
        if stem not in self._lists:
            self._lists[stem] = self._open_list(stem, outside)
            if outside:
                self._check_outside(self._lists[stem])
        return self._lists[stem]

    @cached_property
    def _lists(self) -> dict[str, ImageList]:
        """Lists read so far, once all files are known to be there: ImageNet's have a million lines."""
        stems = [f"{split}_{self.dataset}" for split in ("train", "val", "test")] + [self.outside_validation]
        stems += [f"test_{c.name.partition('/')[2]}" for c in self.conditions() if c.group != ID]
        missing = [f"{stem}.txt" for stem in stems if not (self._folder / f"{stem}.txt").is_file()]
        if missing:
            raise HarnessError(
                f"{self._folder} lacks {', '.join(missing)}. Unpack OpenOOD's benchmark_imglist into --data DIR; "
                f"OpenOOD's script downloads it: {SCRIPT}"
            )
        return {}

    @property
    def _folder(self) -> Path:
        return Path(self.data) / "benchmark_imglist" / self.dataset

    def _open_list(self, stem: str, outside: bool) -> ImageList:
        name = stem.partition("_")[2]
        geometry = self.geometry
        if name == "imagenet_c":
            # Stored as 224-pixel crops, which OpenOOD takes as they are.
            geometry = replace(geometry, resize=None)
        return ImageList(
            name=self.dataset,
            file=self._folder / f"{stem}.txt",
            root=Path(self.data) / self.elsewhere.get(name, self.images),
            num_classes=self.classes,
            geometry=geometry,
            outside=outside,
            classes=benchmark_classes(self.dataset),
        )

    @cached_property
    def _inside_paths(self) -> set[str]:
        """Paths of all images in distribution."""
        lists = [self._list(f"{split}_{self.dataset}") for split in ("train", "val", "test")]
        return {path for images in lists for path in images.paths}

    @cached_property
    def _inside_folders(self) -> set[str]:
        """Names of the training data's class folders."""
        return {Path(path).parent.name for path in self.training().paths}

    def _check_outside(self, data: ImageList) -> None:
        for path in data.paths:
            if path in self._inside_paths or Path(path).parent.name in self._inside_folders:
                raise HarnessError(
                    f"{data.file} is meant to lie outside {self.dataset}, but {path} is one of its images or classes. "
                    "Restore the list from OpenOOD's benchmark_imglist."
                )
