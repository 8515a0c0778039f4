"""From a specification to a generation: every network loaded, matched and tried on one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness import plugins
from harness.base.provenance import key_of
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import sample_noise
from harness.diffusion.guided_sampler import GuidedSampler, check_interval
from harness.diffusion.lookup import check_side, conditioned, find_denoiser, trained_side
from harness.generation.classes import class_folders, class_list, labels_of
from harness.generation.spec import GenerateSpec, asks_classifier, resolve, sample_id, settings_of
from harness.models import matching
from harness.models.lookup import find_classifier
from harness.models.published.locate import WeightFiles
from harness.models.tiles import Tiles, check_compiler, finite, place
from harness.types import Dataset, Guide, HarnessError, NoisyClassifier, Weights

VERSION = 1
"""Raised whenever the same specification gives other pixels."""

USUAL_SIDE = 32
"""Side of images where neither denoiser nor data set states one."""


@dataclass(frozen=True, eq=False)
class Generation:
    """One generation, loaded and checked.

    network: the guide's classifier with its outputs in the order of the data's classes, or None.
    weights: by "denoiser" and "model". labels: (N,) int64, the class asked for in each sample.
    names: of the classes. folders: a folder name per class. side: of the images in pixels.
    notes: remarks on classes that were matched by position.
    """

    spec: GenerateSpec
    guide: Guide
    denoiser: Denoiser
    network: Any
    weights: dict[str, Weights]
    names: Sequence[str]
    folders: Sequence[str]
    labels: Tensor
    side: int
    tiles: Tiles = field(repr=False)
    notes: Sequence[str] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W) of an image."""
        return 3, self.side, self.side

    @cached_property
    def sampler(self) -> GuidedSampler:
        """The denoiser under the guide."""
        spec = self.spec
        return GuidedSampler(
            self.denoiser, self.guide, self.network, spec.sampling, self.shape, spec.seed, self.tiles
        )  # fmt: skip

    @property
    def times(self) -> list[int]:
        """The sampler's times, ascending."""
        return self.sampler.times

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides a pixel of a sample; the number of samples does not."""
        entries = {
            "guide": plugins.guide.of(self.spec.guide),
            "denoiser": plugins.denoiser.get(self.spec.denoiser.partition(":")[0]),
            "model": plugins.model.get(self.spec.model.partition(":")[0]),
        }
        return {
            "version": VERSION,
            **settings_of(self.spec),
            "side": self.side,
            "class names": list(self.names),
            "sha256": {name: weights.sha256 for name, weights in self.weights.items()},
            "plugins": {kind: entry.source for kind, entry in entries.items() if entry and entry.source},
        }

    @cached_property
    def key(self) -> str:
        """The hash of the identity: it names the parts on disk."""
        return key_of(self.identity)

    def sample(self, rows: Sequence[int], report: Callable[[float], None] = lambda share: None) -> Tensor:
        """Samples by number, (B, H, W, 3) uint8. The same bytes in any company.

        report: receives the share of the work that is done, after each step.
        """
        ids = [sample_id(row) for row in rows]
        return self.sampler(ids, self.labels[list(rows)], report).permute(0, 2, 3, 1)


def prepare(spec: GenerateSpec, weight_files: WeightFiles | None = None) -> Generation:
    """Load what a specification names; every mistake in it is reported here, before the first sample.

    weight_files: places of published weights; without, the weights folder.
    Raises HarnessError for names, settings and networks that do not fit together.
    """
    spec = resolve(spec)
    data, data_side = class_list(spec)
    names = matching.named_classes(data)
    labels = labels_of(spec, names)
    guide = plugins.guide.configure(spec.guide)
    if spec.compile:
        check_compiler(spec.device)
    denoiser, side, denoiser_weights = _denoiser(spec, data, data_side, weight_files)
    weights, network, notes = {"denoiser": denoiser_weights}, None, []
    if asks_classifier(guide):
        classifier = find_classifier(spec.model, weight_files)
        matched = matching.match({"": data}, {spec.model: classifier})
        network, notes = matched.networks[spec.model], list(matched.notes[spec.model])
        weights["model"] = replace(classifier[1], name=spec.model)
        place(network, spec.device)
    guide.plugin.check(spec.model, network, denoiser)
    spec = replace(spec, tile=spec.tile or (50 if side <= 64 else 8))
    tiles = Tiles(spec.tile, spec.device, spec.dtype, compiled=spec.compile)
    job = Generation(
        spec, guide.plugin, denoiser, network, weights, names, class_folders(data), labels, side, tiles, notes
    )  # fmt: skip
    check_interval(job.guide, job.times)
    _try(job)
    if network is not None:
        _check_outputs(job, matched.datasets[""])
    for part in (denoiser.network, network) if spec.compile else ():
        if part is not None:
            place(part, spec.device, compiled=True)
    return job


def _denoiser(
    spec: GenerateSpec, data: Dataset, data_side: int | None, weight_files: WeightFiles | None
) -> tuple[Denoiser, int, Weights]:
    """The denoiser on its device, the side of its images, and its weights."""
    denoiser, weights = find_denoiser(spec.denoiser, weight_files)
    configured = getattr(denoiser.network, "config", {}).get("sample_size")
    own_side = configured if isinstance(configured, int) else trained_side(weights)
    if data_side is not None:
        check_side(spec.denoiser, own_side, data_side)
    if denoiser.conditional:
        denoiser = conditioned(denoiser, spec.denoiser, weights, data, f"--denoiser {spec.denoiser}")
    place(denoiser.network, spec.device)
    return denoiser, own_side or data_side or USUAL_SIDE, replace(weights, name=spec.denoiser)


def _try(job: Generation) -> None:
    """Raise HarnessError where a step fails on one sample of the last class, at a time at which the guide acts."""
    x = sample_noise(job.shape, job.spec.seed, [sample_id(0)], None)
    label = torch.tensor([len(job.names) - 1])
    number = job.sampler.acting[0]
    try:
        values = Tiles(1, job.spec.device, job.spec.dtype)(lambda x, y: job.sampler.step(number, x, y), x, label)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        who = f"--guide {job.spec.guide}" + (f" with --model {job.spec.model}" if job.spec.model else "")
        raise HarnessError(
            f"{who} and --denoiser {job.spec.denoiser} fail on an image of {job.side} pixels "
            f"({type(error).__name__}: {' '.join(str(error).split())[:300]}). Name networks of this size and of "
            f"{len(job.names)} classes."
        ) from error
    finite(values.flatten(1), f"A step of --guide {job.spec.guide}", "Check the checkpoints, or use --dtype float32.")


def _check_outputs(job: Generation, data: Dataset) -> None:
    """Raise HarnessError for a classifier of another number of classes than the data, its additional ones included."""
    x = sample_noise(job.shape, job.spec.seed, [sample_id(0)], None)

    def logits(x: Tensor) -> Tensor:
        image = x.clamp(-1, 1) / 2 + 0.5
        if isinstance(job.network, NoisyClassifier):
            t = torch.zeros(len(x), dtype=torch.int64, device=x.device)
            return job.network.noisy(x, image if job.network.denoised else None, t)
        values: Tensor = job.network(image)
        return values

    shape = tuple(Tiles(1, job.spec.device, job.spec.dtype)(logits, x).shape)
    if shape != (1, data.num_classes):
        raise HarnessError(
            f"--model {job.spec.model} gives outputs of shape {shape} for one image; {data.name!r} has "
            f"{data.num_classes} classes, so (1, {data.num_classes}) was expected. Name a classifier of these classes, "
            "or the data set of those."
        )
