"""Frozen denoisers that a training looks at: look them up, check them, place them on the device."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import conditioned, find_denoiser
from harness.models.published.locate import WeightFiles
from harness.models.tiles import Tiles, place
from harness.train.inputs import Inputs
from harness.train.kinds.architecture import check_size
from harness.train.objectives.reverse import Reverse
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError


@dataclass(frozen=True, eq=False)
class Frozen:
    """The denoiser of --diffusion and the class-conditional one of --conditional, if the training has them."""

    denoiser: Denoiser | None = None
    conditional: Denoiser | None = None
    inputs: Inputs = field(default_factory=Inputs)

    @property
    def main(self) -> Denoiser:
        """The denoiser of --diffusion, of a kind of network that needs one."""
        assert self.denoiser is not None, "NetworkKind.needs_denoiser says no"
        return self.denoiser


def find_frozen(spec: TrainSpec, data: Dataset, device: str, weight_files: WeightFiles) -> Frozen:
    """The denoisers that a specification names; raises HarnessError for those that do not fit the data."""
    denoiser, sha256 = _find(spec, "--diffusion", data, device, weight_files)
    if not spec.conditional:
        return Frozen(denoiser, inputs=Inputs(denoiser=sha256))
    conditional, conditional_sha256 = _find(spec, "--conditional", data, device, weight_files)
    return Frozen(denoiser, conditional, Inputs(denoiser=sha256, conditional=conditional_sha256))


def _find(spec: TrainSpec, option: str, data: Dataset, device: str, weight_files: WeightFiles) -> tuple[Denoiser, str]:
    """A denoiser on its device, and its SHA-256."""
    wants_classes = option == "--conditional"
    name = spec.conditional if wants_classes else spec.diffusion
    denoiser, info = find_denoiser(name, weight_files)
    if not (denoiser.conditional if wants_classes else denoiser.unconditional):
        kinds = {True: "class-conditional", False: "unconditional"}
        raise HarnessError(
            f"{option} takes a denoiser that is {kinds[wants_classes]}; {name!r} is {kinds[not wants_classes]}."
        )
    if wants_classes:
        denoiser = conditioned(denoiser, name, info, data, f"--conditional {name}")
    if "architecture" in info.details:  # a harness checkpoint, not a plugin's own network
        check_size(f"The denoiser {name!r}", info.details["architecture"], spec.dataset)
    place(denoiser.network, device)
    return denoiser, info.sha256


def check_reverse(reverse: Reverse, spec: TrainSpec, device: str, side: int, classes: int = 1) -> None:
    """Raises HarnessError where the reverse step fails on images of the data set's size, or on its last class."""
    blank = torch.zeros(1, 3, side, side)
    zero = torch.zeros(1, dtype=torch.int64)
    names = " with ".join(map(repr, filter(None, [spec.diffusion, spec.conditional])))
    try:
        Tiles(1, device, spec.dtype)(reverse, blank, zero, blank, zero + classes - 1)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise HarnessError(
            f"The denoiser {names} fails on images of {side} pixels{f' and {classes} classes' if classes > 1 else ''} "
            f"({type(error).__name__}: {error}). Choose another with --diffusion"
            f"{' or --conditional' if spec.conditional else ''}."
        ) from error
