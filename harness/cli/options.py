"""Options that several commands share, and their checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import HarnessError

RESULTS = Path("results")

Plugin = Annotated[list[Path], typer.Option("--plugin", help="Your own Python file with plugins. Repeatable.")]
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


def with_records(results: Path) -> Path:
    """The results folder; where the usual one is absent, that of the project's own records, if this is a clone."""
    shipped = Path(__file__).resolve().parents[2] / RESULTS
    is_absent = results == RESULTS and not results.is_dir()
    return shipped if is_absent and (shipped / "leaderboard.md").is_file() else results


def shares_of(text: str) -> tuple[int, int]:
    """The (i, n) of ``--shard i/n``."""
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        index, count = -1, 0
    if not 0 <= index < count:
        raise HarnessError(f"--shard {text!r}: write i/n with 0 <= i < n, such as 0/2 and 1/2.")
    return index, count
