"""Diffusion models of the Hugging Face hub, in diffusers' format: ``hf/google/ddpm-cifar10-32``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.diffusion.denoiser import Denoiser
from harness.diffusion.hub import CONFIG, SCHEDULER, TENSORS
from harness.diffusion.lookup import load_denoiser
from harness.plugins import denoiser
from harness.types import Absent, HarnessError, Weights


@denoiser.family("hf", lambda name: "")  # the hash of its files identifies it
def hub(name: str) -> Callable[[], tuple[Denoiser, Weights]]:
    """UNet NAME of the hub, ORG/MODEL or ORG/MODEL@REVISION, fetched once into the hub's own cache."""
    repository, _, revision = name.partition("@")

    def build() -> tuple[Denoiser, Weights]:
        from huggingface_hub import snapshot_download

        wanted = [f"{folder}{file}" for folder in ("", "unet/", "scheduler/") for file in (CONFIG, TENSORS, SCHEDULER)]
        try:
            folder = snapshot_download(repository, revision=revision or None, allow_patterns=wanted)
        except Exception as error:  # of the hub, of HTTP, of the name's form
            reason = " ".join(str(error).split())[:300]
            kind = Absent if isinstance(error, OSError) else HarnessError
            raise kind(
                f"--denoiser hf/{name} is not in the hub's cache and could not be fetched ({reason}). "
                "Without a network, give the path of a folder that was downloaded elsewhere."
            ) from error
        loaded, info = load_denoiser(Path(folder))
        return loaded, replace(info, name=repository, source=f"hf/{repository}@{Path(folder).name}")

    return build
