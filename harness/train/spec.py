"""What decides a training run, and what it writes about itself."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields

from harness.types import HarnessError


@dataclass(frozen=True)
class TrainSpec:
    """Everything that decides the weights. Zero for a number that the architecture's recipe fills in.

    model: architecture; "unet" makes a denoiser.
    data: folder of the data, for data sets that read one.
    diffaug: add the DiffAug term, with `diffusion` as its denoiser (a registered name or a path).
    smoothing: label smoothing of the cross-entropy terms.
    ema: decay of the exponential moving average that is kept as the result; 0 keeps the last weights.
    """

    model: str
    dataset: str = "digits"
    data: str = ""
    diffaug: bool = False
    diffusion: str = "digits"
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
    def name(self) -> str:
        """Default name of the result: digits-vit+diffaug."""
        return f"{self.dataset}-{self.model}{'+diffaug' if self.diffaug else ''}"

    def command(self) -> str:
        """The command that makes these weights again, every number spelled out."""
        words = ["harness", "train", *(["--denoiser"] if self.model == "unet" else ["--model", self.model])]
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "model" or value == f.default or (f.name == "diffusion" and not self.diffaug):
                continue
            words += [f"--{f.name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        return shlex.join(words)
