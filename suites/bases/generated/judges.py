"""The networks that judge generated images, and the real images that these are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import open_dataset
from harness.generation.score.extractors import Extractor, find_extractor
from harness.generation.score.features import features_of
from harness.generation.score.images import ImageSet, OpenedSet, of_dataset, open_set
from harness.metrics.generation.moments import Moments, moments
from harness.metrics.generation.neighbours import DENSITY_K
from harness.models.published.locate import WeightFiles
from harness.types import HarnessError

HEX = 16
"""Digits of hashes in facts: 64 bits."""


@dataclass(frozen=True)
class Judges:
    """A judge and another extractor by name, and the reference.

    dataset, folder: of the training images, which are the reference, and of the real test images.
    file: archive of another reference in OpenAI's layout, or "": see `harness.generation.score.images.open_set`. Its
        images take the place of the training images; its mu and sigma serve Frechet distances in features of the
        published Inception network, and nothing else.
    weight_files: places of published weights; None: the weights folder.
    """

    judge: str
    extractor: str
    dataset: str
    folder: str
    file: str = ""
    weight_files: WeightFiles | None = None

    @property
    def both(self) -> tuple[Extractor, Extractor]:
        """The judge, and the other extractor."""
        data = self.dataset, self.folder
        return _extractor(self.judge, *data, self.weight_files), _extractor(self.extractor, *data, self.weight_files)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return open_dataset(self.dataset, "train", self.folder).num_classes

    @property
    def described(self) -> str:
        """The reference images in words: the training images, or those of the file."""
        return "reference images" if self.file and _opened(self.file).images else "training images"

    def reference(self, extractor: Extractor) -> NDArray[Any]:
        """Features (N, D) float16 of the reference images."""
        return _reference(extractor, self)

    def real(self, extractor: Extractor) -> NDArray[Any]:
        """Features (N, D) float16 of the real test images."""
        return _real(extractor, self.dataset, self.folder)

    def statistics(self, extractor: Extractor) -> Moments | None:
        """Moments from the file that Frechet distances by this extractor take in place of the images'; or None."""
        statistics = _opened(self.file).statistics if self.file and extractor.published else None
        return statistics.moments if statistics else None

    def target(self, extractor: Extractor) -> Moments:
        """Moments that Frechet distances by this extractor are measured from."""
        return self.statistics(extractor) or moments(self.reference(extractor))

    def images(self) -> ImageSet:
        """The reference images: of the file where it has any, else the training images."""
        own = _opened(self.file).images if self.file else None
        return own or _images(self.dataset, self.folder, "train")

    def facts(self) -> Mapping[str, str]:
        """Hashes of both networks and of the reference."""
        judge, extractor = self.both
        images, statistics = self.images(), _opened(self.file).statistics if self.file else None
        reference = f"{images.n} {self.described} {images.sha256[:HEX]}"
        if statistics and self._counts_statistics():
            reference += f", statistics {statistics.sha256[:HEX]}"
        return {
            "judge": f"{judge.name} {judge.sha256[:HEX]}",
            "extractor": f"{extractor.name} {extractor.sha256[:HEX]}",
            "reference": reference,
        }

    @staticmethod
    def needed(extractor: Extractor) -> int:
        """Least number of images for a covariance that is not singular, and for balls around them."""
        return max(extractor.dimension, DENSITY_K) + 1

    def check(self, samples: int) -> None:
        """Raise HarnessError for fewer samples, or reference images, than the metrics need, and for other files."""
        if self.file:
            self._check_file()
        images = self.images()
        for extractor in self.both:
            needed = self.needed(extractor)
            alone = DENSITY_K + 1 if self.statistics(extractor) else needed
            counts = [(f"samples={samples}", samples, needed), (f"{images.n} {self.described}", images.n, alone)]
            few = [what for what, count, least in counts if count < least]
            if few:
                raise HarnessError(
                    f"{' and '.join(few)}: too few for the Frechet distance by the {extractor.dimension} features of "
                    f"{extractor.name}, which needs at least {needed}. Ask for more, or name a judge and an "
                    "extractor with fewer features."
                )

    def _check_file(self) -> None:
        """Raise HarnessError for a reference archive of another size, or of statistics that nothing reads."""
        opened, real = _opened(self.file), _images(self.dataset, self.folder, "train")
        if opened.images and opened.images.size != real.size:
            sizes = [f"{width} x {height}" for height, width in (opened.images.size, real.size)]
            raise HarnessError(
                f"reference={self.file} has images of {sizes[0]} pixels, the samples have {sizes[1]}. Give a "
                "reference of their size: otherwise the distance is that of the sizes."
            )
        if opened.images is None and not self._counts_statistics():
            raise HarnessError(
                f"reference={self.file} holds statistics of Inception features alone, which the judge and "
                f"{self.extractor} do not have. Add extractor=inception:weights=FILE with the published weights, or "
                "give a reference with images (arr_0)."
            )
        for extractor in self.both:
            statistics = self.statistics(extractor)
            if statistics and len(statistics.mean) != extractor.dimension:
                raise HarnessError(
                    f"reference={self.file}: mu has {len(statistics.mean)} dimensions, {extractor.name} has "
                    f"{extractor.dimension}. It is no reference of Inception features."
                )

    def _counts_statistics(self) -> bool:
        """True where an extractor is the network of the file's statistics."""
        return any(extractor.published for extractor in self.both)


@lru_cache(maxsize=8)
def _extractor(name: str, dataset: str, folder: str, weight_files: WeightFiles | None) -> Extractor:
    data = open_dataset(dataset, "train", folder)
    return find_extractor(name, _images(dataset, folder, "train"), data=data, weight_files=weight_files)


@lru_cache(maxsize=8)
def _opened(file: str) -> OpenedSet:
    if not Path(file).is_file():
        raise HarnessError(f"No file at reference={file}. Give an archive in OpenAI's layout: arr_0, or mu and sigma.")
    return open_set(Path(file))


@lru_cache(maxsize=8)
def _reference(extractor: Extractor, judges: Judges) -> NDArray[Any]:
    return _rounded(extractor, judges.images())


@lru_cache(maxsize=8)
def _real(extractor: Extractor, dataset: str, folder: str) -> NDArray[Any]:
    return _rounded(extractor, _images(dataset, folder, "test"))


def _rounded(extractor: Extractor, images: ImageSet) -> NDArray[Any]:
    # As rounded as the generated images' in the sample table.
    return features_of(images, extractor).astype(np.float16)


def _images(dataset: str, folder: str, split: str) -> ImageSet:
    return of_dataset(open_dataset(dataset, split, folder), f"{dataset}/{split}")
