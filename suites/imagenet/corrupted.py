"""Corrupted copies of ImageNet's validation set, as published: DIR/CORRUPTION/SEVERITY/WNID/*.JPEG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from harness.data import Place, Recognised, StoredPictures, corruptions, plain
from harness.plugins import suite
from harness.suites.bases.corrupted import SEVERITIES, FifteenAndFour, Severities
from harness.suites.imagenet.base import CROPPED, ORIGINAL, PUBLISHED, VALIDATION, FromImageNet, wnids
from harness.types import Condition, Geometry, HarnessError

ALEXNET = dict(
    zip(
        corruptions.STANDARD,
        (
            0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816, 0.826572, 0.819324,
            0.564592, 0.853204, 0.646056, 0.717840, 0.606500,
        ),
        strict=True,
    )
)  # fmt: skip
"""AlexNet's error rate per corruption, the mean over all five severities: Hendrycks & Dietterich (ICLR 2019), to six
digits from google-research/augmix, imagenet.py."""


@dataclass(frozen=True)
class CorruptedCopies(FromImageNet, Severities):
    """Base of the suites of corrupted copies of the validation set. A subclass names the corruptions.

    distinct: no other data set has corruptions of these names. further: corruptions that may lie beside these.
    """

    layout: ClassVar[str] = "CORRUPTION/SEVERITY/WNID/*.JPEG, severities 1 to 5"
    official: ClassVar[Geometry] = CROPPED
    suffix: ClassVar[str] = ORIGINAL
    size: ClassVar[int] = VALIDATION
    shown: ClassVar[Sequence[tuple[str, str]]] = (
        *((name, "mean") for name in ("mean_accuracy", "mean_error", "mce", "ece", "nll")),
        ("accuracy", "clean"),
    )

    distinct: ClassVar[bool] = True
    further: ClassVar[Sequence[str]] = ()

    def __post_init__(self) -> None:
        Severities.__post_init__(self)
        FromImageNet.__post_init__(self)

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """Some of the corruptions' folders, each with severities, right in the folder or in those of the archives."""
        names = {*cls(data=str(place.path)).corruptions(), *cls.further}
        groups = [top for top in cls.tops if top in place.folders and plain(top) != plain(cls.name)]
        levels: list[Place] = []
        uses: list[str] = []
        for group in ("", *groups):
            folder = place.below(group) if group else place
            corrupted = [name for name in folder.folders if name in names and _severities(folder.below(name))]
            levels += [folder.below(name, _severities(folder.below(name))[0]) for name in corrupted]
            uses += ([group] if group else corrupted) if corrupted else []
        classes = levels[0].classes if levels else None
        if classes is None or not set(classes.names) <= set(wnids()):
            return ()
        is_certain = cls.distinct or classes.example.startswith(PUBLISHED)
        doubt = "" if is_certain else "other data sets have corruptions of the same names, such as Tiny-ImageNet-C"
        return [Recognised({"data": str(place.path)}, uses, doubt)]

    def shifted(self) -> Sequence[Condition]:
        """Every corruption at every severity."""
        return Severities.conditions(self)

    def images(self, condition: Condition) -> StoredPictures:
        """One corruption at one severity; all must show the same images."""
        if condition == self.shifted()[0]:
            return self._first
        data, first = self._copy(condition), self._first
        if data.ids != first.ids:
            unmatched = sorted(set(data.ids) ^ set(first.ids))
            raise HarnessError(
                f"{data.source.root} and {first.source.root} must hold the same images, but {len(unmatched)} are in "
                f"one of them only, such as {unmatched[0]}. Complete the copy."
            )
        return data

    @cached_property
    def _first(self) -> StoredPictures:
        return self._copy(self.shifted()[0])

    def _copy(self, condition: Condition) -> StoredPictures:
        return self.classes(self.place(condition.group, str(condition.severity)))


def _severities(place: Place) -> list[str]:
    """The severities that a corruption's folder has, as its sub-folders are called."""
    return [name for name in map(str, SEVERITIES) if name in place.folders]


@suite("imagenet-c", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetC(CorruptedCopies, FifteenAndFour):
    """ImageNet-C as published (Hendrycks & Dietterich, ICLR 2019): --data DIR with CORRUPTION/SEVERITY/WNID/*.JPEG.

    mCE, relative to AlexNet's published error rates, is defined at all five severities together.
    """

    distinct = False
    further = corruptions.EXTRA
    tops = ("imagenet-c", "ImageNet-C", "noise", "blur", "weather", "digital", "extra")

    def reference(self) -> Mapping[str, float] | None:
        """AlexNet's rates, which are means over the severities."""
        if self.severity != SEVERITIES:
            return None
        return {c.name: ALEXNET[c.group] for c in self.shifted() if c.scored}


@suite("imagenet-c-bar", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetCBar(CorruptedCopies):
    """Ten corruptions unlike those of ImageNet-C (Mintun et al., NeurIPS 2021), as published: same layout."""

    tops = ("imagenet_c_bar", "ImageNet-C-Bar")

    def corruptions(self) -> Mapping[str, bool]:
        """In the order and spelling of the authors, "cocentric" included."""
        names = (
            "blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout", "cocentric_sine_waves",
            "inverse_sparkles", "perlin_noise", "plasma_noise", "single_frequency_greyscale", "sparkles",
        )  # fmt: skip
        return dict.fromkeys(names, True)


@suite("imagenet-3dcc", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNet3DCC(CorruptedCopies):
    """Twelve corruptions made with the scene's depth (Kar et al., CVPR 2022), as published: same layout."""

    tops = ("ImageNet-3DCC", "imagenet_3dcc")

    def corruptions(self) -> Mapping[str, bool]:
        """In the order of the authors' download script."""
        names = (
            "near_focus", "far_focus", "fog_3d", "flash", "color_quant", "low_light", "xy_motion_blur", "z_motion_blur",
            "iso_noise", "bit_error", "h265_abr", "h265_crf",
        )  # fmt: skip
        return dict.fromkeys(names, True)
