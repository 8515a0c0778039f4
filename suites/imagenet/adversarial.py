"""Adversarial attacks on ImageNet's validation set, on all of its images or on those of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness.base.files import read_limited
from harness.data import Subset
from harness.plugins import suite
from harness.suites.bases.adversarial.base import Adversarial
from harness.suites.imagenet.base import VALIDATION
from harness.types import Condition, Dataset, HarnessError

EXAMPLE = "n01440764/ILSVRC2012_val_00000293.JPEG"
"""A line of a list, as messages show it."""


@suite("imagenet-adversarial", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetAdversarial(Adversarial):
    """Robust accuracy on every tenth validation image, or on those of a list: --data DIR as for imagenet.

    ids: file with a published name a line, such as n01440764/ILSVRC2012_val_00000293.JPEG. RobustBench's has 5,000,
        helper_files/imagenet_test_image_ids.txt of its package, attacked at linf 4/255 or l2 3.
    """

    radii: ClassVar[Mapping[str, float]] = {"linf": 4 / 255, "l2": 3.0}
    split = "val"
    data: str = ""
    ids: str = ""

    @property
    def every(self) -> int:  # type: ignore[override]
        """Every image of a list, every tenth of all."""
        return 1 if self.ids else 10

    @cached_property
    def _listed(self) -> Sequence[str]:
        """Names of the list's images without folder and suffix, in its order."""
        try:
            lines = read_limited(Path(self.ids)).decode().split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise HarnessError(f"{self.name}: ids={self.ids} cannot be read as text ({error}).") from error
        names = [Path(line.strip()).stem for line in lines if line.strip()]
        if not names:
            raise HarnessError(
                f"{self.name}: ids={self.ids} names no image. Write one published name a line, such as {EXAMPLE}."
            )
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise HarnessError(
                f"{self.name}: ids={self.ids} names {repeated[0]!r} more than once, as {len(repeated)} of its "
                f"{len(set(names)):,} images. Keep one line of each."
            )
        return names

    def conditions(self) -> Sequence[Condition]:
        """One per eps, of as many images as the list names."""
        size = len(self._listed) if self.ids else VALIDATION
        return [Condition(name, threat.norm, size=size) for name, threat in self.threats.items()]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The validation images, or those that the list names; raises HarnessError for names that are not there."""
        data = self.test_images()
        if not self.ids:
            return data
        places: Mapping[str, int] = {Path(name).stem: place for place, name in enumerate(data.ids)}
        if missing := [name for name in self._listed if name not in places]:
            raise HarnessError(
                f"{self.name}: ids={self.ids} names {missing[0]!r}, which is not among the {len(data.ids):,} images of "
                f"{self.data}; {len(missing)} of {len(self._listed)} are not there. Give the folder of the whole "
                "validation set, with the published names."
            )
        return Subset(data, tuple(sorted(places[name] for name in self._listed)))
