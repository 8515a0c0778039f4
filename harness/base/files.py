"""Files on disk: written in full or not at all, locked, hashed, and read within bounds."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import stat
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from harness.base import interruption
from harness.base.errors import HarnessError, Notice

TEXT_LIMIT = 64 * 2**20
"""Bytes of a file of text or JSON at most: records and manifests are far smaller, and /dev/zero is endless."""


@contextlib.contextmanager
def writing(file: Path) -> Iterator[Path]:
    """A temporary path that becomes `file` when the block ends without error.

    Raises HarnessError, with the remedy, for a full disk or a folder that cannot be written to.
    """
    partial = _partial(file)
    interruption.unfinished.add(str(partial))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, file)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some space" if full else "Choose a folder you can write to"
        raise HarnessError(
            f"Cannot write {file}: {error.strerror or error}. {remedy} and run the same command again; "
            "everything finished so far is kept."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        interruption.unfinished.discard(str(partial))


def check_writable(folder: Path) -> None:
    """Raise HarnessError before the work, not after it, for a folder that cannot be written to."""
    probe = _partial(folder / "write-test")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise HarnessError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose a folder you can write to with --out."
        ) from error


LOCK = ".lock"
"""Name of the file that is locked; it stays, empty."""

PATIENCE = 10.0
"""Seconds to wait for a lock: workers of a killed process notice its end within five, and hold its lock till then."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; raises HarnessError if another process holds it for longer than `PATIENCE`.

    The system releases the lock when the process ends, however it ends.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise HarnessError(
            f"Another process is at work in {folder}. Wait until it is done, or give another folder with --out."
        ) from error
    except NotImplementedError:  # older versions of the library, on a file system without locks
        warnings.warn(Notice(f"{folder} cannot be locked: see that no second run writes into it."), stacklevel=3)
    try:
        yield
    finally:
        lock.release()


ABANDONED_AFTER = 86_400.0
"""Seconds without a change after which an unfinished file counts as left behind, on whichever machine it was begun."""


def sweep(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder: see `_partial`.

    A file from this machine goes as soon as its process is gone; one from another machine that shares the folder, after
    `ABANDONED_AFTER`. Files that cannot be removed stay: they do no harm.
    """
    for file in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            owner = re.search(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.partial$", file.name)
            dead = owner is not None and owner[1] == _machine() and not _alive(int(owner[2]))
            if dead or time.time() - file.stat().st_mtime > ABANDONED_AFTER:
                file.unlink()


def _partial(file: Path) -> Path:
    """.NAME.MACHINE-PROCESS-RANDOM.partial: processes on several machines may have one number."""
    return file.with_name(f".{file.name}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.partial")


@lru_cache(maxsize=1)
def _machine() -> str:
    """Eight hex digits for this machine since it was started, or this container: process numbers are unique there."""
    marks = [platform.node()]
    with contextlib.suppress(OSError):  # Linux alone has these
        marks += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("".join(marks).encode()).hexdigest()[:8]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def check_regular(file: Path) -> None:
    """Raise HarnessError for a pipe, a device or a folder, which would hang or never end; OSError if absent."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise HarnessError(f"{file} is a {'folder' if file.is_dir() else 'pipe or device'}, not a file. Give a file.")


def read_limited(file: Path, limit: int = TEXT_LIMIT) -> bytes:
    """A regular file's bytes; HarnessError for other things and for more than `limit` bytes, OSError as `open`."""
    check_regular(file)
    with file.open("rb") as opened:
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise HarnessError(f"{file} has more than {limit:,} bytes, too many for what is expected there.")
    return content


@lru_cache(maxsize=64)
def _sha256(path: Path, stamp: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; remembered until the file changes. Raises HarnessError for what is no regular file."""
    check_regular(path)
    status = path.stat()
    return _sha256(path, (status.st_mtime_ns, status.st_size))


def cache_folder() -> Path:
    """Folder of results that can be computed again: ``$XDG_CACHE_HOME/robustness-harness`` or below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustness-harness"
