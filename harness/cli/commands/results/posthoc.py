"""``harness posthoc``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Plugin


def posthoc(
    members: Annotated[list[str], typer.Argument(help="MODEL:METHOD, or a record's .json file; one or more.")],
    suite: Annotated[str | None, typer.Option(help="Suite, where they were run on several.")] = None,
    results: Annotated[Path, typer.Option(help="Folder with records.")] = RESULTS,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Temperature scaling and conformal prediction sets of records made with `--keep-logits`; without a network.

    Both are fitted on one half of the images and judged on the other; the halves are the same for every record.

    Example: `harness posthoc digits/vit:default --suite digits`
    """
    from harness import plugins
    from harness.report import boards, selection
    from harness.report.posthoc.recalibration import conformal_table, halves, temperature_table
    from harness.terminal import console

    plugins.discover(*plugin)
    records = boards.every(results, console.leave_out) if results.is_dir() else []
    for text in members:
        entry = selection.with_logits(text, records, suite)
        split = halves(entry)
        console.show(temperature_table(entry, split))
        console.show(conformal_table(entry, split))
