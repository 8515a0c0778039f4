"""From a specification to the record of a diffusion model's times: which one suits `harness train --align`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from harness.analysis.diffusion import best_time, probed_times
from harness.analysis.features import TILE, limited
from harness.analysis.record import AnalysedImages, TimesRecord
from harness.base.provenance import environment
from harness.data import open_dataset
from harness.diffusion.analysis.layer_features import MIDDLE, layer_of
from harness.diffusion.lookup import find_denoiser
from harness.models.published.locate import WeightFiles
from harness.models.tiles import Tiles, place
from harness.types import HarnessError, Stage


@dataclass(frozen=True)
class TimesSpec:
    """Everything that decides the accuracy of linear probes by diffusion time.

    denoiser: by name or path. times: indices of its schedule. layer: see `harness.diffusion.analysis.layer_features`.
        limit: training images at most, drawn by a keyed order; 0 for all.
    """

    denoiser: str
    dataset: str = "digits"
    data: str = ""
    times: tuple[int, ...] = (0, 25, 50, 100, 150, 200, 300, 400)
    layer: str = MIDDLE
    limit: int = 10_000
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.times or len(set(self.times)) < len(self.times):
            raise HarnessError(f"--times {','.join(map(str, self.times))}: give different times, such as 0,50,100.")


def analyse_times(
    spec: TimesSpec, weight_files: WeightFiles | None = None, report: Callable[[Stage], None] = lambda stage: None
) -> TimesRecord:
    """Probe a diffusion model's features at every time, by cross-validation over training images.

    Raises HarnessError for times and layers that are not there, and for a network that fails on the images.
    """
    data = limited(open_dataset(spec.dataset, "train", spec.data), spec.limit, spec.seed)
    denoiser, weights = find_denoiser(spec.denoiser, weight_files)
    denoiser.check_times(spec.times)
    layer_of(denoiser, spec.layer)
    place(denoiser.network, spec.device)
    try:
        scores = probed_times(
            denoiser, weights, data, spec.times, spec.layer, Tiles(TILE, spec.device), spec.seed, report
        )
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise HarnessError(
            f"The denoiser {spec.denoiser!r} fails on images of {data.geometry.crop} pixels ({type(error).__name__}: "
            f"{error}). Name another data set or denoiser."
        ) from error
    images = AnalysedImages(data.name, "train", data.sha256, len(data.ids))
    return TimesRecord(
        asdict(spec), spec.denoiser, weights.sha256, images, scores, best_time(scores), environment(spec.device)
    )
