"""Ctrl-C and SIGTERM: one sentence and the end, at any moment. Imports next to nothing, as it must be ready first.

Results appear whole or not at all, so a process may end between any two instructions; an exception in their place could
surface in the middle of an import, in a finaliser or in another library's `except`, and print a traceback there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""

TERMINATED = 143
"""Exit code after SIGTERM, which schedulers send."""

GO_ON = "Everything finished is kept: the same command, without --fresh, goes on."
"""Advice to the user after an interruption."""

REPEAT = "Nothing is half-written: give the same command again."
"""Advice where a command has no option --fresh."""

WITHOUT_FRESH = {
    "results", "report", "leaderboard", "compare", "show", "gallery", "effective", "ensemble", "posthoc", "figure",
    "score", "reproduce", "list", "new", "status",
}  # fmt: skip
"""Commands without the option --fresh."""

unfinished: set[str] = set()
"""Paths of files that are being written, which an interruption removes."""

children: set[int] = set()
"""Processes that this one has started for its own work, which an interruption ends, too."""

SHOW_CURSOR = b"\x1b[?25h"


def sentence(code: int) -> str:
    """The sentence that the user reads. code: the exit code."""
    advice = REPEAT if WITHOUT_FRESH & set(sys.argv[1:2]) else GO_ON
    return f"{'Terminated' if code == TERMINATED else 'Interrupted'}. {advice}"


def handle() -> None:
    """Let SIGINT and SIGTERM end the program at once. A signal that the process inherited as ignored stays ignored.

    Only the main thread can set handlers: in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        _end(128 + number, owner)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def _end(code: int, owner: int) -> None:
    """End at once. A forked worker prints nothing: its parent gets the same signal, or notices that it is gone."""
    if os.getpid() != owner:
        os._exit(code)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if os.environ.get("RANK", "0") == "0":  # of several processes, only the first one prints
        ends_bar = b"\n" + SHOW_CURSOR if os.isatty(2) else b""
        with suppress(OSError):
            os.write(2, ends_bar + sentence(code).encode() + b"\n")
    for child in list(children):
        with suppress(OSError):
            os.kill(child, signal.SIGTERM)
    for path in list(unfinished):
        with suppress(OSError):
            os.unlink(path)
    if "multiprocessing" in sys.modules:  # workers that read ahead would notice seconds later, and hold locks till then
        with suppress(Exception):  # of a library in any state; the exit must follow
            for child in sys.modules["multiprocessing"].active_children():
                child.kill()
    os._exit(code)
