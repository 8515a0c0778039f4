"""From a specification to what the loop needs: every name resolved, every part checked before the first step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from harness import plugins, weights
from harness.classifier import CHANNELS, ImageClassifier, TimeConditionedClassifier
from harness.data import Subset, open_dataset
from harness.data.contents import check_counted
from harness.data.opening import SPELLINGS
from harness.deepaugment import configured
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import SCHEDULES, Schedule
from harness.matching import header_classes
from harness.networks import Tiles, place
from harness.train import copies
from harness.train.augment import Distortion, Mixing, Mixtures
from harness.train.augmix import AugMix
from harness.train.classes import conditioned
from harness.train.copies import Matched, Union
from harness.train.guidance import TimeConditioned, labelled
from harness.train.loop import Task
from harness.train.objectives import (
    BinaryCrossEntropy,
    Classification,
    Clean,
    Consistency,
    Copies,
    CrossEntropy,
    DiffAug,
    Loss,
    NoisePrediction,
    Objective,
    Term,
)
from harness.train.parallel import World
from harness.train.reconstruction import Reconstruction
from harness.train.resolve import check_size
from harness.train.reverse import Reverse, check_times
from harness.train.spec import TrainSpec
from harness.train.start import start_from
from harness.train.step import Feed, Plan, Stage
from harness.types import Dataset, HarnessError

DIFFUSION_STEPS = 1000


def open_split(spec: TrainSpec, split: str) -> Dataset:
    """A split of the data set, at the size that is asked for."""
    data: Any = open_dataset(spec.dataset, split, spec.data)
    check_counted(data)
    if not spec.image_size or spec.image_size == data.geometry.crop:
        return cast(Dataset, data)
    if not _resizable(data):
        raise HarnessError(
            f"--image-size {spec.image_size}: {spec.dataset!r} is stored at {data.geometry.crop} pixels. Leave it out."
        )
    return replace(data, geometry=data.geometry.scaled(spec.image_size))


def _held_out(spec: TrainSpec) -> set[Path]:
    """The folders where the split that a classifier is tested on may lie."""
    splits = [name for name in plugins.dataset[spec.dataset].facts.get("splits", ()) if name != "train"]
    names = [spelling for split in splits for spelling in SPELLINGS.get(split, (split,))]
    return {(Path(spec.data) / name).resolve() for name in names} if spec.data else set()


def _resizable(data: Any) -> bool:
    """Whether the data set, or what it is a part or an extension of, reads pictures of any size."""
    return _resizable(data.whole) if hasattr(data, "whole") else hasattr(data, "source")


def open_training(spec: TrainSpec) -> Dataset:
    """The training split: the samples whose labels may be used, and their copies where these are samples too."""
    held_out = _held_out(spec)
    for folder in spec.data_extra:
        if Path(folder).resolve() in held_out:
            raise HarnessError(f"--data-extra {folder} holds the data set's own test images. Leave it out.")
    data = open_split(spec, "train")
    if spec.labels < 1 and not spec.consistency_radius:
        known = labelled(data.ids, spec.labels, spec.seed, data.labels)
        data = cast(Dataset, Subset(data, tuple(i for i, name in enumerate(data.ids) if name in known)))
    if spec.data_extra and spec.extra_as == "union":
        data = cast(Dataset, Union(data, copies.opened(data, spec.data_extra)))
    return data


def build(spec: TrainSpec, data: Dataset, world: World) -> tuple[Task, dict[str, Any]]:
    """The task of a resolved specification, and the header of the checkpoint that it will make."""
    kind = "classifier" if spec.kind == "time-conditioned" else spec.kind
    header: dict[str, Any] = {"architecture": spec.model, "dataset": spec.dataset, "kind": kind}
    network, objective = KINDS[spec.kind](spec, data, header, world.device)
    plan = planned(spec, data, world)
    _check_statistics(network, plan, world)
    host, device = _stages(spec, data, header)
    header |= header_classes(header, data)
    if spec.init:
        header["init_sha256"] = start_from(network, spec, header["arguments"], data)
    entry, augment = plugins.augmentation.of(spec.augment), plugins.augmentation.configure(spec.augment)[1]
    found = copies.opened(data, spec.data_extra) if spec.extra_as == "terms" else []
    beside = [Matched(data, copy, number) for number, copy in enumerate(found, 1)]
    feed = Feed(plan, data, augment, host, bool(entry.facts.get("pictures")), beside, spec.diffaug)
    inputs = {name: value for name, value in header.items() if name.endswith("_sha256")}
    inputs |= {"data_sha256": data.sha256, **{f"copy{copy.number}_sha256": copy.copy.sha256 for copy in beside}}
    return Task(spec, network, objective, feed, device, inputs), header


def planned(spec: TrainSpec, data: Dataset, world: World) -> Plan:
    """Which samples each pass sees; raises HarnessError where the batch does not fit the data or the processes."""
    return Plan(
        images=len(data.ids), name=spec.dataset, seed=spec.seed, batch_size=spec.batch_size or 0,
        epochs=spec.epochs or 0, repeats=spec.repeats, passes=spec.accumulate, rank=world.rank, world=world.size,
    )  # fmt: skip


def _check_statistics(network: nn.Module, plan: Plan, world: World) -> None:
    """Raises HarnessError where batch norm would see one sample at a time; on GPUs it sees those of all processes."""
    normed = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    seen = plan.batch_size // plan.passes // (1 if world.device.startswith("cuda") else plan.world)
    if normed and seen == 1:
        fewer = ", or lower --accumulate" if plan.passes > 1 else ""
        raise HarnessError(
            f"--batch-size {plan.batch_size} in {plan.passes} pass(es) of {plan.world} process(es) shows batch norm "
            f"one sample at a time, which has no statistics. Raise --batch-size{fewer}."
        )


def _denoising(spec: TrainSpec, data: Dataset, header: dict[str, Any], device: str) -> tuple[nn.Module, Objective]:
    entry = plugins.architecture[spec.model]
    conditional = bool(entry.facts.get("conditional"))
    arguments = {"num_classes": data.num_classes} if conditional else {}
    network = entry.build(**arguments)
    header |= {"arguments": arguments, "schedule": spec.noise_schedule, "steps": DIFFUSION_STEPS}
    return network, NoisePrediction(Denoiser(network, schedule(spec)), conditional)


def _classifying(spec: TrainSpec, data: Dataset, header: dict[str, Any], device: str) -> tuple[nn.Module, Objective]:
    arguments: dict[str, Any] = {"num_classes": data.num_classes}
    if spec.drop_path:
        arguments["drop_path_rate"] = spec.drop_path
    if spec.image_size:
        header["sizes"] = [[spec.image_size] * 2]
    criterion: Loss = BinaryCrossEntropy(spec.smoothing) if spec.loss == "bce" else CrossEntropy(spec.smoothing)
    terms: list[Term] = [Clean(criterion)]
    if spec.augmix:
        terms.append(Consistency(spec.jsd))
    if spec.data_extra and spec.extra_as == "terms":
        terms.append(Copies(criterion))
    if spec.diffaug:
        terms.append(_diffaug(spec, data, criterion, header, device))
    # Last: the denoiser's construction, too, draws from the seed, and the cards were written in this order.
    body, header["arguments"] = _sized(spec, arguments)
    network = ImageClassifier(body, *_normalisation(body))
    _prove_classifier(network, spec, data)
    return network, Classification(terms)


def _sized(spec: TrainSpec, arguments: Mapping[str, Any]) -> tuple[nn.Module, Mapping[str, Any]]:
    """The body for images of --image-size, and what it was built with: convolutions take no size, and any will do."""
    if spec.image_size:
        with suppress(TypeError):
            sized = {**arguments, "img_size": spec.image_size}
            return plugins.architecture[spec.model].build(**sized), sized
    return _body(spec, arguments), arguments


def _body(spec: TrainSpec, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        body: nn.Module = plugins.architecture[spec.model].build(**arguments)
    except TypeError as error:
        if "drop_path_rate" in str(error):
            raise HarnessError(f"{spec.model!r} has no stochastic depth: leave out --drop-path.") from error
        raise HarnessError(f"{spec.model!r} cannot be built with {dict(arguments)}: {error}.") from error
    return body


def _prove_classifier(network: nn.Module, spec: TrainSpec, data: Dataset) -> None:
    """Raises HarnessError where the network fails on an image of the size that it will see."""
    side = data.geometry.crop
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        remedy = "Choose another --image-size" if _resizable(data) else "Choose another --model"
        raise HarnessError(
            f"{spec.model!r} fails on images of {side} pixels ({type(error).__name__}: {error}). {remedy}."
        ) from error


def _normalisation(body: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation by timm's word, or a half each."""
    told = getattr(body, "default_cfg", None) or {}
    return told.get("mean", (0.5,) * 3), told.get("std", (0.5,) * 3)


def _guiding(spec: TrainSpec, data: Dataset, header: dict[str, Any], device: str) -> tuple[nn.Module, Objective]:
    if spec.objective not in CHANNELS:
        raise HarnessError(f"{spec.model!r} is time-conditioned: give --objective {' or '.join(CHANNELS)}.")
    arguments = {"num_classes": data.num_classes, "in_channels": CHANNELS[spec.objective]}
    denoiser, sha256 = _find_denoiser(spec, "--diffusion", device, data)
    _prove(Reverse(denoiser), spec, device)
    header |= {"arguments": arguments, "objective": spec.objective, "denoiser_sha256": sha256}
    # Without a consistency term the unlabelled samples have been left out already.
    partial = spec.labels < 1 and spec.consistency_radius
    known = labelled(data.ids, spec.labels, spec.seed, data.labels) if partial else None
    objective = TimeConditioned(
        denoiser, spec.objective == "da", spec.diffaug_times, known, spec.consistency_radius,
        smoothing=spec.smoothing, device=device, dtype=spec.dtype,
    )  # fmt: skip
    body = plugins.architecture[spec.model].build(**arguments)
    return TimeConditionedClassifier(body, denoised=spec.objective == "da"), objective


def _reconstructing(spec: TrainSpec, data: Dataset, header: dict[str, Any], device: str) -> tuple[nn.Module, Objective]:
    header["arguments"] = {}
    return _body(spec, {}), Reconstruction()


KINDS: Mapping[str, Callable[[TrainSpec, Dataset, dict[str, Any], str], tuple[nn.Module, Objective]]] = {
    "classifier": _classifying,
    "denoiser": _denoising,
    "time-conditioned": _guiding,
    "autoencoder": _reconstructing,
}
"""How the network and the objective of each kind of architecture are made."""


def schedule(spec: TrainSpec) -> Schedule:
    """The noise schedule that a denoiser is trained with."""
    return SCHEDULES[spec.noise_schedule](DIFFUSION_STEPS)


def alone(denoiser: Denoiser, spec: TrainSpec) -> Reverse:
    """The one-step reverse process of a denoiser by itself, class-conditional or not."""
    conditional = bool(spec.architecture.get("conditional"))
    return Reverse(denoiser, conditional=denoiser, weight=1.0) if conditional else Reverse(denoiser)


def _stages(spec: TrainSpec, data: Dataset, header: dict[str, Any]) -> tuple[list[Stage], list[Stage]]:
    """The stages after the augmentation: those of the host, up to the last that needs it, and those of the device."""
    distorting: list[Stage] = []
    if spec.deepaugment:
        _, distorter = configured(spec.deepaugment)
        distorter.check(spec.dataset)
        if distorter.provenance:
            header["deepaugment_sha256"] = distorter.provenance.sha256
        distorting = [Distortion(distorter, spec.deepaugment_share)]
    mixing: list[Stage] = [Mixing(data.num_classes, spec.mixup, spec.cutmix)] if spec.mixup or spec.cutmix else []
    if spec.augmix:
        return [*distorting, Mixtures(AugMix(spec.augmix_severity))], mixing
    return [], [*distorting, *mixing]


def _diffaug(spec: TrainSpec, data: Dataset, criterion: Loss, header: dict[str, Any], device: str) -> DiffAug:
    denoiser, header["denoiser_sha256"] = _find_denoiser(spec, "--diffusion", device, data)
    conditional = None
    if spec.conditional:
        conditional, header["conditional_sha256"] = _find_denoiser(spec, "--conditional", device, data)
    check_times(denoiser, spec.diffaug_times)
    reverse = Reverse(denoiser, spec.diffaug_sampler, conditional, spec.conditional_weight)
    _prove(reverse, spec, device, data.num_classes if conditional else 1)
    return DiffAug(reverse, spec.diffaug_times, criterion, device, spec.dtype)


def _find_denoiser(spec: TrainSpec, asked: str, device: str, data: Dataset) -> tuple[Denoiser, str]:
    """The denoiser of --diffusion, or the class-conditional one of --conditional, on its device; and its SHA-256."""
    wanted = asked == "--conditional"
    name = spec.conditional if wanted else spec.diffusion
    denoiser, info = weights.find_denoiser(name)
    if denoiser.conditional != wanted:
        kinds = {True: "class-conditional", False: "unconditional"}
        raise HarnessError(f"{asked} takes a denoiser that is {kinds[wanted]}; {name!r} is {kinds[not wanted]}.")
    if wanted:
        denoiser = conditioned(denoiser, info, spec, data)
    if "architecture" in info.details:  # a harness checkpoint, not a plugin's own network
        check_size(f"The denoiser {name!r}", info.details["architecture"], spec.dataset)
    place(denoiser.network, device)
    return denoiser, info.sha256


def _prove(reverse: Reverse, spec: TrainSpec, device: str, classes: int = 1) -> None:
    """Raises HarnessError where the reverse step fails on images of the data set's size, or on its last class."""
    side = plugins.dataset[spec.dataset].facts["image_size"]
    blank, zero = torch.zeros(1, 3, side, side), torch.zeros(1, dtype=torch.int64)
    names = " with ".join(map(repr, filter(None, [spec.diffusion, spec.conditional])))
    try:
        Tiles(1, device, spec.dtype)(reverse, blank, zero, blank, zero + classes - 1)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise HarnessError(
            f"The denoiser {names} fails on images of {side} pixels{f' and {classes} classes' if classes > 1 else ''} "
            f"({type(error).__name__}: {error}). Choose another with --diffusion"
            f"{' or --conditional' if spec.conditional else ''}."
        ) from error
