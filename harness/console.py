"""What the user sees: progress bars and tables. The only module that prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

from harness.leaderboard import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Rate(ProgressColumn):
    """Images per second, over the recent past."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} images/s" if speed else "- images/s", style="cyan")


class Bar(Progress):
    """A live bar in a terminal; in a log file a line every half minute."""

    LOG_EVERY = 30.0
    _logged = float("-inf")

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """See `rich.progress.Progress.update`."""
        super().update(task_id, **changes)
        if not self.console.is_terminal and time.monotonic() - self._logged > self.LOG_EVERY:
            self._logged = time.monotonic()
            task = self._tasks[task_id]
            left = f", {task.time_remaining:.0f} s left" if task.time_remaining is not None else ""
            speed = f", {task.speed:,.0f} images/s" if task.speed else ""
            self.console.print(f"{task.description}: {task.completed:.0f}/{task.total or 0:.0f}{speed}{left}")


@contextmanager
def progress() -> Iterator[Progress]:
    """A live bar: description, bar, count, images/s, time left, and a free text of the task's `info`.

    Ctrl-C in its scope ends the program with a word on how to go on.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[info]}", style="dim"),
    )
    try:
        with Bar(*columns, console=err, refresh_per_second=4, speed_estimate_period=60) as bar:
            yield bar
    except KeyboardInterrupt:
        fail("Interrupted. Everything finished is kept: the same command, without --fresh, goes on.")
        raise SystemExit(130) from None


def show(table: Table) -> None:
    """Print a table."""
    rich = RichTable(title=table.title, title_style="bold", caption=table.caption, caption_justify="left")
    for k, name in enumerate(table.header):
        rich.add_column(name, overflow="fold", justify="left" if k < 3 else "right")
    for row in table.rows:
        rich.add_row(*row)
    out.print(rich)


def fail(message: str) -> None:
    """Print an error."""
    err.print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
