"""OpenAI's diffusion models, from local files: in the weights folder by name, or anywhere with ``adm:file=X.pt``.

Facts: published, the file's origin and hash. The hash of the unconditional 256x256 model is the one that Disco
Diffusion checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import plugins
from harness.diffusion.adm.checkpoint import load
from harness.diffusion.adm.published import GUIDED, published_by_openai
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.models.published.locate import PublishedWeights, WeightFiles, chosen
from harness.plugins import denoiser
from harness.types import HarnessError, Weights


def load_published(name: str, flags: AdmFlags, weight_files: WeightFiles) -> tuple[Denoiser, Weights]:
    """The denoiser of a registered name, from its published checkpoint or one converted from it."""
    published: PublishedWeights = plugins.denoiser[name].facts["published"]
    path = published.locate(weight_files)
    if path.suffix != ".safetensors":
        AdmFlags.of(chosen(path)[0], asdict(flags))  # raises HarnessError if the file beside it says otherwise
    return load(path, flags, published.files[0].sha256 or None)


@denoiser(
    "adm256",
    dataset="imagenet",
    published=published_by_openai(
        "adm256", "ADM of ImageNet at 256x256", "jul-2021", "256x256_diffusion_uncond.pt", GUIDED,
        "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1", 2_211_383_297,
    ),
)  # fmt: skip
def adm256(weight_files: WeightFiles) -> tuple[Denoiser, Weights]:
    """ADM of ImageNet at 256x256, 553 M parameters, learned sigma: the diffusion model of DDA and DiffAug."""
    return load_published("adm256", AdmFlags(), weight_files)


# No fact "dataset": a denoiser that needs the class cannot be the default of its data set.
@denoiser(
    "adm256-cond",
    conditional="imagenet",
    published=published_by_openai(
        "adm256-cond", "the same, conditional on the class", "jul-2021", "256x256_diffusion.pt", GUIDED
    ),
)
def adm256_cond(weight_files: WeightFiles) -> tuple[Denoiser, Weights]:
    """The same, conditional on the class (Dhariwal & Nichol, NeurIPS 2021): for class-conditional DiffAug."""
    return load_published("adm256-cond", AdmFlags(class_cond=True), weight_files)


@denoiser(
    "cifar10",
    dataset="cifar10",
    published=published_by_openai(
        "cifar10", "improved-diffusion of CIFAR-10", "march-2021", "cifar10_uncond_50M_500K.pt",
        "https://github.com/openai/improved-diffusion",
    ),
)  # fmt: skip
def cifar10(weight_files: WeightFiles) -> tuple[Denoiser, Weights]:
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
    return load_published("cifar10", flags, weight_files)


@denoiser("adm")
@dataclass(frozen=True, init=False)
class Adm(AdmFlags):
    """Any ADM checkpoint, adm:file=X.pt,num_channels=128; other flags come from X.json beside it, else the defaults.

    Default flags are the 256x256 unconditional model's. file: X.pt, or X.pt#PART if it holds several networks.
    """

    file: str = ""
    settings: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __init__(self, file: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        object.__setattr__(self, "file", file)
        object.__setattr__(self, "settings", settings)

    def __call__(self) -> tuple[Denoiser, Weights]:
        """The denoiser and its provenance."""
        if not self.file:
            raise HarnessError(
                "--denoiser adm names no file. Write adm:file=X.pt and the flags that differ from the defaults."
            )
        path, _ = chosen(Path(self.file))
        if path.suffix == ".safetensors":
            return load(Path(self.file), AdmFlags(**self.settings))
        flags, beside = AdmFlags.of(path, self.settings)
        return load(Path(self.file), flags, beside=beside)
