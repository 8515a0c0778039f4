"""``harness rerun``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.api.weight_files import weight_files_of
from harness.base.errors import HarnessError
from harness.cli.options import Files, Plugin

if TYPE_CHECKING:
    from harness.api.rerun.verdict import Verdict


def rerun(
    target: Annotated[
        str, typer.Argument(help="A record's or a card's JSON file, a training's folder, or a bundled checkpoint.")
    ],
    data: Annotated[str, typer.Option(help="Folder of the data, where it has moved.")] = "",
    every: Annotated[int, typer.Option(min=1, help="Of a record's images, every k-th.")] = 1,
    limit: Annotated[int, typer.Option(min=0, help="Of a record, at most this many images per condition.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Empty folder for the results. [default: a temporary one]")] = None,
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Repeat what made a record or a checkpoint, and print whether the numbers agree.

    Exit code 0: they agree; 1: they differ; 2: it cannot be repeated here.

    Examples: `harness rerun RECORD.json --limit 20`, `harness rerun runs/digits-vit`,
    `harness rerun digits/resnet`
    """
    from harness import plugins
    from harness.api.rerun.cards import Card
    from harness.api.rerun.targets import find_target
    from harness.terminal import console

    plugins.discover(*plugin)
    weight_files = weight_files_of(weights)
    subject = find_target(target)
    if isinstance(subject, Card) and (every > 1 or limit):
        raise HarnessError(f"{target} is the card of a training: --every and --limit are for records. Leave them out.")
    if out and out.exists() and any(out.iterdir()):
        raise HarnessError(f"--out {out} is not empty: what lies there would count as repeated. Give another folder.")
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bar = stack.enter_context(console.progress())
        verdict = _repeated(subject, folder, weight_files, bar, data, every, limit)
    _print(target, verdict)
    raise typer.Exit(0 if verdict.agrees else 1)


def _repeated(subject: Any, folder: Path, weight_files: Any, bar: Any, data: str, every: int, limit: int) -> Verdict:
    """The verdict on a card or a record, under a progress bar."""
    from harness.api.rerun.cards import Card, rerun_card
    from harness.api.rerun.records import rerun_record

    if isinstance(subject, Card):
        show = _reporter(bar, str(subject.values.get("name", subject.path.stem)))
        return rerun_card(
            subject,
            folder,
            weight_files,
            data=data,
            report=lambda p: show(p.step * p.images, (p.step - p.start) * p.images, p.steps * p.images),
        )
    show = _reporter(bar, subject.suite)
    return rerun_record(
        subject,
        folder,
        weight_files,
        data=data,
        every=every,
        limit=limit,
        report=lambda p: None if p.stage else show(p.done, p.computed, p.total),
    )


def _reporter(bar: Any, name: str) -> Callable[[float, float, float], None]:
    """The function that shows images done, images computed, and images in all."""

    def show(done: float, computed: float, total: float) -> None:
        if not bar.tasks:
            bar.begin(name)
        bar.update(bar.tasks[0].id, total=total, completed=done, computed=computed)

    return show


def _print(target: str, verdict: Verdict) -> None:
    from harness.terminal import console

    lines = [f"{target}: {verdict.outcome}.", *verdict.reasons]
    if verdict.environment:
        lines.append(f"Other than then: {'; '.join(verdict.environment)}.")
    for line in lines:
        console.out.print(line, soft_wrap=True)
