"""The progress bar in a notebook: one output that is updated in place, without widgets."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import TaskID

from harness.terminal.console import Bar, Line


class NotebookBar(Bar):
    """A line of text per step, below the cell."""

    EVERY = 0.25
    """Seconds between two updates."""
    LOG_EVERY = float("inf")

    def start(self) -> None:
        """The output appears with the first line."""
        self._idle_since = self.get_time()
        self._handle: Any = None
        self._drawn = 0.0

    def stop(self) -> None:
        """Draw the last state."""
        if self.tasks:
            self._draw()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """See `Bar.update`."""
        super().update(task_id, **changes)
        if time.monotonic() - self._drawn > self.EVERY:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        content = {"text/plain": "\n".join(Line().render(task).plain for task in self.tasks)}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
