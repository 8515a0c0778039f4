"""Make a gallery: from a job to pictures and one JSON file, resumable; nothing is done where it is up to date."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.api.gallery import choice, views
from harness.api.gallery.hardest import hardest
from harness.api.gallery.pictures import QUALITY, WIDEST
from harness.api.gallery.views import ImagePlace
from harness.base.errors import HarnessError
from harness.base.files import check_writable, sweep, writing
from harness.base.provenance import environment, key_of
from harness.evaluation.job import Job
from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.models.matching import data_classes
from harness.report.gallery import reading
from harness.report.gallery.contents import FILE, SCHEMA, Gallery, NamedWeights, Specimen, file_of
from harness.types import Weights

SOFTWARE = ("harness", "python", "torch", "pillow", "device")
"""Parts of the environment that a gallery names."""

MOST = 200
"""Images at most: a gallery is a part of one page."""


@dataclass(frozen=True)
class GalleryRequest:
    """Contents of a gallery.

    conditions: names or groups of conditions; none for a few. ids: of images; none for `images` of them.
    times: of the one-step denoisings to show. hardest: number of images that most classifiers get wrong.
    """

    conditions: Sequence[str] = ()
    ids: Sequence[str] = ()
    images: int = 6
    times: Sequence[int] = tuple(range(50, 451, 50))
    hardest: int = 12


@dataclass(frozen=True)
class GalleryProgress:
    """Images that are done, of so many, and the step at hand."""

    done: int
    computed: int
    total: int
    step: str


Report = Callable[[GalleryProgress], None]


def make(
    job: Job,
    wanted: GalleryRequest,
    folder: Path,
    records: Sequence[RunRecord],
    command: str,
    report: Report = lambda p: None,
) -> tuple[Gallery, bool]:
    """The gallery in a folder, and whether anything had to be computed.

    records: of the suite, for the hardest images. command: that makes the gallery.
    Raises HarnessError for suites and methods that no gallery shows, and for images and conditions that do not exist.
    """
    choice.check_suite(job.spec.suite, job.suite)
    choice.check_methods(job)
    conditions = choice.chosen_conditions(job.suite.conditions(), wanted.conditions)
    if job.denoiser:
        job.denoiser.check_times(tuple(wanted.times))
    usable = [entry for entry in records if _is_of(entry, job)]
    empty = _empty(job, wanted, [condition.name for condition in conditions], usable, command)
    before = _before(folder, empty.key)
    if before and before.complete:
        return before, False
    check_writable(folder)
    sweep(folder)
    ids = choice.chosen_ids(job, conditions, wanted.ids, wanted.images)
    places = views.places_of(job, dict(ids))
    if len(places) > MOST:
        raise HarnessError(
            f"A gallery of {len(places)} images, each under each condition, is too large for a page; {MOST} is the "
            "most. Take fewer --images, or name some with --corruption."
        )
    if not before:
        _clear(folder)  # before the new list replaces the one that names them
    gallery = replace(empty, specimens=before.specimens) if before else empty
    gallery = _with_specimens(job, gallery, places, wanted.times, folder, report)
    gallery = replace(gallery, complete=True, hardest=hardest(job, usable, wanted.hardest, folder))
    _write(gallery, folder)
    return gallery, True


def _with_specimens(
    job: Job, gallery: Gallery, places: Sequence[ImagePlace], times: Sequence[int], folder: Path, report: Report
) -> Gallery:
    """The gallery with all images, a tile of the networks at a time; each tile is on disk before the next begins."""
    specimens: list[Specimen] = list(gallery.specimens)
    present = {(specimen.id, specimen.condition) for specimen in specimens}
    missing = [place for place in places if (place.id, place.condition) not in present]
    resumed = len(specimens)

    def step(name: str) -> None:
        report(GalleryProgress(len(specimens), len(specimens) - resumed, len(places), name))

    for start in range(0, len(missing), job.tiles.size):
        some = missing[start : start + job.tiles.size]
        step("reading")
        specimens += views.specimens(job, some, times, folder, step)
        gallery = replace(gallery, specimens=tuple(specimens))
        _write(gallery, folder)
        step("")
    return gallery


def _is_of(entry: RunRecord, job: Job) -> bool:
    """True for a record of the job's suite, images and randomness, over whole test sets."""
    suite = benchmark(entry.suite), entry.suite_version, dict(entry.facts)
    data = entry.data_sha256, entry.spec.seed, entry.status
    return suite == (benchmark(job.spec.suite), job.suite.version, dict(job.suite.facts())) and data == (
        job.data_sha256,
        job.spec.seed,
        "complete",
    )


def _empty(
    job: Job, wanted: GalleryRequest, conditions: Sequence[str], records: Sequence[RunRecord], command: str
) -> Gallery:
    """The gallery without its images: what it is of, and its key."""
    models = [NamedWeights(name, weights.sha256) for name, weights in job.models.items()]
    deciding = {
        "schema": SCHEMA,
        "pairs": [job.key(pair) for pair in job.pairs],
        "wanted": {**asdict(wanted), "conditions": conditions},
        "records": sorted(entry.key for entry in records) if wanted.hardest else [],
        "picture": [WIDEST, QUALITY],
    }
    made_with = environment(job.spec.device)
    return Gallery(
        schema=SCHEMA,
        complete=False,
        key=key_of(deciding),
        command=command,
        suite=benchmark(job.spec.suite),
        suite_version=job.suite.version,
        dataset=job.suite.dataset,
        facts=dict(job.suite.facts()),
        data_sha256=job.data_sha256,
        classes=data_classes(job.data),
        models=models,
        methods=job.spec.methods,
        denoiser=_named(job.denoiser_weights),
        spec={**asdict(job.spec), "suite": benchmark(job.spec.suite)},
        environment={name: str(made_with[name]) for name in SOFTWARE},
        specimens=(),
    )


def _named(weights: Weights | None) -> NamedWeights | None:
    return NamedWeights(weights.name, weights.sha256) if weights else None


def _before(folder: Path, key: str) -> Gallery | None:
    """The gallery that lies in a folder, if it is of this key and all its pictures are there; else None."""
    try:
        gallery = reading.read(folder / FILE)
        for shot in gallery.shots():
            reading.picture(folder, shot)
    except HarnessError:
        return None
    return gallery if gallery.key == key else None


def _write(gallery: Gallery, folder: Path) -> None:
    """Write the JSON: a line per field, and one per image."""
    values = json.loads(json.dumps(asdict(gallery), allow_nan=False))
    lines = [f"{json.dumps(name)}: {_text(name, value)}" for name, value in sorted(values.items())]
    with writing(folder / FILE) as partial:
        partial.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _text(name: str, value: Any) -> str:
    def compact(part: Any) -> str:
        return json.dumps(part, sort_keys=True, separators=(",", ":"))

    return "[\n" + ",\n".join(map(compact, value)) + "\n]" if name == "specimens" and value else compact(value)


def _clear(folder: Path) -> None:
    """Remove the pictures that the gallery in a folder names, and no other file: the folder may be a user's."""
    try:
        former = reading.read(folder / FILE)
    except HarnessError:
        return
    for name in {file_of(shot.pixels) for shot in former.shots()}:
        (folder / name).unlink(missing_ok=True)
