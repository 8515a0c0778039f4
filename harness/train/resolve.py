"""From what was asked for to a whole specification: recipes filled in, options checked against one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from torch import nn

from harness import plugins
from harness.deepaugment import configured
from harness.train import optimize
from harness.train.spec import TrainSpec, default_denoisers, denoisers_of, flag
from harness.types import HarnessError

OPEN = {"epochs": None, "batch_size": None, "lr": None, "weight_decay": 0.0, "warmup": 0, "ema": 0.0}
"""Settings that are left to the architecture's recipe where nobody gives them; what they are where it has none."""

CLASSIFYING = {
    "loss", "smoothing", "augmix", "augmix_severity", "jsd", "deepaugment", "deepaugment_share",
    "diffaug", "diffusion", "diffaug_times", "diffaug_sampler", "conditional", "conditional_weight",
    "mixup", "cutmix", "data_extra", "extra_as", "labels", "drop_path",
}  # fmt: skip
MEANT: Mapping[str, set[str]] = {
    "classifier": CLASSIFYING,
    "time-conditioned": {"objective", "consistency_radius", "labels", "diffusion", "diffaug_times", "smoothing"},
    "denoiser": {"noise_schedule"},
    "autoencoder": set(),
}
"""The options that mean something to some kinds of network only."""

NEEDED = {
    "augmix_severity": "augmix", "jsd": "augmix", "deepaugment_share": "deepaugment", "extra_as": "data_extra",
    "diffusion": "diffaug", "diffaug_times": "diffaug", "diffaug_sampler": "diffaug", "conditional": "diffaug",
    "conditional_weight": "conditional",
}  # fmt: skip
"""Options of classifiers that mean something beside another one only."""


def default_denoiser() -> str:
    """The architecture that ``--denoiser`` alone means; raises HarnessError where that is not one."""
    names = default_denoisers()
    if len(names) != 1:
        raise HarnessError(
            f"--denoiser does not say which architecture ({', '.join(names) or 'none is registered'}). "
            "Name one with --model."
        )
    return names[0]


def resolve(spec: TrainSpec) -> TrainSpec:
    """The specification with all that is left to the recipe and the data set filled in.

    Raises HarnessError for what cannot be trained. What is whole already stays as it is.
    """
    check_size(repr(spec.model), spec.model, spec.dataset)
    _check_meaning(spec)
    spec = _filled(spec)
    for name in ("epochs", "batch_size", "lr"):
        if getattr(spec, name) is None:
            raise HarnessError(f"The recipe of {spec.model!r} leaves {flag(name)} open. Give a number.")
    if not spec.lr:
        raise HarnessError("--lr 0 changes no weight. Give a positive number.")
    if (spec.warmup or 0) > (spec.epochs or 0):
        raise HarnessError(f"--warmup {spec.warmup} is longer than the run (--epochs {spec.epochs}). Lower --warmup.")
    optimize.learning_rate(spec, float(spec.epochs or 0))
    optimize.build(spec, nn.Linear(1, 1))
    spec = replace(spec, augment=plugins.augmentation.configure(spec.augment or "none")[0])
    if spec.deepaugment:
        spec = replace(spec, deepaugment=configured(spec.deepaugment)[0])
    needed = spec.diffaug or spec.kind == "time-conditioned"
    return replace(spec, diffusion=_diffusion(spec)) if needed and not spec.diffusion else spec


def _filled(spec: TrainSpec) -> TrainSpec:
    recipe = spec.architecture.get("recipe", {})
    filled = {name: recipe.get(name, none) for name, none in OPEN.items() if getattr(spec, name) is None}
    if filled.get("warmup") and spec.epochs is not None:
        # A recipe's warm-up belongs to its own number of epochs: in a short run it may take half at most.
        filled["warmup"] = min(filled["warmup"], spec.epochs // 2)
    return replace(spec, augment=spec.augment or recipe.get("augment", ""), **filled)


def _check_meaning(spec: TrainSpec) -> None:
    """Raises HarnessError for options that this network, or this combination, has no use for."""
    changed = [f.name for f in fields(spec) if f.metadata and getattr(spec, f.name) != f.default]
    everywhere = set().union(*MEANT.values())
    for name in changed:
        if name in everywhere - MEANT[spec.kind]:
            kinds = " or ".join(kind for kind, meant in MEANT.items() if name in meant)
            raise HarnessError(
                f"{flag(name)} is for networks of kind {kinds}; {spec.model!r} is a {spec.kind} network."
            )
        if spec.kind == "classifier" and name in NEEDED and not getattr(spec, NEEDED[name]):
            raise HarnessError(f"{flag(name)} means nothing without {flag(NEEDED[name])}.")
    if spec.conditional and not spec.conditional_weight:
        raise HarnessError("--conditional needs --conditional-weight, the share of its prediction, such as 0.5.")
    if spec.augmix and (spec.mixup or spec.cutmix):
        raise HarnessError("--augmix compares views of one image, and --mixup and --cutmix mix several. Leave one out.")
    if spec.labels < 1 and spec.data_extra:
        raise HarnessError("--labels leaves labels out, and the images of --data-extra have theirs. Leave one out.")
    if spec.consistency_radius and spec.repeats > 1:
        raise HarnessError(
            "--consistency-radius tells samples by their names, and --repeats renames them. Leave one out."
        )


def _diffusion(spec: TrainSpec) -> str:
    """The one denoiser of the data set."""
    names = denoisers_of(spec.dataset)
    if len(names) != 1:
        what = "--diffaug" if spec.diffaug else repr(spec.model)
        raise HarnessError(
            f"{what} needs a diffusion model of {spec.dataset!r}, and {', '.join(names) or 'none'} is registered. "
            "Name one with --diffusion, or train one with --denoiser and give its folder."
        )
    return names[0]


def check_size(what: str, architecture: str, dataset: str) -> None:
    """Raises HarnessError where an architecture says that it is for images of another size than the data set's."""
    side = plugins.dataset[dataset].facts["image_size"]
    built_for = plugins.architecture[architecture].facts.get("image_size", side)
    if built_for != side:
        raise HarnessError(f"{what} is built for images of {built_for} pixels, {dataset!r} has {side}.")
