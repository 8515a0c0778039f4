"""Figures: the drawing that a figure plugin gives, and the sources that it draws from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from harness.base.errors import HarnessError
from harness.types.data import Batch, Dataset

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with the numbers in it.

    figure: a matplotlib Figure, from `harness.report.figures.style.canvas`.
    header, rows: the numbers drawn, for the CSV: names of the columns, and a value of each per row. Unrounded.
    caption: plain text: what is shown, of how many images, which intervals, and the keys of the records.
    """

    figure: Any
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise HarnessError(f"Each row of a drawing must have a value for each of: {', '.join(self.header)}.")


class FigureSources(Protocol):
    """Sources of a figure: records, data and networks. Each is opened when it is asked for, and once.

    classifiers: names given with ``--model``, else those of the decorator's fact `classifiers`.
    diffusion: name of the diffusion model: ``--denoiser``, else the decorator's fact `denoiser`.
    seed: of everything random. device: name of the device.
    tiles: `harness.models.tiles.Tiles` of the device, which call functions of images in tiles of a fixed size.
    """

    seed: int

    @property
    def classifiers(self) -> Sequence[str]: ...

    @property
    def diffusion(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def tiles(self) -> Any: ...

    def records(self, suite: str) -> Sequence[Any]:
        """The records (`RunRecord`) of one leaderboard of a suite, from the best on; with ``--model`` only of these.

        Of several boards the one of a whole test set, then that of most images, then that of most rows. Raises
        HarnessError, with the command that makes records, where there are none.
        """

    def sample_table(self, record: Any) -> dict[str, Any]:
        """A record's sample table, checked: numpy arrays (N,) by column."""

    def denoiser(self, name: str = "", data: Dataset | None = None) -> Any:
        """The diffusion model (`Denoiser`) of this name, by default of `diffusion`.

        It lies on the device, ready for `tiles`. data: whose labels it is told, if it takes the class.
        """

    def classifier(self, name: str, data: Dataset | None = None) -> Any:
        """A classifier (`harness.models.tiles.TiledClassifier`) on the device.

        data: whose classes its outputs are, matched by name; without, the outputs are in the classifier's own order.
        Called with images (B, 3, H, W) in [0, 1] it gives logits (B, K) on the CPU; its `network` is the module.
        """

    def generation(self, guide: str, model: str = "", **settings: Any) -> Any:
        """A generation (`harness.generation.job.Generation`) as ``harness generate`` prepares it.

        guide: text of a guide. model: its classifier, "" for none. settings: others of the specification, and the
        steps of DDIM. Diffusion model, folder of the data, seed and device are those of the figure.
        """

    def dataset(self, name: str, split: str = "test") -> Dataset:
        """A data set, from the folder of ``--data`` if it reads one."""

    def images(self, ids: Sequence[str], dataset: str = "digits") -> Batch:
        """Test images by id, or image files by path, as one batch; labels are -1 for files.

        Raises HarnessError for an id that there is not, and for images of different sizes.
        """

    def track(self, steps: Sequence[T], name: str) -> Iterator[T]:
        """The steps one by one, under a progress bar of this name: for loops that run networks."""

    def noise(self, shape: Sequence[int], purpose: str, ids: Sequence[str], step: int = 0) -> Tensor:
        """Standard normal noise (B, *shape), keyed by the seed, the purpose, the ids (B) and the step.

        Purpose "denoise" and a diffusion time as the step is the noise of one-step denoisings in evaluations.
        """
