"""OpenAI's diffusion models, from files of yours: in ``weights/`` or ``$HARNESS_WEIGHTS``, or anywhere with ``adm:``.

Facts: published, where the file is from and what is known about it; the hash of the unconditional 256x256 model is the
one that Disco Diffusion checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import plugins
from harness.diffusion.adm_checkpoint import load
from harness.diffusion.adm_flags import AdmFlags, flags_of
from harness.diffusion.denoiser import Denoiser
from harness.models.locate import File, PublishedWeights, chosen
from harness.plugins import denoiser
from harness.types import HarnessError, Weights

OPENAI = "https://openaipublic.blob.core.windows.net/diffusion"


def source(
    name: str, about: str, folder: str, file: str, page: str, sha256: str = "", size: int = 0
) -> PublishedWeights:
    """Where OpenAI publishes a model."""
    files = [File(file, (f"{OPENAI}/{folder}/{file}",), sha256, size)]
    return PublishedWeights(name=name, about=about, files=files, page=page, licence="MIT", format="ADM, a state dict")


def published(name: str, flags: AdmFlags) -> tuple[Denoiser, Weights]:
    """The checkpoint of a registered name."""
    where: PublishedWeights = plugins.denoiser[name].facts["published"]
    path = where.locate()
    if path.suffix != ".safetensors":
        flags_of(chosen(path)[0], asdict(flags))  # which refuses what a file beside it says otherwise
    return load(path, flags, where.files[0].sha256 or None)


GUIDED = "https://github.com/openai/guided-diffusion"


@denoiser(
    "adm256",
    dataset="imagenet",
    published=source(
        "adm256", "ADM of ImageNet at 256x256", "jul-2021", "256x256_diffusion_uncond.pt", GUIDED,
        "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1", 2_211_383_297,
    ),
)  # fmt: skip
def adm256() -> tuple[Denoiser, Weights]:
    """ADM of ImageNet at 256x256, 553 M parameters, learned sigma: the diffusion model of DDA and DiffAug."""
    return published("adm256", AdmFlags())


# No fact "dataset": it cannot be the denoiser that stands for its data set, as it wants to be told the class.
@denoiser(
    "adm256-cond",
    conditional="imagenet",
    published=source("adm256-cond", "the same, conditional on the class", "jul-2021", "256x256_diffusion.pt", GUIDED),
)
def adm256_cond() -> tuple[Denoiser, Weights]:
    """The same, conditional on the class (Dhariwal & Nichol, NeurIPS 2021): for class-conditional DiffAug."""
    return published("adm256-cond", AdmFlags(class_cond=True))


@denoiser(
    "cifar10",
    dataset="cifar10",
    published=source(
        "cifar10", "improved-diffusion of CIFAR-10", "march-2021", "cifar10_uncond_50M_500K.pt",
        "https://github.com/openai/improved-diffusion",
    ),
)  # fmt: skip
def cifar10() -> tuple[Denoiser, Weights]:
    """improved-diffusion of CIFAR-10 (Nichol & Dhariwal, ICML 2021), 53 M parameters; cosine, times from 0 to 3999."""
    flags = AdmFlags(
        image_size=32,
        num_channels=128,
        num_res_blocks=3,
        num_head_channels=-1,
        attention_resolutions="16,8",
        resblock_updown=False,
        diffusion_steps=4000,
        noise_schedule="cosine",
        rescale_timesteps=True,
    )
    return published("cifar10", flags)


@denoiser("adm")
@dataclass(frozen=True, init=False)
class Adm(AdmFlags):
    """Any ADM checkpoint, adm:file=X.pt,num_channels=128; flags not given are those of X.json beside it, else usual.

    The usual flags are the 256x256 unconditional model's. file: X.pt, or X.pt#PART where it holds several networks.
    """

    file: str = ""
    given: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __init__(self, file: str = "", **given: Any) -> None:
        super().__init__(**given)
        object.__setattr__(self, "file", file)
        object.__setattr__(self, "given", given)

    def __call__(self) -> tuple[Denoiser, Weights]:
        """Load it."""
        if not self.file:
            raise HarnessError("--denoiser adm: which file? Write adm:file=X.pt and the flags that are not the usual.")
        path, _ = chosen(Path(self.file))
        flags, beside = (AdmFlags(**self.given), []) if path.suffix == ".safetensors" else flags_of(path, self.given)
        return load(Path(self.file), flags, beside=beside)
