"""``harness effective``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.board_options import As, Out
from harness.cli.options import RESULTS, Plugin
from harness.cli.shown_tables import show_tables


def effective(
    clean: Annotated[str, typer.Argument(help="Suite without shift.")] = "digits",
    shifted: Annotated[str, typer.Argument(help="Suite with shift, run with the same classifiers and methods.")] = (
        "digits-c"
    ),
    baseline: Annotated[
        str, typer.Option(help="Rows that the line is fitted to: those under this test-time method, or all.")
    ] = "default",
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    format: As = None,
    out: Out = None,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Effective robustness: accuracy under shift beyond what the clean accuracy predicts, by a line over the rows.

    The line is fitted on the logit scale (Taori et al., 2020). Name the baseline with the number: it decides the line.

    Example: `harness effective digits digits-c --baseline default`
    """
    from harness import plugins
    from harness.base.errors import HarnessError
    from harness.report import boards, selection
    from harness.report.posthoc.effective import scatter, table
    from harness.terminal import console

    plugins.discover(*plugin)
    records = boards.find(results, console.leave_out) if results.is_dir() else []
    sides = [[entry for entry in records if selection.is_of(entry, suite)] for suite in (clean, shifted)]
    for suite, entries in zip((clean, shifted), sides, strict=True):
        if not entries:
            raise HarnessError(
                f"No records of suite {suite!r} in {results.absolute()}. Run: harness run --suite {suite}"
            )
    show_tables([table(scatter(sides[0], sides[1], baseline), baseline)], format, out)
