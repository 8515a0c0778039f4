"""Complete a specification: fill in the recipe, and check options against one another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from torch import nn

from harness import plugins
from harness.base.errors import Notice
from harness.train import defaults
from harness.train.augment.deepaugment import configured
from harness.train.engine import optimize
from harness.train.input.splits import open_training
from harness.train.kinds import KINDS, align, attack, kind_of
from harness.train.kinds.architecture import check_size
from harness.train.spec import TrainSpec, default_denoisers, denoisers_of, flag
from harness.types import HarnessError


def default_denoiser() -> str:
    """The architecture that ``--denoiser`` alone means; raises HarnessError where that is not one."""
    names = default_denoisers()
    if len(names) != 1:
        raise HarnessError(
            f"--denoiser does not say which architecture ({', '.join(names) or 'none is registered'}). "
            "Name one with --architecture."
        )
    return names[0]


def resolve(spec: TrainSpec) -> TrainSpec:
    """The specification with every setting filled in that it leaves to the recipe and the data set.

    Raises HarnessError for what cannot be trained. A complete specification stays as it is.
    """
    check_size(repr(spec.model), spec.model, spec.dataset)
    _check_meaning(spec)
    spec = attack.filled(spec)
    if kind_of(spec).needs_denoiser(spec) and not spec.diffusion:
        spec = replace(spec, diffusion=_diffusion(spec))
    spec = _filled(align.filled(spec))
    for name in ("epochs", "batch_size", "lr"):
        if getattr(spec, name) is None:
            raise HarnessError(f"The recipe of {spec.model!r} leaves {flag(name)} open. Give a number.")
    if not spec.lr:
        raise HarnessError("--lr 0 changes no weight. Give a positive number.")
    if (spec.warmup or 0) > (spec.epochs or 0):
        raise HarnessError(f"--warmup {spec.warmup} is longer than the run (--epochs {spec.epochs}). Lower --warmup.")
    _check_optimisation(spec)
    spec = replace(spec, augment=plugins.augmentation.configure(spec.augment or "none").text)
    if spec.deepaugment:
        spec = replace(spec, deepaugment=configured(spec.deepaugment)[0])
    return spec


def _check_optimisation(spec: TrainSpec) -> None:
    """Raises HarnessError for a schedule or an optimiser that does not exist, or with settings that it refuses."""
    optimize.learning_rate(spec, float(spec.epochs or 0))
    optimize.build(spec, nn.Linear(1, 1))


def _filled(spec: TrainSpec) -> TrainSpec:
    recipe = defaults.recipe_of(spec.model, spec.dataset)
    filled = {name: recipe.get(name, none) for name, none in defaults.OPEN.items() if getattr(spec, name) is None}
    augment = spec.augment or recipe.get("augment", "")
    if recipe and None in (filled.get("epochs", 1), filled.get("batch_size", 1)):
        filled |= _by_size(spec, filled, augment)
    if filled.get("warmup") and spec.epochs is not None:
        # A recipe's warm-up belongs to its own number of epochs: in a short run it may take half at most.
        filled["warmup"] = min(filled["warmup"], spec.epochs // 2)
    if spec.limit and filled.get("batch_size"):
        filled["batch_size"] = min(filled["batch_size"], spec.limit)
    return replace(spec, augment=augment, **filled)


def _by_size(spec: TrainSpec, filled: Mapping[str, Any], augment: str) -> dict[str, int]:
    """Epochs and batch size by the number of training images where neither is given, with a notice that says so."""
    images = len(open_training(spec).ids)
    sized = {name: value for name, value in defaults.rounds(images).items() if filled.get(name, 1) is None}
    assumed = " ".join(f"{flag(name)} {value}" for name, value in sized.items())
    flips = "" if spec.augment else f" --augment {augment}, which mirrors images (others: harness list augmentations)"
    warnings.warn(
        Notice(f"{spec.dataset!r} states no recipe. Assumed by its {images:,} training images: {assumed}{flips}."),
        stacklevel=2,
    )
    return sized


def _check_meaning(spec: TrainSpec) -> None:
    """Raises HarnessError for options that this network, or this combination, has no use for."""
    changed = [f.name for f in fields(spec) if f.metadata and getattr(spec, f.name) != f.default]
    this = kind_of(spec)
    for name in changed:
        kinds = [kind.name for kind in KINDS.values() if name in kind.options]
        if kinds and name not in this.options:
            raise HarnessError(
                f"{flag(name)} is for networks of kind {' or '.join(kinds)}; {spec.model!r} is a {spec.kind} network."
            )
        others = this.beside[name].split(" or ") if name in this.beside else []
        if others and not any(getattr(spec, other) for other in others):
            raise HarnessError(f"{flag(name)} means nothing without {' or '.join(map(flag, others))}.")
    if spec.conditional and not spec.conditional_weight:
        raise HarnessError("--conditional needs --conditional-weight, the share of its prediction, such as 0.5.")
    if spec.augmix and (spec.mixup or spec.cutmix):
        raise HarnessError("--augmix compares views of one image, and --mixup and --cutmix mix several. Leave one out.")
    if spec.ema_form != "timm" and not spec.ema:
        raise HarnessError("--ema-form means nothing without --ema, such as 0.995.")
    _check_extra(spec)
    if spec.limit and spec.data_extra and spec.extra_as != "fraction":
        raise HarnessError("--limit leaves images out, and --data-extra has copies of all. Leave one out.")
    if spec.labels < 1 and spec.data_extra:
        raise HarnessError("--labels leaves labels out, and the images of --data-extra have theirs. Leave one out.")
    if spec.consistency_radius and spec.repeats > 1:
        raise HarnessError(
            "--consistency-radius tells samples by their names, and --repeats renames them. Leave one out."
        )


def _check_extra(spec: TrainSpec) -> None:
    """Raises HarnessError for shares of generated images that mean nothing."""
    if (spec.extra_as == "fraction") != bool(spec.extra_fraction):
        raise HarnessError(
            "--extra-as fraction and --extra-fraction, the share of every batch such as 0.7, need one another."
        )
    if spec.extra_fraction and spec.repeats > 1:
        raise HarnessError("--repeats draws samples of an epoch again, as --extra-as fraction does. Leave one out.")
    if spec.select and spec.data_extra and spec.extra_as == "union":
        raise HarnessError(
            "--select holds training images out, and --extra-as union would train on their copies. Give --extra-as "
            "terms, or fraction for generated images."
        )


def _diffusion(spec: TrainSpec) -> str:
    """The one denoiser of the data set."""
    names = denoisers_of(spec.dataset)
    if len(names) != 1:
        what = "--diffaug" if spec.diffaug else "--align" if spec.align else repr(spec.model)
        raise HarnessError(
            f"{what} needs a diffusion model of {spec.dataset!r}, and {', '.join(names) or 'none'} is registered. "
            "Name one with --diffusion, or train one with --denoiser and give its folder."
        )
    return names[0]
