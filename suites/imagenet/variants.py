"""Other images of ImageNet's 1,000 classes: ImageNet-Sketch, Stylized-ImageNet and ImageNetV2, as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data import Place, Recognised, plain
from harness.plugins import suggest, suite
from harness.suites.imagenet.base import CROPPED, ORIGINAL, VALIDATION, FromImageNet, wnids
from harness.types import Condition, Dataset

VARIANTS = ("matched-frequency", "threshold0.7", "top-images")
"""ImageNetV2's three ways of choosing images."""


@suite("imagenet-sketch", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetSketch(FromImageNet):
    """Black-and-white drawings of all classes (Wang et al., NeurIPS 2019): --data DIR with WNID/*.JPEG."""

    layout = "WNID/*.JPEG, 1,000 folders (sketch/ of the published archive)"
    tops = ("sketch",)
    file_names = r"sketch_\d+\.JPEG"
    size = 50_889


@suite("imagenet-stylized", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetStylized(FromImageNet):
    """The validation set in the styles of paintings (Geirhos et al., ICLR 2019): --data DIR with val/WNID/*.png."""

    layout = "val/WNID/*.png, as rgeirhos/Stylized-ImageNet writes them at 224 pixels"
    size = VALIDATION
    official = CROPPED
    suffix = ORIGINAL

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """PNG files in val/WNID; other data sets have these, too, unless the folder's name tells."""
        split = place.split("val")
        if split is None or not split.names or not set(split.names) <= set(wnids()):
            return ()
        if split.files or not split.example.lower().endswith(".png"):
            return ()
        doubt = "" if "styl" in plain(place.name) else "the validation set may have been stored as PNG"
        return [Recognised({"data": str(place.path)}, place.of_splits, doubt)]

    def images(self, condition: Condition) -> Dataset:
        """The images below DIR/val."""
        return self.classes(self.place("val"))


@suite("imagenet-v2", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetV2(FromImageNet):
    """A new test set (Recht et al., ICML 2019): --data DIR with imagenetv2-matched-frequency-format-val/0..999/*.jpeg.

    variant: "matched-frequency", "threshold0.7" or "top-images".
    """

    layout = "imagenetv2-VARIANT-format-val/LABEL/*.jpeg, folders 0 to 999 called by label"
    size = 10_000
    variant: str = "matched-frequency"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise suggest("variant", self.variant, list(VARIANTS), f" of {self.name}")

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """A folder per variant, or one of these folders itself."""
        by_folder = {f"imagenetv2-{variant}-format-val": variant for variant in VARIANTS}
        if place.name in by_folder and place.classes:
            return [Recognised({"data": str(place.path), "variant": by_folder[place.name]})]
        return [
            Recognised({"data": str(place.path), "variant": variant}, [folder])
            for folder, variant in by_folder.items()
            if folder in place.folders
        ]

    def shifted(self) -> Sequence[Condition]:
        """One, named after the variant."""
        return [Condition(self.variant, self.variant, size=self.size)]

    def images(self, condition: Condition) -> Dataset:
        """The images of the variant's own folder, which DIR holds or is."""
        folder = f"imagenetv2-{self.variant}-format-val"
        return self.classes(Path(self.data) if Path(self.data).name == folder else self.place(folder))

    def folders(self) -> Mapping[str, int]:
        """Folders are named by label."""
        return {str(label): label for label in range(len(wnids()))}
