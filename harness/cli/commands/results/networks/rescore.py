"""``harness results rescore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Files, Plugin


def rescore(
    record: Annotated[Path, typer.Argument(help="Record of an adversarial suite, from a run with --keep-images.")],
    data: Annotated[str, typer.Option(help="Folder of the data, where it has moved.")] = "",
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Classify a record's adversarial images again, and check that each lies in [0, 1] and within eps of its image.

    Exit code 0: all do, and are classified as recorded; 1: some differ; 2: it cannot be checked here.

    Example: `harness results rescore results/local/digits-adversarial/RECORD.json`
    """
    import tempfile

    from harness import plugins
    from harness.api.rerun.rescore import rescore as rescored
    from harness.api.weight_files import weight_files_of
    from harness.evaluation.records.record import load
    from harness.terminal import console

    plugins.discover(*plugin)
    with tempfile.TemporaryDirectory() as folder:
        verdict = rescored(load(record), Path(folder), weight_files_of(weights), data=data)
    for line in (f"{record}: {verdict.outcome}.", *verdict.reasons):
        console.out.print(line, soft_wrap=True)
    raise typer.Exit(0 if verdict.agrees else 1)
