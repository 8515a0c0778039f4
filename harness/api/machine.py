"""The machine: the device, the threads and the arithmetic that a request leaves open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.base.errors import HarnessError

if TYPE_CHECKING:
    from harness.types import Dataset


def usable_device(name: str) -> str:
    """The device of a name, "auto" resolved; raises HarnessError for one that does not work here."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        usable = ", ".join(["auto", *devices()])
        raise HarnessError(
            f"--device {name}: not usable here. It must be one of {usable}. Use --device cpu, or auto."
        ) from error
    return name


def devices() -> list[str]:
    """Names of the devices that work here, without "auto"."""
    import torch

    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *(["cuda", *gpus] if gpus else []), *(["mps"] if torch.backends.mps.is_available() else [])]


def threads(workers: str, datasets: Iterable[Dataset]) -> int:
    """The number of ``--workers``; for auto that of the cores, if there is something to decode."""
    from harness.data import decoders

    if workers == "auto":
        return decoders(datasets)
    if not workers.isdecimal() or len(workers) > 4:
        raise HarnessError(f"--workers {workers!r}: give a number of threads below 10,000, 0 for none, or auto.")
    return int(workers)


def precisions(dtype: str, denoiser_dtype: str, device: str) -> dict[str, str]:
    """The precisions of a `RunSpec`, without "auto"; the denoiser's follows the classifiers' unless it is given."""
    usual = {"dtype": "float32", "denoiser_dtype": "float16" if device.startswith("cuda") else "float32"}
    options = {"dtype": dtype, "denoiser_dtype": dtype if denoiser_dtype == "auto" else denoiser_dtype}
    return {name: usual[name] if value == "auto" else value for name, value in options.items()}
