"""The bundled diffusion model of CIFAR-10."""

from __future__ import annotations

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import load_denoiser
from harness.models.lookup import bundled
from harness.plugins import denoiser
from harness.types import Weights


# No fact "dataset": the published one, which is not bundled, is the default of the data set.
@denoiser("cifar10-conditional", conditional="cifar10", checkpoint="cifar10-unet-conditional", eta=1.0)
def cifar10_conditional() -> tuple[Denoiser, Weights]:
    """Class-conditional UNet of CIFAR-10, a tenth of the labels dropped, trained for 8 epochs."""
    return load_denoiser(*bundled("cifar10-unet-conditional"))
