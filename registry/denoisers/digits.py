"""The bundled diffusion models of the digits."""

from __future__ import annotations

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import load_denoiser
from harness.models.lookup import bundled
from harness.plugins import denoiser
from harness.types import Weights


# eta: without noise in DDIM, samples keep a tint of x_T.
# alignment: width of the projection, and the time at which a linear probe of the middle block is best.
@denoiser(
    "digits", dataset="digits", checkpoint="digits-unet", eta=1.0, alignment={"time": 25, "width": 256}
)  # fmt: skip
def digits() -> tuple[Denoiser, Weights]:
    """Unconditional UNet of the 32x32 digits, linear schedule, 1000 steps, trained on the training split only."""
    return load_denoiser(*bundled("digits-unet"))


# No fact "dataset": the unconditional one is the default of its data set.
@denoiser("digits-conditional", conditional="digits", checkpoint="digits-unet-conditional", eta=1.0)
def digits_conditional() -> tuple[Denoiser, Weights]:
    """The same with the class as an input, and a tenth of the labels dropped: conditional, unconditional, `cfg`."""
    return load_denoiser(*bundled("digits-unet-conditional"))
