"""Load a user's ADM checkpoints, and convert them to safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.diffusion.adm.unet import load_adm
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import load_denoiser
from harness.models.checkpoint import write_checkpoint
from harness.models.files.state_dict import recorded
from harness.types import HarnessError, Weights


def load(
    path: Path, flags: AdmFlags, sha256: str | None = None, beside: Sequence[Path] = ()
) -> tuple[Denoiser, Weights]:
    """The denoiser in a published ``.pt`` file, or in the checkpoint that `write_denoiser` made of it.

    sha256: of the published file, if known; another file is an error. beside: the file with the flags.
    """
    if path.suffix == ".safetensors":
        denoiser, info = load_denoiser(path)
        if info.details["architecture"] != "adm" or AdmFlags.from_mapping(info.details["arguments"]) != flags:
            raise HarnessError(
                f"{path} was not converted with these flags. Convert the published file again, or load the "
                f"converted one without flags: --denoiser {path}."
            )
        original = info.details.get("converted_from", {}).get("sha256")
    else:
        denoiser = load_adm(path, flags)
        info = recorded(path, {"architecture": "adm", "arguments": asdict(flags)}, beside)
        original = _original(info)
    if sha256 and original != sha256:
        raise HarnessError(
            f"{path} has SHA-256 {original}, the published file {sha256}: it was changed, or is another one. "
            f"Fetch it again, or load other weights as --denoiser adm:file={path}."
        )
    return denoiser, info


def write_denoiser(denoiser: Denoiser, info: Weights, out: Path) -> str:
    """Write a denoiser from `load` as a harness checkpoint, which loads without copies; returns its SHA-256.

    A converted checkpoint that is written again keeps the origin in its header.
    """
    flags = AdmFlags.from_mapping(info.details["arguments"])
    header = {
        "kind": "denoiser",
        "architecture": "adm",
        "arguments": asdict(flags),
        "schedule": flags.noise_schedule,
        "steps": flags.diffusion_steps,
        "rescale_timesteps": flags.rescale_timesteps,
        "converted_from": info.details.get("converted_from", {"file": info.source, "sha256": _original(info)}),
    }
    return write_checkpoint(out, denoiser.network, header)


def _original(info: Weights) -> str:
    """The hash of the published file alone."""
    files = info.details.get("files", {})
    return str(files.get(info.source.partition("#")[0], info.sha256))
