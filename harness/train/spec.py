"""What decides a training run, and what it writes about itself."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields

from harness import plugins
from harness.types import HarnessError


def default_denoisers() -> list[str]:
    """The architectures that ``--denoiser`` alone may mean: those marked as the default, or else all; hopefully one."""
    known = [entry for entry in plugins.architecture.entries() if entry.facts.get("kind") == "denoiser"]
    return [entry.name for entry in known if entry.facts.get("default")] or [entry.name for entry in known]


def denoisers_of(dataset: str) -> list[str]:
    """The trained denoisers that are registered for a data set, by name."""
    return [entry.name for entry in plugins.denoiser.entries() if entry.facts.get("dataset") == dataset]


@dataclass(frozen=True)
class TrainSpec:
    """Everything that decides the weights. `harness.train.run.resolve` fills in what is zero or empty.

    model: architecture; whether that makes a classifier or a denoiser is a fact of the architecture.
    data: folder of the data, for data sets that read one.
    diffaug: add the DiffAug term, with `diffusion` as its denoiser (a registered name or a path; empty for the one of
        the data set).
    epochs, batch_size, lr, weight_decay, warmup, ema: zero for the number in the architecture's recipe.
    smoothing: label smoothing of the cross-entropy terms.
    ema: decay of the exponential moving average that is kept as the result; 0 keeps the last weights.
    """

    model: str
    dataset: str = "digits"
    data: str = ""
    diffaug: bool = False
    diffusion: str = ""
    epochs: int = 0
    batch_size: int = 0
    lr: float = 0.0
    weight_decay: float = 0.0
    warmup: int = 0
    smoothing: float = 0.0
    ema: float = 0.0
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr", "weight_decay", "warmup", "smoothing", "ema"):
            if getattr(self, name) < 0:
                raise HarnessError(f"--{name.replace('_', '-')} {getattr(self, name)} is negative.")

        if self.dtype == "float16":
            raise HarnessError("--dtype float16 needs loss scaling, which this trainer does not do. Use bfloat16.")

    @property
    def kind(self) -> str:
        """What comes out: "denoiser" where the architecture's decorator says so, else "classifier"."""
        return str(plugins.architecture[self.model].facts.get("kind", "classifier"))

    @property
    def name(self) -> str:
        """Default name of the result: digits-vit+diffaug."""
        return f"{self.dataset}-{self.model}{'+diffaug' if self.diffaug else ''}"

    def command(self) -> str:
        """The command that makes these weights again, every number and the device spelled out."""
        short = default_denoisers() == [self.model]
        words = ["harness", "train", *(["--denoiser"] if short else ["--model", self.model])]
        implied = {f.name: f.default for f in fields(self)} | {"model": self.model, "device": "auto"}
        if not self.diffaug or denoisers_of(self.dataset) == [self.diffusion]:
            implied["diffusion"] = self.diffusion
        for f in fields(self):
            value = getattr(self, f.name)
            if value == implied[f.name]:
                continue
            words += [f"--{f.name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        return shlex.join(words)
