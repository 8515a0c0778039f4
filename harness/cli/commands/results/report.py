"""``harness report``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.options import RESULTS, Plugin

if TYPE_CHECKING:
    from harness.evaluation.records.record import RunRecord

NAME = "report.html"
"""The file that is written by default, and beside the shipped records."""

CARD = "card.md"
"""The file of a card in Markdown."""


class Form(StrEnum):
    """Forms of a page."""

    html = "html"
    markdown = "markdown"


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder with records.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path(NAME),
    format: Annotated[
        Form, typer.Option(help="markdown: the card of --model, for a README beside its weights.")
    ] = Form.html,
    suite: Annotated[list[str], typer.Option(help="Only this suite. Repeatable.")] = [],  # noqa: B006
    model: Annotated[str | None, typer.Option(help="The card of this classifier: everything on it on a page.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write RESULTS/report.html instead, without local records.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Write the records of a folder as one HTML file: leaderboards, charts, images, provenance.

    The file needs no network and no other file: send it, print it, publish it.

    Examples: `harness report --open`, `harness report --model digits/vit --out vit.html`
    """
    from harness import plugins
    from harness.base.files import writing
    from harness.report.boards import find, is_local
    from harness.report.selection import is_of
    from harness.terminal import console

    if plugin or any(":" in name for name in suite):
        plugins.discover(*plugin)
    if not results.is_dir():
        raise HarnessError(
            f"No results folder at {results.absolute()}. Run something first (harness run), or name the folder."
        )
    records = find(results, console.leave_out)
    if write:
        records = [entry for entry in records if entry.path and not is_local(entry.path, results)]
        out = results / NAME
    chosen = [entry for entry in records if not suite or any(is_of(entry, name) for name in suite)]
    if suite and not chosen:
        names = ", ".join(sorted({entry.suite for entry in records})) or "no suite"
        raise HarnessError(f"No records of {', '.join(suite)} in {results.absolute()}. There are records of {names}.")
    if format is Form.markdown and out == Path(NAME):
        out = Path(CARD)
    with console.err.status("Reading records") as status:
        text = _text(format, chosen, results, model, not write, status.update)
    content = text.encode(errors="backslashreplace")
    with writing(out) as file:
        file.write_bytes(content)
    console.out.print(f"Wrote {out} ({len(content) / 1e6:.2f} MB) from {len(chosen)} records.")
    if open_:
        typer.launch(out.absolute().as_uri())


def _text(
    format: Form,
    records: list[RunRecord],
    results: Path,
    model: str | None,
    local: bool,
    progress: Callable[[str], None],
) -> str:
    """The text of the file in the form that was asked for."""
    from harness.report.page.build import page
    from harness.report.page.markdown import as_markdown
    from harness.report.page.model_card import model_page
    from harness.terminal import console

    if format is Form.html:
        return page(records, results, model, local=local, leave_out=console.leave_out, progress=progress)
    if not model:
        raise HarnessError("--format markdown writes the card of a classifier: give --model NAME.")
    return as_markdown(model_page(records, results, model, local))
