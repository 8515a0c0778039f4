"""The specification of a generation: one frozen dataclass, and what it leaves open filled in."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import plugins
from harness.base.errors import HarnessError
from harness.plugins import Configured, Entry
from harness.types import Sampling
from harness.types.spec import DTYPES, LARGEST_TILE

BALANCED, RANDOM = "balanced", "random"
"""Choices of classes beside a list of them."""

MOST = 10**6
"""Samples of one generation at most: ids have six digits."""


@dataclass(frozen=True)
class GenerateSpec:
    """Everything that decides the samples.

    dataset: gives the classes, the size of images and the default denoiser. data: its folder, if it reads one.
    guide: canonical text of a guide; "" for the data set's default. model: the guide's classifier, a name or path; ""
        for the default of guides that ask one. denoiser: name or path; "" for the data set's.
    samples: number of images.
    classes: "balanced", sample k is of class k mod K; "random", uniform and keyed by the sample, as in
        guided-diffusion; or a list of names or numbers, such as 3,5, in turn.
    seed: of x_T and of the noise of each step, keyed by sample and step: the same for every guide.
    dtype: arithmetic of all networks. compile: torch.compile them.
    tile: samples that go through the networks together; 0 chooses by image size.
    device: as torch names it.
    """

    dataset: str = "digits"
    guide: str = ""
    model: str = ""
    denoiser: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    samples: int = 100
    classes: str = BALANCED
    seed: int = 0
    dtype: str = "float32"
    tile: int = 0
    compile: bool = False
    device: str = "cpu"
    data: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MOST:
            raise HarnessError(f"samples={self.samples} must be at least 1 and at most {MOST:,}.")
        if self.seed < 0 or not 0 <= self.tile <= LARGEST_TILE:
            raise HarnessError(f"seed={self.seed} must be at least 0, tile={self.tile} from 0 to {LARGEST_TILE:,}.")
        if self.dtype not in DTYPES[1:]:
            raise HarnessError(f"dtype={self.dtype!r} must be one of {', '.join(DTYPES[1:])}.")

    @property
    def command(self) -> str:
        """The command that makes these samples again; plugin files and places of weights stand beside it."""
        usual = {**settings_of(GenerateSpec()), "data": "", "device": "auto", "steps": "", "eta": "", "samples": 0}
        if self.sampling.sampler != "ddim":
            usual["eta"] = self.sampling.eta  # it has none
        words = ["harness", "generate"]
        for name, value in {**settings_of(self), "data": self.data, "samples": self.samples}.items():
            if value != usual[name]:
                words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return shlex.join(words)


def resolve(spec: GenerateSpec) -> GenerateSpec:
    """The specification with the default guide, classifier and denoiser of its data set, and canonical texts.

    Raises HarnessError where there is no default, and for settings that do not belong together.
    """
    check_sampling(spec.sampling)
    dataset = plugins.dataset[spec.dataset].name
    guide = plugins.guide.configure(spec.guide or _default_guide(dataset))
    model = spec.model
    if asks_classifier(guide):
        model = model or _classifier(dataset, guide)
    elif model:
        raise HarnessError(f"--guide {guide.text} asks no classifier: leave out --model {model}.")
    denoiser = spec.denoiser or _denoiser(dataset, guide)
    return replace(spec, guide=guide.text, model=model, denoiser=denoiser)


def check_sampling(sampling: Sampling, usual_eta: float = Sampling.eta) -> None:
    """Raise HarnessError for a setting of one sampler under the other, where it would decide nothing.

    usual_eta: the default of eta, which stands under both.
    """
    if sampling.sampler == "ancestral" and sampling.eta != usual_eta:
        raise HarnessError(f"eta={sampling.eta:g} is for the sampler ddim, not for ancestral. Leave it out.")
    if sampling.sampler == "ddim" and sampling.variance != Sampling.variance:
        raise HarnessError(f"variance={sampling.variance} is for the sampler ancestral, not for ddim. Leave it out.")


def asks_classifier(guide: Configured) -> bool:
    """True for a guide that asks a classifier."""
    return bool(guide.entry.facts.get("classifier"))


def _default_guide(dataset: str) -> str:
    """The guide with a registered classifier of the data set, at its scale: a noisy or DA one first; or none."""
    texts = {text.partition(":")[0]: text for text in _guides(dataset).values()}
    return next((texts[name] for name in ("classifier", "denoised") if name in texts), "none")


def _guides(dataset: str) -> dict[str, str]:
    """By registered classifier of a data set, the guide that it is meant for (fact ``guides``), with settings."""
    entries = [entry for entry in plugins.model.entries() if entry.facts.get("dataset") == dataset]
    return {entry.name: str(entry.facts["guides"]) for entry in entries if "guides" in entry.facts}


def _classifier(dataset: str, guide: Configured) -> str:
    """The registered classifier of the data set for a guide."""
    names = [name for name, text in _guides(dataset).items() if text.partition(":")[0] == guide.entry.name]
    if not names:
        raise HarnessError(
            f"No registered classifier of {dataset!r} is meant for --guide {guide.text}. Name one with --model."
        )
    return names[0]


def _denoiser(dataset: str, guide: Configured) -> str:
    """The registered denoiser of a data set; a class-conditional one for guides that tell it the class."""
    conditional = bool(guide.entry.facts.get("conditional")) or bool(getattr(guide.plugin, "conditional", False))
    names = [entry.name for entry in _denoisers(dataset) if bool(entry.facts.get("conditional")) == conditional]
    if not names:
        kind = "class-conditional denoiser" if conditional else "denoiser"
        raise HarnessError(
            f"No {kind} of {dataset!r} is registered, which --guide {guide.text} needs. Name one with --denoiser, or "
            f"train one: harness train --architecture unet{'-conditional --label-dropout 0.1' if conditional else ''}."
        )
    return names[0]


def _denoisers(dataset: str) -> Sequence[Entry]:
    return [e for e in plugins.denoiser.entries() if dataset in (e.facts.get("dataset"), e.facts.get("conditional"))]


def sample_id(number: int) -> str:
    """Id of a sample, by which its noise and a random class are keyed: the same for every guide."""
    return f"sample/{number:06d}"


def settings_of(spec: GenerateSpec) -> dict[str, Any]:
    """The settings that decide pixels, by name; not the folder of the data, and of the device its kind alone."""
    sampling = spec.sampling
    return {
        "dataset": spec.dataset,
        "guide": spec.guide,
        "model": spec.model,
        "denoiser": spec.denoiser,
        "sampler": sampling.sampler,
        "steps": sampling.steps,
        "eta": sampling.eta,
        "variance": sampling.variance,
        "classes": spec.classes,
        "seed": spec.seed,
        "dtype": spec.dtype,
        "tile": spec.tile,
        "compile": spec.compile,
        "device": spec.device.partition(":")[0],
    }
