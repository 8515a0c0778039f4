"""Checks before a run: data, diffusion model, methods, and the record that will be written."""

from __future__ import annotations

import math
from itertools import count

from harness.evaluation.job import Job
from harness.evaluation.recording import trial_record
from harness.evaluation.records import record
from harness.evaluation.records.parquet import MOST
from harness.types import Condition, Dataset, HarnessError, Pair, Suite


def open_condition(suite: Suite, condition: Condition, seed: int) -> Dataset:
    """The images of one condition; raises HarnessError for more of them than were published."""
    data = suite.open(condition, seed)
    if condition.size and len(data.ids) > condition.size:
        raise HarnessError(
            f"{suite.name}: {len(data.ids)} images under {condition.name!r}, of which {condition.size} were published. "
            "Other images lie there, too: give a folder of these alone."
        )
    return data


def check_stride(job: Job) -> None:
    """Raise HarnessError for a stride that leaves out classes of samples, which are asked for in turn of each."""
    every, classes = job.spec.every, job.data.num_classes
    if job.generates and (shared := math.gcd(every, classes)) > 1:
        fitting = next(stride for stride in count(every + 1) if math.gcd(stride, classes) == 1)
        raise HarnessError(
            f"--every {every}: samples are asked for in turn of {classes} classes, and this stride meets "
            f"{classes // shared} of them alone. Take --every {fitting}, which meets all, or --limit."
        )


def check_denoiser(job: Job) -> None:
    """Raise HarnessError for a diffusion model that cannot be used on the data."""
    if job.denoiser and not job.denoiser.unconditional and not job.generates:
        raise HarnessError(
            f"The diffusion model {job.spec.denoiser!r} expects the class of an image, which a test must not reveal. "
            "Name an unconditional one with --denoiser."
        )
    if job.denoiser:
        job.denoiser.check_sides(job.example)


def check_method(job: Job, pair: Pair) -> None:
    """Raise HarnessError for a method that fails, or that looks at denoised images without saying so."""
    try:
        needs = job.tally([pair])
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(
            f"Method {pair.method_name!r} failed on one image: {type(error).__name__}: {error}"
        ) from error
    if needs.denoiser and not job.uses_denoiser(pair):
        raise HarnessError(
            f"Method {pair.method_name!r} looks at denoised images: declare it with @method(..., denoiser=True)."
        )
    if job.denoiser:
        job.denoiser.check_times(needs.times)


def check_kept(job: Job) -> None:
    """Raise HarnessError where the run is to keep what its suite does not make, or what would be too large."""
    check_logits(job)
    check_images(job)


def check_logits(job: Job) -> None:
    """Raise HarnessError where the run is to keep logits and the suite has none, or they would be too large to read."""
    if not job.spec.keep_logits:
        return
    if not getattr(job.suite, "keeps_logits", False):
        raise HarnessError(f"--keep-logits: {job.suite.name} has no logits to keep. Leave the option out.")
    if (size := logits_size(job)) > MOST // 2:
        raise HarnessError(
            f"--keep-logits: the logits of {job.planned:,} images and conditions take {size / 1e9:.1f} GB per pair, "
            f"more than the {MOST / 2e9:.1f} GB that a sample table may hold. Take fewer conditions or images at once "
            "(--severity, --corruption, --limit)."
        )


def check_images(job: Job) -> None:
    """Raise HarnessError where the run is to keep images and the suite makes none, or they would be too large."""
    if not job.spec.keep_images:
        return
    if not getattr(job.suite, "keeps_images", False):
        raise HarnessError(f"--keep-images: {job.suite.name} makes no images to keep. Leave the option out.")
    if (size := 4 * job.planned * job.example.numel()) > MOST:
        raise HarnessError(
            f"--keep-images: {job.planned:,} images take {size / 1e9:.1f} GB per pair, more than the {MOST / 1e9:.1f} "
            "GB that are held in memory at once. Take fewer images (--every, --limit)."
        )


def logits_size(job: Job) -> int:
    """Bytes of the logits that a run keeps for each pair, uncompressed; 0 for a run that keeps none."""
    return 2 * job.planned * job.data.num_classes if job.spec.keep_logits else 0


def check_skipping(group: int) -> None:
    """Raise HarnessError where images form groups, of `group` each, which a missing image would shift."""
    if group > 1:
        raise HarnessError(
            "--on-bad-image skip: an image left out would move the others into other groups of four, on which "
            "dda:norm=batch4 depends. Fix the images, or use dda as it is."
        )


def check_records(job: Job) -> None:
    """Raise HarnessError where the record of a pair could not be written, whatever its metrics will be.

    All but the metrics is fixed before the run: `harness.evaluation.records.record.save` would refuse it afterwards.
    """
    for index in range(len(job.pairs)):
        try:
            record.serialised(trial_record(job, index))
        except (ValueError, TypeError) as error:
            raise HarnessError(
                f"{job.spec.suite}: no record of this run could be written ({error}). Correct the suite, its data or "
                "the plugin that gives this value."
            ) from error
