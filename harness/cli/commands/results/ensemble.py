"""``harness ensemble``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Plugin


def ensemble(
    members: Annotated[list[str], typer.Argument(help="MODEL:METHOD, or a record's .json file; two or more.")],
    suite: Annotated[str | None, typer.Option(help="Suite, where they were run on several.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Folder for the ensemble's record.")] = RESULTS / "local",
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Average the probabilities of records of one board, made with `--keep-logits`; without a network.

    Writes a record named ensemble(A,B), which `leaderboard` and `compare` take, and prints paired differences.

    Example: `harness ensemble digits/resnet:default digits/vit:default --suite digits`
    """
    from harness import plugins
    from harness.report import boards, selection
    from harness.report.posthoc.ensemble import table, write
    from harness.terminal import console

    plugins.discover(*plugin)
    records = boards.every(results, console.leave_out) if results.is_dir() else []
    entries = [selection.with_logits(text, records, suite) for text in members]
    written = write(entries, out)
    console.show(table(written, entries))
    console.out.print(f"Wrote {written.path}")
