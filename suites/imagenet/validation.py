"""ImageNet's validation set: clean, under the common corruptions made on the fly, and certified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.plugins import suite
from harness.suites.bases.certification import Certification
from harness.suites.bases.corrupted import CommonCorruptions
from harness.suites.bases.covariate_shift import CleanAccuracy
from harness.suites.imagenet.base import RESIZED, VALIDATION, ValidationSet, check_protocol
from harness.types import Geometry


@suite("imagenet", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNet(ValidationSet, CleanAccuracy):
    """Clean accuracy on ImageNet's validation set: --data DIR with val/WNID/*.JPEG, Parquet files or tars."""

    shown = (("accuracy", "clean"), ("ece", "clean"), ("nll", "clean"))
    size = VALIDATION
    split = "val"
    data: str = ""


@suite("imagenet-c-gen", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetCGenerated(ValidationSet, CommonCorruptions):
    """The common corruptions of ImageNet's validation set, made on the fly: --data DIR as for imagenet.

    Not ImageNet-C: the published images went through JPEG of quality 85 and have other random numbers. There is no
    mCE, as AlexNet's error rates are of the published images. protocol: "resize256" enlarges and crops the corrupted
    images again, as the DiffAug paper's scripts do with the published ones.
    """

    shown = tuple((name, "mean") for name in ("mean_accuracy", "mean_error", "ece", "nll"))
    size = VALIDATION
    split = "val"
    data: str = ""
    protocol: str = "official"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_protocol(self.name, self.protocol)

    def geometry_after(self) -> Geometry | None:
        """None, or the paper's geometry."""
        return None if self.protocol == "official" else RESIZED

    def facts(self) -> Mapping[str, str]:
        """The frost textures, and the protocol, which the hash of the clean images does not show."""
        return {**super().facts(), **({} if self.protocol == "official" else {"protocol": self.protocol})}


@suite("imagenet-certify", version=1, dataset="imagenet", denoiser="adm256", every=50)
@dataclass(frozen=True)
class ImageNetCertify(Certification):
    """Certified accuracy on every 50th validation image, as Carlini et al. (ICLR 2023): --data DIR as for imagenet.

    Every 50th in the order of the data: the authors' order in folders, while Parquet files and tars may keep another.
    Cohen et al. (ICML 2019) took every 100th, and n=100000.
    """

    size = VALIDATION
    split = "val"
    data: str = ""
