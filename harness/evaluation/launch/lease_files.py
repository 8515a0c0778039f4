"""Leases: of several processes that share a folder, one at a time makes a file, and a dead one's work is taken over.

A lease is a file whose time its holder renews (`filelock.SoftFileLease`). A holder that died is noticed at once on its
own host; on another one when the lease was not renewed for `DURATION`. A process that was stopped for longer may come
to make the same file as the one that took over. So leases are for files that are the same whoever makes them, and that
appear in one piece: then this costs time, and harms nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from filelock import SoftFileLease, Timeout

from harness.base import interruption
from harness.base.errors import HarnessError

DURATION = 60.0
"""Seconds without a sign of life after which another host's lease is taken over. The same for all processes."""

POLL = 1.0
"""Seconds between two looks for work, while others do all that is left."""


class Leases:
    """The leases of one process. duration: see `DURATION`."""

    def __init__(self, duration: float = DURATION) -> None:
        self._duration = duration
        self._known: dict[Path, SoftFileLease] = {}
        self.held: set[Path] = set()

    def claim(self, file: Path) -> bool:
        """Take the lease that this file stands for; False where another process holds it.

        Its age is measured from the first attempt on. Raises HarnessError where the file cannot be written.
        """
        if file not in self._known:
            self._known[file] = SoftFileLease(file, lease_duration=self._duration, thread_local=False)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._known[file].acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise HarnessError(
                f"Cannot write {file}: {error.strerror or error}. Choose a folder you can write to."
            ) from error
        interruption.unfinished.add(str(file))
        self.held.add(file)
        return True

    def release(self, file: Path) -> None:
        """Give a lease back, also one that was lost to another process."""
        with suppress(OSError, RuntimeError):
            self._known[file].release(force=True)
        interruption.unfinished.discard(str(file))
        self.held.discard(file)

    def close(self) -> None:
        """Give all leases back."""
        for file in list(self.held):
            self.release(file)


def complete(files: Iterable[Path], there: Callable[[Path], bool], make: Callable[[Path], object]) -> None:
    """Make the files that are not there yet, each in one process only; wait for those that others make.

    there: whether a file is on disk and whole; asked again once it has changed.
    """
    leases = Leases()
    missing = {file: _changed(file) for file in files if not there(file)}
    try:
        while missing:
            before = len(missing)
            for file, seen in list(missing.items()):
                lease = file.with_name(f"{file.name}.lease")
                if not leases.claim(lease):
                    continue
                if _changed(file) == seen or not there(file):
                    make(file)
                leases.release(lease)
                del missing[file]
            if len(missing) == before:
                time.sleep(POLL)
    finally:
        leases.close()


def _changed(file: Path) -> tuple[int, int] | None:
    """What changes when a file is written anew; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
