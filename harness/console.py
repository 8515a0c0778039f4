"""What the user sees: progress bars and tables. The only module that prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
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

from harness.leaderboard import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Rate(ProgressColumn):
    """Images per second and time left, from what this run computed: what was on disk already says nothing about it."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        return Text(pace(task), style="cyan")


def pace(task: Task) -> str:
    """Rate and time left, or the elapsed time at the end: `31 images/s, 0:02:10 left`."""
    computed, elapsed = task.fields["computed"], task.elapsed or 0.0
    if not computed or not elapsed:
        return "starting"
    speed = f"{computed / elapsed:,.3g} images/s"
    if task.finished:
        return f"{speed}, {timedelta(seconds=int(elapsed))}"
    left = ((task.total or 0) - task.completed) * elapsed / computed
    return f"{speed}, {timedelta(seconds=int(left))} left"


class Bar(Progress):
    """A live bar in a terminal; in a log file a line every half minute."""

    LOG_EVERY = 30.0
    _logged = float("-inf")

    def begin(self, name: str, total: int | None = None) -> TaskID:
        """A new line of the bar; its clock starts now."""
        return self.add_task(name, total=total, computed=0, info="")

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """See `rich.progress.Progress.update`; the fields are `computed`, images of this run, and `info`, a text."""
        super().update(task_id, **changes)
        if not self.console.is_terminal and time.monotonic() - self._logged > self.LOG_EVERY:
            self._logged = time.monotonic()
            task = self._tasks[task_id]
            self.console.print(f"{task.description}: {task.completed:.0f}/{task.total or 0:.0f}, {pace(task)}")


@contextmanager
def progress() -> Iterator[Bar]:
    """A live bar: description, bar, count, images/s, time left, and a free text.

    Ctrl-C in its scope ends the program with a word on how to go on.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Rate(),
        TextColumn("{task.fields[info]}", style="dim"),
    )
    try:
        with Bar(*columns, console=err, refresh_per_second=4) as bar:
            yield bar
    except KeyboardInterrupt:
        fail("Interrupted. Everything finished is kept: the same command, without --fresh, goes on.")
        raise SystemExit(130) from None


@contextmanager
def downloading(name: str) -> Iterator[Callable[[int, int], None]]:
    """A live bar of bytes: a function that is told how many are here, and how many there are (0: not known)."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole or None)


def show(table: Table) -> None:
    """Print a table."""
    rich = RichTable(title=table.title, title_style="bold", caption=table.caption, caption_justify="left")
    for k, name in enumerate(table.header):
        rich.add_column(
            name, overflow="fold", justify="left" if k < 3 else "right", no_wrap=name in ("model", "method")
        )
    for row in table.rows:
        rich.add_row(*row)
    out.print(rich)


def fail(message: str) -> None:
    """Print an error."""
    err.print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
