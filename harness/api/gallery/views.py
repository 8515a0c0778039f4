"""The views of chosen images, through the same code and noise as in an evaluation, and what classifiers say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from harness.api.gallery.choice import classifiers_of
from harness.api.gallery.pictures import drawn
from harness.data import Corrupted, innermost
from harness.evaluation.job import Job
from harness.evaluation.views.batch import BatchViews
from harness.report.gallery.contents import CLEAN, ORIGINAL, Says, Shot, Specimen
from harness.types import Adaptation, Batch, Dataset

Step = Callable[[str], None]
"""Called with the name of a step when the step begins."""


@dataclass(frozen=True)
class ImagePlace:
    """An image of a gallery: under a condition, with its id."""

    condition: str
    id: str


def places_of(job: Job, by_condition: dict[str, Sequence[str]]) -> list[ImagePlace]:
    """The images by id: clean first, where the suite corrupts images on the fly, then under each condition."""
    ids = list(dict.fromkeys(name for names in by_condition.values() for name in names))
    clean = [CLEAN] if CLEAN not in by_condition and _clean(job) else []
    return [
        ImagePlace(condition, name)
        for name in ids
        for condition in [*clean, *(c for c, names in by_condition.items() if name in names)]
    ]


def _clean(job: Job) -> Dataset | None:
    """The images that the suite corrupts, if they are shown as they are."""
    source = innermost(job.data)
    return source.clean if isinstance(source, Corrupted) and source.shown is None else None


def read(job: Job, places: Sequence[ImagePlace]) -> Batch:
    """These images as one batch; labels are those of the data of the run."""
    batches = []
    for place in places:
        data = job.datasets.get(place.condition) or _clean(job)
        assert data is not None
        batches.append(data.read([list(data.ids).index(place.id)]))
    images = torch.cat([batch.images for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    return Batch(tuple(place.id for place in places), images, labels)


def specimens(
    job: Job, places: Sequence[ImagePlace], times: Sequence[int], folder: Path, step: Step
) -> Iterator[Specimen]:
    """The images of some places with their views; pictures are written into the folder.

    times: of the one-step denoisings to show, where the job has a diffusion model. Clean images beside corrupted ones
    are shown as they are.
    """
    batch = read(job, places)
    views = BatchViews(batch, job.denoiser, job.tiles, job.spec.seed)
    by_view: dict[str, Tensor] = {ORIGINAL: views.original()}
    if job.denoiser and times:
        step("denoising")
        by_view |= {f"t = {time}": x for time, x in zip(times, views.denoised(times), strict=True)}
    for pair in job.pairs:
        if isinstance(pair.method, Adaptation) and job.denoiser:
            step(f"adapting, {pair.method_name}")
            x = views.adapted(pair.method.settings)
            if not any(x is other for other in by_view.values()):
                by_view[pair.method_name] = x
    step("classifying")
    answers = {
        name: [_says(classifier(x).softmax(-1)) for classifier in classifiers_of(job).values()]
        for name, x in by_view.items()
    }
    methods = {
        method: [_says(pair.method(views, pair.classifier)) for pair in job.pairs if pair.method_name == method]
        for method in job.spec.methods
    }
    for row, place in enumerate(places):
        shown = list(by_view) if place.condition in job.datasets else [ORIGINAL]
        shots = [_shot(name, by_view[name][row], [says[row] for says in answers[name]], folder) for name in shown]
        overall = {name: tuple(says[row] for says in by_model) for name, by_model in methods.items()}
        yield Specimen(place.id, int(batch.labels[row]), place.condition, tuple(shots), overall)


def _shot(view: str, image: Tensor, says: Sequence[Says], folder: Path) -> Shot:
    return replace(drawn(image, folder), view=view, says=tuple(says))


def _says(probabilities: Tensor) -> list[Says]:
    """The class and its probability for each row of (B, K) class probabilities."""
    confidence, prediction = probabilities.max(1)
    return [(int(label), round(float(p), 4)) for label, p in zip(prediction, confidence, strict=True)]
