"""``harness status``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS

if TYPE_CHECKING:
    from harness.evaluation.launch.status import RunStatus
    from harness.report.table import Table

EVERY = 5.0
"""Seconds between two looks with ``--watch``."""


def status(
    out: Annotated[Path, typer.Argument(help="Folder of the records, as harness run --out has it.")] = RESULTS
    / "local",
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until all is done.")] = False,
) -> None:
    """Show the runs in progress in a results folder: parts done, time left, who computes what, and what failed.

    It reads the folder alone, so that it works from any machine that sees it, also while nothing runs.

    Examples: `harness status`, `harness status /shared/results --watch`
    """
    from harness.evaluation.launch.status import statuses
    from harness.terminal import console

    while True:
        runs = list(statuses(out))
        if not runs:
            console.out.print(f"No run is in progress in {out}.")
            return
        console.show(_table(out, runs))
        for run in runs:
            _print_details(run)
        if not watch:
            return
        time.sleep(EVERY)


def _table(out: Path, runs: Sequence[RunStatus]) -> Table:
    from harness.evaluation.records import keys
    from harness.report.table import Table

    rows = []
    for run in runs:
        left = "" if run.seconds_left is None else str(timedelta(seconds=int(run.seconds_left)))
        holders = {(lease.host, lease.pid) for lease in run.leases}
        done = [f"{done:,} of {total:,}" for done, total in (run.parts, run.images)]
        rows.append([keys.benchmark(run.suite), *done, str(len(holders)), left or "unknown", str(len(run.failures))])
    caption = "Time left at the pace of the last parts. A run goes on when its command is given again."
    return Table(
        f"Runs in progress in {out}", ["suite", "parts", "images", "processes", "time left", "failed"], rows, caption
    )


def _print_details(run: RunStatus) -> None:
    from harness.terminal import console

    for lease in run.leases:
        sign = f"last sign of life {lease.age:.0f} s ago"
        console.out.print(f"{lease.host}, process {lease.pid}: part {lease.part}, {sign}.", soft_wrap=True)
    for part, failure in run.failures.items():
        console.out.print(f"Failed {failure.times} times, on {failure.host}: {part}: {failure.error}", soft_wrap=True)
