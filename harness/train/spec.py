"""The specification of a training: one dataclass, whose fields are also the options of ``harness train``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from math import inf
from typing import Any

from harness.base.errors import HarnessError
from harness.types.attacks import NORMS


def default_denoisers() -> list[str]:
    """Architectures that ``--denoiser`` alone may mean: those marked as the default, or else all."""
    from harness import plugins

    denoisers = [entry for entry in plugins.architecture.entries() if entry.facts.get("kind") == "denoiser"]
    return [entry.name for entry in denoisers if entry.facts.get("default")] or [entry.name for entry in denoisers]


def denoisers_of(dataset: str) -> list[str]:
    """The trained denoisers that are registered for a data set, by name."""
    from harness import plugins

    return [entry.name for entry in plugins.denoiser.entries() if entry.facts.get("dataset") == dataset]


def option(default: Any, help: str, panel: str, **limits: Any) -> Any:
    """A field that is also an option: its help, the panel of ``--help`` it stands in, its least and greatest value."""
    return field(default=default, metadata={"help": help, "panel": panel, **limits})


TASK, TERMS, DIFFAUG, ADVERSARIAL, AUGMENT, OPTIMISER, MACHINE = (
    "What to train", "Loss terms", "DiffAug", "Adversarial training", "Augmentation", "Optimisation", "Machine",
)  # fmt: skip


LARGEST = 2**31 - 1
"""Largest value of whole numbers without another limit: counts and sides of images."""

CHOICES = {
    "extra_as": ("union", "terms", "fraction"),
    "loss": ("ce", "bce"),
    "decay": ("matrices", "all", "timm"),
    "noise_schedule": ("linear", "cosine"),
    "align": ("dra",),
    "align_on": ("adv", "clean", "both"),
    "adversarial": ("pgd", "trades", "trades:original"),
    "attack_norm": NORMS,
    "ema_form": ("timm", "wang"),
}
"""Values of the settings that name one of several ways."""

NAMED = {"max_steps": 0, "limit": 0, "label_dropout": 0.0}
"""Later settings that the default name of the result shows with their value."""

LATER_SETTINGS: dict[str, Any] = {
    **NAMED, "align": "", "align_weight": 0.5, "align_time": None, "align_on": "", "align_layer": "middle",
    "align_width": 0, "adversarial": "", "attack_norm": "linf", "attack_eps": "", "attack_steps": 10, "attack_step": "",
    "beta": None, "extra_fraction": 0.0, "select": "", "select_images": 0, "ema_form": "timm",
}  # fmt: skip
"""Settings that shipped cards are older than, with their defaults: cards have them only where they differ."""


@dataclass(frozen=True)
class TrainSpec:
    """Everything that decides the weights. `harness.train.resolve` fills in what is None or empty.

    The kind of network, a classifier or a denoiser, is a fact of the architecture.
    """

    model: str
    dataset: str = option("digits", "Training data: see harness list datasets.", TASK)
    data: str = option("", "Folder of the data, for data sets that read one.", TASK)
    init: str = option("", "Checkpoint to start from, by name or path, instead of random weights.", TASK)
    data_extra: tuple[str, ...] = option(
        (), "Folder with a copy of the training images, CLASS/IMAGE, such as harness augment makes. Repeatable.", TASK
    )
    extra_as: str = option(
        "union", "union: copies are more samples; terms: a loss term each; fraction: a share of every batch.", TASK
    )
    extra_fraction: float = option(0.0, "Share of every batch for --extra-as fraction.", TASK, min=0, max=1)
    labels: float = option(1.0, "Share of the training images whose labels may be used, above 0.", TASK, min=0, max=1)
    limit: int = option(0, "Train on this many images, as many of each class as possible; 0: all.", TASK, min=0)

    loss: str = option("ce", "ce: softmax cross-entropy; bce: one sigmoid per class.", TERMS)
    smoothing: float = option(0.0, "Label smoothing.", TERMS, min=0, max=1)
    augmix: bool = option(False, "AugMix: two mixed views and Jensen-Shannon consistency.", TERMS)
    augmix_severity: float = option(
        3.0, "Severity of the operations of AugMix: 3 for small images, 1 for ImageNet.", TERMS, min=0.1, max=10
    )
    jsd: float = option(12.0, "Weight of the consistency term.", TERMS, min=0)
    deepaugment: str = option("", "DeepAugment on the fly through NETWORK: see harness list distorters.", TERMS)
    deepaugment_share: float = option(0.5, "Share of the images that DeepAugment distorts.", TERMS, min=0, max=1)
    objective: str = option("", "For time-conditioned classifiers. noisy: sees x_t; da: also its denoising.", TERMS)
    noise_schedule: str = option("linear", "Noise schedule of denoisers over 1000 steps: linear or cosine.", TERMS)
    label_dropout: float = option(
        0.0, "Share of labels hidden from a class-conditional denoiser, for --guide cfg.", TERMS, min=0, max=1
    )
    consistency_radius: int = option(0, "Largest distance of times with consistent predictions; 0: none.", TERMS)
    align: str = option("", "dra: features aligned with the diffusion model's; its settings are ours.", TERMS)
    align_weight: float = option(0.5, "Weight of the alignment.", TERMS, min=0)
    align_time: int | None = option(None, "Diffusion time of its targets. [default: the denoiser's]", TERMS, min=0)
    align_on: str = option("", "adv, clean or both. [default: adv with --adversarial, else clean]", TERMS)
    align_layer: str = option("middle", "Layer of the diffusion model: middle, or its name there.", TERMS)
    align_width: int = option(0, "Width of the projection; 0: the denoiser's own, or 2048.", TERMS, min=0, max=2**16)

    diffaug: bool = option(False, "Add the loss on one-step denoised images.", DIFFAUG)
    diffusion: str = option("", "Denoiser, by name or path. [default: the data set's]", DIFFAUG)
    diffaug_times: tuple[int, int] = option(
        (0, 1000), "First time, and the time before which the last one is.", DIFFAUG
    )
    diffaug_sampler: str = option("ddim", "Reverse step: ddim, or dpm2 for DPM-Solver-2.", DIFFAUG)
    conditional: str = option("", "Class-conditional denoiser to mix in, by name or path.", DIFFAUG)
    conditional_weight: float = option(0.0, "Weight lambda of --conditional.", DIFFAUG, min=0, max=1)

    adversarial: str = option(
        "",
        "pgd: cross-entropy on attacked images; trades: cross-entropy, and KL to them; or trades:original.",
        ADVERSARIAL,
    )
    attack_norm: str = option("linf", "Norm of the perturbation: linf or l2.", ADVERSARIAL)
    attack_eps: str = option(
        "", "Its largest norm, for images in [0, 1]. [default: 8/255, for l2 128/255]", ADVERSARIAL
    )
    attack_steps: int = option(10, "Steps of the attack.", ADVERSARIAL, min=1, max=10**4)
    attack_step: str = option("", "Length of a step. [default: 2/255 at 8/255, and in proportion]", ADVERSARIAL)
    beta: float | None = option(None, "Weight of the KL. [default: 5, of trades:original 6]", ADVERSARIAL, min=0)
    select: str = option(
        "", "pgd-40: keep the epoch that is most robust to it on held-out training images.", ADVERSARIAL
    )
    select_images: int = option(0, "Images held out. [default: 1024, a tenth of all at most]", ADVERSARIAL, min=0)

    augment: str = option("", "Augmentation of every image: see harness list augmentations.", AUGMENT)
    image_size: int = option(0, "Side of the images in pixels; 0: the data set's.", AUGMENT, min=0, max=2**14)
    mixup: float = option(0.0, "Mixup alpha; 0: none.", AUGMENT, min=0)
    cutmix: float = option(0.0, "CutMix alpha; 0: none. With both, one of them per batch.", AUGMENT, min=0)
    repeats: int = option(1, "Repeated augmentation: draws of a sample in one batch.", AUGMENT, min=1)

    epochs: int | None = option(
        None,
        "Default, here and below: the number of the recipe.",
        OPTIMISER,
        min=1,
        max=10**6,
    )
    max_steps: int = option(0, "Stop after this many steps, over which the schedule then spans; 0: none.", OPTIMISER)
    batch_size: int | None = option(None, "Images of a whole step, in all processes.", OPTIMISER, min=1)
    accumulate: int = option(1, "Forward and backward passes per step.", OPTIMISER, min=1)
    optimizer: str | None = option(None, "Any first-order one of timm's: adamw, sgd, lamb, ...", OPTIMISER)
    lr: float | None = option(None, "Peak learning rate.", OPTIMISER, min=0)
    schedule: str | None = option(None, "cosine (to zero), constant, or step:N (a tenth every N epochs).", OPTIMISER)
    momentum: float = option(0.9, "Momentum, or the first beta of Adam and its kind.", OPTIMISER, min=0, max=1)
    beta2: float = option(0.99, "Second beta of Adam and its kind, below 1.", OPTIMISER, min=0, max=1)
    weight_decay: float | None = option(None, "Weight decay of matrices and kernels.", OPTIMISER, min=0)
    decay: str | None = option(None, "Decaying weights: matrices; all; or timm, matrices except embeddings.", OPTIMISER)
    warmup: int | None = option(None, "Epochs of linear warm-up.", OPTIMISER, min=0)
    clip: float | None = option(None, "Largest norm of the gradient; 0: any.", OPTIMISER, min=0)
    drop_path: float = option(0.0, "Stochastic depth; 0: the architecture's own.", OPTIMISER, min=0, max=1)
    ema: float | None = option(None, "Decay of the averaged weights; 0: none.", OPTIMISER, min=0, max=1)
    ema_form: str = option("timm", "timm; or wang: from the end of the warm-up, statistics copied.", OPTIMISER)

    seed: int = option(0, "Seed of everything random.", MACHINE, min=0, max=2**63 - 1)
    dtype: str = option("float32", "Arithmetic: float32 or bfloat16.", MACHINE)
    compile: bool = option(False, "Compile the network (torch.compile).", MACHINE)
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("diffaug_times", "data_extra"):  # lists, where a card was read from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for f in fields(self):
            value, least = getattr(self, f.name), f.metadata.get("min", 0)
            most = f.metadata.get("max", LARGEST if isinstance(value, int) else inf)
            shown = "of so many digits" if isinstance(value, int) and value.bit_length() > 256 else value
            if isinstance(value, int | float) and not (least <= value <= most and value != inf):
                limit = f"at least {least}" if value < least else f"at most {most}" if value > most else "a number"
                raise HarnessError(f"{flag(f.name)} {shown} must be {limit}.")
        if len(self.diffaug_times) != 2 or not all(0 <= t <= LARGEST for t in self.diffaug_times):
            raise HarnessError("--diffaug-times needs two times with a comma, such as 0,500.")
        if self.dtype not in ("float32", "bfloat16"):
            raise HarnessError(
                f"--dtype {self.dtype}: give float32 or bfloat16; float16 needs loss scaling, which is not done here."
            )
        for name, choices in CHOICES.items():
            if getattr(self, name) not in (*choices, getattr(TrainSpec, name)):
                raise HarnessError(f"{flag(name)} {getattr(self, name)!r} must be one of {', '.join(choices)}.")

    @property
    def kind(self) -> str:
        """Kind of network, by the architecture's decorator; "classifier" by default."""
        return str(self.architecture.get("kind", "classifier"))

    @property
    def architecture(self) -> Mapping[str, Any]:
        """The facts of the architecture; raises HarnessError for one that does not exist."""
        from harness import plugins  # torch stands behind it, and ``harness train --help`` need not wait for that

        return plugins.architecture[self.model].facts

    @property
    def name(self) -> str:
        """Default name of the result: digits-resnet+augmix+diffaug, digits-resnet+pgd+attack-eps-16-255."""
        parts = [f"{self.dataset}-{self.model}"]
        parts += [name for name in ("augmix", "deepaugment", "diffaug") if getattr(self, name)]
        parts += [self.align] if self.align else []
        if self.adversarial:
            from harness.train.kinds.attack import unusual  # torch stands behind it

            parts += [self.adversarial.replace(":", "-"), *(_spelled(name, value) for name, value in unusual(self))]
        cuts = [_spelled(name, getattr(self, name)) for name in NAMED if getattr(self, name)]
        return "+".join([*parts, *filter(None, [self.objective]), *cuts])

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by name, as cards and unfinished states have it."""
        unused = [name for name, default in LATER_SETTINGS.items() if getattr(self, name) == default]
        return {name: value for name, value in asdict(self).items() if name not in unused}

    def command(self, files: Sequence[str] = ()) -> str:
        """The command that makes these weights again, with every number and the device spelled out.

        Shipped cards have the older spelling ``--model`` of ``--architecture``, which the command line accepts, too.

        files: options that name a user's files and are no settings.
        """
        from harness.train.defaults import OPEN, pinned, recipe_of
        from harness.train.kinds import kind_of  # torch stands behind it

        short = default_denoisers() == [self.model]
        words = ["harness", "train", *(["--denoiser"] if short else ["--architecture", self.model])]
        implied: dict[str, Any] = {f.name: f.default for f in fields(self)} | {"model": self.model, "device": "auto"}
        if not kind_of(self).needs_denoiser(self) or denoisers_of(self.dataset) == [self.diffusion]:
            implied["diffusion"] = self.diffusion
        recipe = recipe_of(self.model, self.dataset)
        # Settings of the recipe are spelled out: it may change. Shipped cards leave out the augmentation of the digits.
        implied |= {name: default for name, default in OPEN.items() if recipe.get(name, default) == default}
        if pinned(self.model, self.dataset) or "augment" not in recipe:
            implied["augment"] = recipe.get("augment", "none")
        for f in fields(self):
            value = getattr(self, f.name)
            if value != implied[f.name]:
                words += _words(f, value)
        return shlex.join([*words, *files])


def options() -> Mapping[str, Field[Any]]:
    """The fields that are options of the command line as they stand, by name."""
    return {f.name: f for f in fields(TrainSpec) if f.default is not MISSING and f.metadata}


def flag(name: str) -> str:
    """A field's name as an option."""
    return f"--{name.replace('_', '-')}"


def _spelled(name: str, value: Any) -> str:
    """A setting as a part of a folder's name: attack-eps-16-255."""
    return f"{flag(name).strip('-')}-{value}".replace("/", "-")


def _words(f: Field[Any], value: Any) -> list[str]:
    if value is True:
        return [flag(f.name)]
    if not isinstance(value, tuple):
        return [flag(f.name), str(value)]
    if f.default:  # of fixed length: one option with commas
        return [flag(f.name), ",".join(map(str, value))]
    return [word for item in value for word in (flag(f.name), str(item))]
