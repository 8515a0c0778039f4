"""CIFAR-10: clean, under the common corruptions, diffused, attacked and certified."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.data import Place, Recognised, StoredSplit, benchmark_classes, corruptions, largest_label, open_mapped
from harness.plugins import suite
from harness.suites.bases.adversarial.base import Adversarial
from harness.suites.bases.certification import Certification
from harness.suites.bases.corrupted import SEVERITIES, CommonCorruptions, FifteenAndFour, Severities
from harness.suites.bases.covariate_shift import CleanAccuracy
from harness.suites.bases.published import Published
from harness.suites.diffusion_time import NoisyAccuracy
from harness.types import Condition, Dataset, Geometry

TEST = 10_000
SIDE = 32
CLASSES = 10
DOUBT = f"CIFAR-10 has {CLASSES} named classes of {SIDE} pixels and its name; CINIC-10 has the same classes and size"
"""Reason to ask where only some of this holds."""
MEANS = tuple((name, "mean") for name in ("mean_accuracy", "mean_error", "ece", "nll"))


class CifarTestSplit:
    """Recognises CIFAR-10's test split, for the suites that read it as it is stored."""

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """A split "test" of the ten classes; other data sets have these, too, and a user's own may have some."""
        split = place.split("test")
        names = benchmark_classes("cifar10")
        if split is None or not set(split.names) <= set(names):
            return ()
        is_whole = set(split.names) == set(names) and split.size() == (SIDE, SIDE)
        doubt = "" if is_whole and _is_called(place, split) else DOUBT
        return [Recognised({"data": str(place.path)}, place.of_splits, doubt)]


def _is_called(place: Place, split: StoredSplit) -> bool:
    """True for folders or files called CIFAR-10, and for the hub's layout, plain_text/test-*.parquet."""
    folders = [place.path.absolute()]
    if split.files:
        folders.append(folders[0].parent)
        if split.folder.name == "plain_text" or re.match(r"cifar[-_]?10[-_](?!\d\b)", split.example, re.IGNORECASE):
            return True
    return any(re.fullmatch(r"cifar[-_ ]?10", folder.name, re.IGNORECASE) for folder in folders)


@suite("cifar10", version=1, dataset="cifar10", denoiser="cifar10")
@dataclass(frozen=True)
class Cifar10(CifarTestSplit, CleanAccuracy):
    """Clean accuracy on CIFAR-10's test split: --data DIR with test/CLASS/*.png, Parquet files or tars."""

    shown = (("accuracy", "clean"), ("ece", "clean"), ("nll", "clean"))
    size = TEST
    data: str = ""


@suite("cifar10-c", version=1, dataset="cifar10", denoiser="cifar10")
@dataclass(frozen=True)
class Cifar10C(Published, FifteenAndFour):
    """CIFAR-10-C as published (Hendrycks & Dietterich, ICLR 2019): --data DIR with CORRUPTION.npy and labels.npy.

    An array holds the 10,000 test images at severity 1, then at 2, and so on. AlexNet's error rates on it were never
    published: there is no mCE.
    """

    layout = "CORRUPTION.npy (50,000 x 32 x 32 x 3, severities one after the other) and labels.npy"
    tops = ("CIFAR-10-C",)
    clean_size = TEST
    shown = (*MEANS, ("accuracy", "clean"))
    size = TEST

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """Arrays of some corruptions beside labels of ten classes: CIFAR-100-C has the same names."""
        arrays = [f"{name}.npy" for name in (*corruptions.STANDARD, *corruptions.EXTRA) if f"{name}.npy" in place.files]
        if not arrays or "labels.npy" not in place.files:
            return ()
        if largest_label(place.path / "labels.npy") >= CLASSES:
            return [Recognised({}, arrays, problem="its labels are of more than ten classes, as CIFAR-100-C's")]
        return [Recognised({"data": str(place.path)}, arrays)]

    def shifted(self) -> Sequence[Condition]:
        """Every corruption at every severity."""
        return Severities.conditions(self)

    def images(self, condition: Condition) -> Dataset:
        """A fifth of a corruption's array."""
        part = range(TEST * (condition.severity - 1), TEST * condition.severity)
        shape = (TEST * len(SEVERITIES), SIDE, SIDE, 3)
        file, labels = self.place(f"{condition.group}.npy"), self.place("labels.npy")
        return open_mapped(file, labels, part, shape, CLASSES, Geometry(SIDE, SIDE, "bilinear"), self.dataset)


@suite("cifar10-c-gen", version=1, dataset="cifar10", denoiser="cifar10")
@dataclass(frozen=True)
class Cifar10CGenerated(CifarTestSplit, CommonCorruptions):
    """The common corruptions of CIFAR-10's test split, made on the fly: --data DIR as for cifar10. Not CIFAR-10-C."""

    shown = MEANS
    size = TEST
    data: str = ""


@suite("cifar10-noisy-accuracy", version=1, dataset="cifar10", denoiser="cifar10")
@dataclass(frozen=True)
class Cifar10NoisyAccuracy(NoisyAccuracy):
    """Accuracy on diffused CIFAR-10 test images by time, as noisy-accuracy: --data DIR as for cifar10.

    --denoiser cifar10-conditional is the bundled one.
    """

    models = ("cifar10/resnet",)
    size = TEST
    data: str = ""


@suite("cifar10-adversarial", version=1, dataset="cifar10", denoiser="cifar10", every=100)
@dataclass(frozen=True)
class Cifar10Adversarial(Adversarial):
    """Robust accuracy on every 100th test image unless --every says otherwise: --data DIR as for cifar10.

    RobustBench (Croce et al., NeurIPS 2021) attacks all 10,000, --every 1, at linf 8/255 or l2 0.5.
    """

    radii: ClassVar[Mapping[str, float]] = {"linf": 8 / 255, "l2": 0.5}
    size = TEST
    data: str = ""


@suite("cifar10-certify", version=1, dataset="cifar10", denoiser="cifar10", every=20)
@dataclass(frozen=True)
class Cifar10Certify(Certification):
    """Certified accuracy on every 20th test image, n = 100,000, as Cohen et al. (ICML 2019): --data DIR as for cifar10.

    Every 20th in the order of the ids, the same in every layout; the authors took every 20th of the published order,
    which no layout records. Carlini et al. (ICLR 2023) took every image: --every 1.
    """

    size = TEST
    n: int = 100_000
    data: str = ""
