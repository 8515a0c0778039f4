"""Classifiers of diffused images, which guide generation."""

from __future__ import annotations

from harness import plugins
from harness.diffusion.schedule import Schedule, name_of
from harness.models.classifier import CHANNELS, TimeConditionedClassifier
from harness.train.input.labels import labelled
from harness.train.kinds.frozen import Frozen, check_reverse
from harness.train.kinds.kind import Built, NetworkKind, register
from harness.train.kinds.measure import clean_accuracy, spell_accuracy
from harness.train.objectives.reverse import Reverse
from harness.train.objectives.time_conditioned import TimeConditioned
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError

USUAL = ("linear", 1000)
"""Schedule of a classifier whose header states none: shipped checkpoints keep their bytes."""


def build(spec: TrainSpec, data: Dataset, frozen: Frozen, device: str) -> Built:
    """The network, which sees x_t and for --objective da its denoising, and the loss over all times."""
    if spec.objective not in CHANNELS:
        raise HarnessError(f"{spec.model!r} is time-conditioned: give --objective {' or '.join(CHANNELS)}.")
    check_reverse(Reverse(frozen.main), spec, device, data.geometry.crop)
    # Without a consistency term the unlabelled samples have been left out already.
    partial = spec.labels < 1 and spec.consistency_radius
    labelled_ids = labelled(data.ids, spec.labels, spec.seed, data.labels) if partial else None
    objective = TimeConditioned(
        frozen.main, spec.objective == "da", spec.diffaug_times, labelled_ids, spec.consistency_radius,
        smoothing=spec.smoothing, device=device, dtype=spec.dtype,
    )  # fmt: skip
    arguments = {"num_classes": data.num_classes, "in_channels": CHANNELS[spec.objective]}
    body = plugins.architecture[spec.model].build(**arguments)
    network = TimeConditionedClassifier(body, denoised=spec.objective == "da")
    return Built(network, objective, arguments, {"objective": spec.objective, **_stated(frozen.main.schedule)})


def _stated(schedule: Schedule) -> dict[str, str | int | None]:
    """The header's fields on the noise schedule of the training; none for the usual one."""
    name = name_of(schedule)
    if name == USUAL:
        return {}
    return {"schedule": name[0] if name else None, "steps": len(schedule.betas)}


TIME_CONDITIONED = register(
    NetworkKind(
        name="time-conditioned",
        build=build,
        measure=clean_accuracy,
        outcome=spell_accuracy,
        use="harness run --suite noisy-accuracy --model {}",
        options=frozenset({"objective", "consistency_radius", "labels", "diffusion", "diffaug_times", "smoothing"}),
        needs_denoiser=lambda spec: True,
        loads_as="classifier",
    )
)
