"""The terminal: progress bars, tables and messages. The only module that prints."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

from harness.base.errors import HarnessError
from harness.report.escape import printable
from harness.report.table import Table
from harness.terminal import blocks


class Screen(Console):
    """A console on which a text is only text: names of files and what servers say reach it through messages."""

    def print(self, *objects: Any, **options: Any) -> None:
        """See `rich.console.Console.print`; line breaks of a text stay."""
        super().print(*(printable(o, keep="\n") if isinstance(o, str) else o for o in objects), **options)


BOUNDLESS = 1000
"""Characters of a line of text where nothing limits it."""
PIPED = 160
"""Characters of a line of a table in a pipe or a file: people read these, too."""
USUAL = 80
"""Characters of a line of a terminal that nobody has widened."""
READABLE = 100
"""Characters of a line of a caption, even below a narrower table."""
# A pipe or a file has no width to keep to, unless COLUMNS gives it one. Brackets are text: "msp [tile 4]".
WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else BOUNDLESS
out = Screen(highlight=False, markup=False, emoji=False, width=WIDTH)
err = Screen(stderr=True, highlight=False, markup=False, emoji=False)


MEASURED = 1.0
"""Seconds of measurement before a rate is shown."""


def pace(task: Task) -> str:
    """Rate and time left, or the elapsed time at the end: `31 images/s, 0:02:10 left`."""
    computed, elapsed = task.fields["computed"], task.elapsed or 0.0
    spent = str(timedelta(seconds=int(elapsed)))
    if not computed or elapsed < MEASURED:
        return spent if task.finished else "starting"
    rate = computed / elapsed
    unit = task.fields.get("unit", "images")
    speed = f"{rate:,.0f} {unit}/s" if rate >= 100 else f"{rate:.3g} {unit}/s"
    if task.finished:
        return f"{speed}, {spent}"
    left = ((task.total or 0) - task.completed) * elapsed / computed
    return f"{speed}, {timedelta(seconds=int(left))} left"


class Line(ProgressColumn):
    """Name, bar, count, pace and a free text on one line of the terminal, cut to its width.

    The pace counts images that this run computed, not those that were already on disk.
    """

    BAR = 12

    def render(self, task: Task) -> Text:
        """The line of one task."""
        name = Text(printable(task.description))
        name.truncate(err.width // 3, overflow="ellipsis")
        full = round(self.BAR * task.completed / task.total) if task.total else 0
        line = Text.assemble(
            name, " ", ("━" * full, "bar.complete"), ("─" * (self.BAR - full), "bar.back"),
            (f" {task.completed:.0f}/{task.total or 0:.0f}", "green"), (f" {pace(task)} ", "cyan"),
            (printable(task.fields["info"]), "dim"), no_wrap=True,
        )  # fmt: skip
        line.truncate(err.width, overflow="ellipsis")
        return line


class Bar(Progress):
    """A live bar in a terminal; in a log file a line every half minute."""

    LOG_EVERY = 30.0
    _logged = float("-inf")

    def start(self) -> None:
        """See `rich.progress.Progress.start`."""
        self._idle_since = self.get_time()
        super().start()

    def stop(self) -> None:
        """See `rich.progress.Progress.stop`; a bar without lines leaves nothing behind, not even an empty line."""
        if self.tasks:
            super().stop()
        else:
            self.live.transient = True
            self.live.stop()

    def begin(self, name: str, total: int | None = None) -> TaskID:
        """A new line of the bar. Its clock starts when the line before stopped, since its first report took time."""
        for task in self.tasks:  # stages and suites follow one another: the clocks of those before stand still
            self.stop_task(task.id)
        task_id = self.add_task(name, total=total, computed=0, info="")
        self._tasks[task_id].start_time = self._idle_since
        return task_id

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """See `rich.progress.Progress.update`; the fields are `computed`, images of this run, and `info`, a text."""
        self._tasks[task_id].stop_time = None  # one that goes on was not at its end
        super().update(task_id, **changes)
        if self._tasks[task_id].finished:
            self.stop_task(task_id)
        self._idle_since = self.get_time()
        if not self.console.is_terminal and time.monotonic() - self._logged > self.LOG_EVERY:
            self._logged = time.monotonic()
            task = self._tasks[task_id]
            # An image may take minutes: hundredths of it are a sign of life.
            done = f"{task.completed:.2f}".rstrip("0").removesuffix(".")
            facts = [f"{task.description}: {done}/{task.total or 0:.0f}", pace(task), task.fields["info"]]
            self.console.print(", ".join(filter(None, facts)), soft_wrap=True)


@contextmanager
def progress(shown: bool = True) -> Iterator[Bar]:
    """A live bar: description, bar, count, images/s, time left, and a free text. shown: False shows nothing."""
    kind: type[Bar] = Bar
    if err.is_jupyter and shown:
        from harness.terminal import notebook

        kind = notebook.NotebookBar
    screen = err if shown else Screen(file=io.StringIO(), force_jupyter=False)
    with kind(Line(), console=screen, refresh_per_second=4, disable=not shown) as bar:
        yield bar


@contextmanager
def downloading(name: str) -> Iterator[Callable[[int, int], None]]:
    """A live bar of bytes. Yields a function that takes the bytes here, and those to come in all (0 if unknown)."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err) as bar:
        task = bar.add_task(printable(name), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def escaped(table: Table) -> Table:
    """The table with every text made printable."""
    keep = "\n" if table.multiline else ""
    return replace(
        table,
        title=printable(table.title),
        header=[printable(name) for name in table.header],
        rows=[[printable(cell, keep) for cell in row] for row in table.rows],
        caption=printable(table.caption),
    )


def room() -> int:
    """Characters of a line of a table: of the terminal, or of the one that a pipe's reader most likely shows it in."""
    if out.width != BOUNDLESS:
        return out.width
    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            return min(PIPED, os.get_terminal_size(sys.stderr.fileno()).columns)
    return PIPED


def show(table: Table, least: bool = False) -> None:
    """Print a table in the width of the terminal: numbers in blocks of columns, texts wrapped.

    least: a pipe or a file gets it as wide as the narrowest usual terminal: for texts, which wrap.
    """
    table = escaped(table)
    if out.options.ascii_only:
        table = in_ascii(table)
    if blocks.is_of_numbers(table):
        _show_numbers(table)
        return
    rich = RichTable(
        title=table.title, title_style="bold", caption=table.caption, caption_justify="left",
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True,
        show_header=any(table.header),
    )  # fmt: skip
    for k, name in enumerate(table.header):
        # names stay whole where there is room
        first = [*name.split(), *(row[0] for row in table.rows)]
        width = min(max(map(len, first)), USUAL // 2 + 4) if least and not k else None
        rich.add_column(name, overflow="fold", justify="left" if k < 3 else "right", width=width)
    whole = USUAL if least and out.width == BOUNDLESS else room()
    left = whole - (rich.columns[0].width or whole) - 1
    for row in table.rows:
        rich.add_row(row[0], *([_folded(cell, left) for cell in row[1:]] if least and left > 1 else row[1:]))
    out.print(rich, width=whole)


def _folded(text: str, width: int) -> str:
    """A text whose words of more than `width` characters end their lines after commas and slashes."""

    def fold(word: re.Match[str]) -> str:
        lines = [""]
        for piece in re.findall(r"[^,/]+[,/]*|[,/]+", word[0]):
            if lines[-1] and len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
        return "\n".join(lines)

    return re.sub(rf"\S{{{width + 1},}}", fold, text)


PLAIN = str.maketrans({"●": "*", "≤": "<=", "→": "->", "−": "-"})
"""Signs of tables in letters that every terminal has."""


def in_ascii(table: Table) -> Table:
    """The table without the project's signs that a terminal without Unicode lacks; names stay as they are."""
    rows = [[cell.translate(PLAIN) for cell in row] for row in table.rows]
    return replace(table, rows=rows, caption=table.caption.translate(PLAIN))


def _show_numbers(table: Table) -> None:
    """Print a table of numbers. Its lines are plain text: thousands of rows would take rich's tables seconds."""
    layout = blocks.layout(table, room())
    shown = blocks.lines(layout)
    width = max(block.width for block in shown)
    out.print(Text(table.title.center(width).rstrip(), style="bold"), soft_wrap=True)
    for number, block in enumerate(shown):
        parts: list[str | tuple[str, str]] = [
            *(["\n"] if number else []),
            ("\n".join(block.heading), "bold"),
            "\n",
            ("-" if out.options.ascii_only else "─") * block.width,
        ]
        out.print(Text.assemble(*parts, *(f"\n{row}" for row in block.rows)), soft_wrap=True)
    if caption := " ".join(filter(None, [table.caption, layout.note])):
        out.print(Text(caption), width=min(room(), max(width, READABLE)))


def text(table: Table) -> str:
    """A table as `show` prints it into a pipe, for a file."""
    global out
    screen, file = out, io.StringIO()
    out = Screen(file=file, highlight=False, markup=False, emoji=False, width=BOUNDLESS)
    try:
        show(table)
    finally:
        out = screen
    return file.getvalue()


def write(text: str) -> None:
    """Print text of another format as it is; in a terminal without the characters that steer it."""
    shown = printable(text, keep="\n") if out.is_terminal else text
    encoding = getattr(out.file, "encoding", None) or "utf-8"
    out.file.write(shown.encode(encoding, "backslashreplace").decode(encoding))


def note(message: str) -> None:
    """Print a notice: the work goes on."""
    err.print(Text.assemble(("Note: ", "bold yellow"), message), soft_wrap=True)


def fail(message: str) -> None:
    """Print an error."""
    err.print(Text.assemble(("Error: ", "bold red"), printable(message, keep="\n")), soft_wrap=True)


def warn(message: str | HarnessError) -> None:
    """Print a warning beside the result, in one line."""
    err.print(Text.assemble(("Warning: ", "bold yellow"), printable(str(message))), soft_wrap=True)


def leave_out(reason: HarnessError) -> None:
    """Warn that a file is left out; the others are shown."""
    warn(f"Left out: {reason}")
