"""Classifiers of clean images, with the options that make them robust."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.models.classifier import ImageClassifier
from harness.train.input.splits import is_resizable
from harness.train.kinds.align import alignment_of
from harness.train.kinds.architecture import build_sized, normalisation
from harness.train.kinds.attack import attack_of
from harness.train.kinds.frozen import Frozen, check_reverse
from harness.train.kinds.kind import Built, NetworkKind, register
from harness.train.kinds.measure import clean_accuracy, spell_accuracy
from harness.train.objectives.adversarial import PGDTraining, Trades
from harness.train.objectives.classification import BinaryCrossEntropy, Classification, Clean, Copies, CrossEntropy
from harness.train.objectives.consistency import Consistency
from harness.train.objectives.diffaug import DiffAug
from harness.train.objectives.protocol import Criterion, Term
from harness.train.objectives.reverse import Reverse, check_times
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError


def build(spec: TrainSpec, data: Dataset, frozen: Frozen, device: str) -> Built:
    """The body with its normalisation, and the sum of the loss terms that the options ask for."""
    chosen = terms(spec, data, frozen, device)
    arguments: dict[str, Any] = {"num_classes": data.num_classes}
    if spec.drop_path:
        arguments["drop_path_rate"] = spec.drop_path
    body, built_with = build_sized(spec, arguments)
    network = ImageClassifier(body, *normalisation(body))
    _check_network(network, spec, data)
    sizes = {"sizes": [[spec.image_size] * 2]} if spec.image_size else {}
    if not spec.align:
        return Built(network, Classification(chosen), built_with, sizes)
    alignment = alignment_of(spec, [term.name for term in chosen], network, frozen.main, data, device)
    return Built(network, Classification([*chosen, alignment]), built_with, sizes, alignment.projection)


def terms(spec: TrainSpec, data: Dataset, frozen: Frozen, device: str) -> list[Term]:
    """The loss terms of the options."""
    criterion: Criterion = BinaryCrossEntropy(spec.smoothing) if spec.loss == "bce" else CrossEntropy(spec.smoothing)
    chosen: list[Term] = [Clean(criterion), *_adversarial(spec, criterion)]
    if spec.adversarial == "pgd":
        del chosen[0]
    if spec.augmix:
        chosen.append(Consistency(spec.jsd))
    if spec.data_extra and spec.extra_as == "terms":
        chosen.append(Copies(criterion))
    if spec.diffaug:
        chosen.append(_diffaug(spec, data, criterion, frozen, device))
    return chosen


def _adversarial(spec: TrainSpec, criterion: Criterion) -> list[Term]:
    """The term of --adversarial, if there is one."""
    if not spec.adversarial:
        return []
    if spec.adversarial == "pgd":
        return [PGDTraining(attack_of(spec), criterion)]
    return [Trades(attack_of(spec), spec.beta or 0.0, original=spec.adversarial == "trades:original")]


def _diffaug(spec: TrainSpec, data: Dataset, criterion: Criterion, frozen: Frozen, device: str) -> DiffAug:
    check_times(frozen.main, spec.diffaug_times)
    reverse = Reverse(frozen.main, spec.diffaug_sampler, frozen.conditional, spec.conditional_weight)
    check_reverse(reverse, spec, device, data.geometry.crop, data.num_classes if frozen.conditional else 1)
    return DiffAug(reverse, spec.diffaug_times, criterion, device, spec.dtype)


def _check_network(network: nn.Module, spec: TrainSpec, data: Dataset) -> None:
    """Raises HarnessError where the network fails on an image of the size that it will see."""
    side = data.geometry.crop
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        remedy = "Choose another --image-size" if is_resizable(data) else "Choose another --architecture"
        raise HarnessError(
            f"{spec.model!r} fails on images of {side} pixels ({type(error).__name__}: {error}). {remedy}."
        ) from error


CLASSIFIER = register(
    NetworkKind(
        name="classifier",
        build=build,
        measure=clean_accuracy,
        outcome=spell_accuracy,
        use="harness run --model {}",
        options=frozenset({
            "loss", "smoothing", "augmix", "augmix_severity", "jsd", "deepaugment", "deepaugment_share",
            "diffaug", "diffusion", "diffaug_times", "diffaug_sampler", "conditional", "conditional_weight",
            "align", "align_weight", "align_time", "align_on", "align_layer", "align_width",
            "mixup", "cutmix", "data_extra", "extra_as", "extra_fraction", "labels", "drop_path",
            "adversarial", "attack_norm", "attack_eps", "attack_steps", "attack_step", "beta", "select",
            "select_images",
        }),
        beside={
            "attack_norm": "adversarial", "attack_eps": "adversarial", "attack_steps": "adversarial",
            "attack_step": "adversarial", "beta": "adversarial", "select": "adversarial", "select_images": "select",
            "extra_fraction": "data_extra",
            "augmix_severity": "augmix", "jsd": "augmix", "deepaugment_share": "deepaugment", "extra_as": "data_extra",
            "diffusion": "diffaug or align", "diffaug_times": "diffaug", "diffaug_sampler": "diffaug",
            "conditional": "diffaug", "conditional_weight": "conditional",
            "align_weight": "align", "align_time": "align", "align_on": "align", "align_layer": "align",
            "align_width": "align",
        },
        needs_denoiser=lambda spec: spec.diffaug or bool(spec.align),
    )
)  # fmt: skip
