"""The hardest images of a gallery: chosen from records, drawn from the data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.api.gallery.pictures import drawn
from harness.base.errors import HarnessError, Notice
from harness.evaluation.job import Job
from harness.evaluation.records.record import RunRecord
from harness.report.gallery.contents import ORIGINAL, Hard, Hardest
from harness.report.gallery.hard import METHOD, HardImage, hardest_images, of_one_method


def hardest(job: Job, records: Sequence[RunRecord], count: int, folder: Path) -> Hardest | None:
    """The images that most classifiers of these records get wrong with confidence; their pictures go into the folder.

    None, with a notice, without records of the suite by the method `METHOD`, or where these cannot be read.
    """
    usable = of_one_method(records)
    if not count:
        return None
    if not usable:
        _say(f"no record of {job.spec.suite} under {METHOD} on these images. Run: harness run, then give --results.")
        return None
    try:
        images = hardest_images(usable, count)
    except HarnessError as reason:
        _say(str(reason))
        return None
    models = tuple(entry.model.name for entry in usable)
    keys = tuple(entry.key for entry in usable)
    return Hardest(METHOD, models, keys, tuple(_drawn(job, image, folder) for image in images))


def _drawn(job: Job, image: HardImage, folder: Path) -> Hard:
    data = job.datasets[image.condition]
    batch = data.read([list(data.ids).index(image.id)])
    shot = replace(drawn(batch.images[0], folder), view=ORIGINAL, says=tuple(image.says))
    return Hard(image.id, image.label, image.condition, image.confidence, image.wrong, shot)


def _say(reason: str) -> None:
    warnings.warn(Notice(f"The hardest images are left out: {reason}"), stacklevel=3)
