"""Options that several commands share, and their checks."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.types import Dataset

RESULTS = Path("results")

Plugin = Annotated[list[Path], typer.Option("--plugin", help="Python file with plugins of your own. Repeatable.")]
Files = Annotated[
    list[str],
    typer.Option(
        "--weights",
        metavar="NAME=FILE",
        help="Weights of a published model, from your disk; FILE#PART where a file holds several networks, such as "
        "both.pth#model_ema. Repeatable.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes a GPU where there is one.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Workers = Annotated[
    str,
    typer.Option(metavar="N|auto", help="Threads that decode ahead; auto: one per core, up to 16. Changes no number."),
]


class Dtype(StrEnum):
    """Arithmetic of the networks."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def usable_device(name: str) -> str:
    """The device that a name means, once it has proved to work."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise HarnessError(f"--device {name}: not usable here ({reason}). Use --device cpu.") from error
    return name


def threads(workers: str, datasets: Iterable[Dataset]) -> int:
    """The number that ``--workers`` means: for auto that of the cores, where there is something to decode."""
    from harness.data import decoders

    if workers == "auto":
        return decoders(datasets)
    if not workers.isdecimal() or len(workers) > 4:
        raise HarnessError(f"--workers {workers!r}: give a number of threads below 10,000, 0 for none, or auto.")
    return int(workers)


def precisions(choice: Dtype, denoiser: Dtype, device: str) -> dict[str, str]:
    """The precisions of a `RunSpec`, for the choices on the command line; the denoiser's follows the other one."""
    if denoiser is Dtype.auto:
        denoiser = choice
    usual = Dtype.float16 if device.startswith("cuda") else Dtype.float32
    return {
        "dtype": (Dtype.float32 if choice is Dtype.auto else choice).value,
        "denoiser_dtype": (usual if denoiser is Dtype.auto else denoiser).value,
    }


def shares_of(text: str) -> tuple[int, int]:
    """The (i, n) of ``--shard i/n``."""
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        index, count = -1, 0
    if not 0 <= index < count:
        raise HarnessError(f"--shard {text!r}: write i/n with 0 <= i < n, such as 0/2 and 1/2.")
    return index, count
