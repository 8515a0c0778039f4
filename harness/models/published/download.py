"""Download files: resumed after a cut, checked, and never an HTML page instead of a file."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

from harness.base.errors import HarnessError
from harness.base.files import file_sha256, read_limited
from harness.base.parsing import parse_json
from harness.base.signatures import PAGE, is_page
from harness.models.transfer import TooSlow, Transfer, check_address, content_range

CEILING = 20 * 2**30
"""Largest file, in bytes, whose size is unknown."""
SPARED = 2**28
"""Bytes that stay free on the disk."""
TRIES = 20
"""Tries that may each bring less than `MUCH` bytes."""
MUCH = 2**20
"""Bytes that make a try a good one."""

DownloadReport = Callable[[int, int], None]
"""Receives the bytes that are here, and those of the complete file, 0 if unknown."""


def offline() -> bool:
    """True if the user forbids the network with ``HF_HUB_OFFLINE=1``, as for the Hugging Face hub."""
    return os.environ.get("HF_HUB_OFFLINE", "0").upper() not in ("", "0", "NO", "FALSE", "OFF")


def direct(url: str) -> str:
    """The address of the bytes: a Google Drive link leads to a page about the file, which has another address."""
    drive = re.match(r"https://drive\.google\.com/file/d/([\w-]+)", url)
    return f"https://drive.usercontent.google.com/download?id={drive[1]}&export=download&confirm=t" if drive else url


def silent(done: int, total: int) -> None:
    """A `Report` that ignores its numbers."""


@dataclass
class Wanted:
    """A file to download and its state: see `download`.

    total: its bytes as the server first stated them, 0 if unknown. validator: its version (ETag or date), as the server
    named it. stale: no evidence ties the bytes that are here to this file.
    """

    url: str
    partial: Path
    sha256: str
    size: int
    report: DownloadReport
    total: int = 0
    validator: str = ""
    stale: bool = False

    @property
    def notes(self) -> Path:
        """File with the version of the partial file."""
        return self.partial.with_name(f"{self.partial.name}.json")

    @property
    def have(self) -> int:
        """Usable bytes that are here."""
        return self.partial.stat().st_size if self.partial.exists() and not self.stale else 0

    def forget(self) -> None:
        """Remove the partial file and its notes."""
        for file in (self.partial, self.notes):
            file.unlink(missing_ok=True)


def download(url: str, file: Path, *, sha256: str = "", size: int = 0, report: DownloadReport = silent) -> None:
    """Download a file completely or not at all; an existing file stays as it is.

    A download that was cut off stays in ``FILE.partial``. The next call goes on from there if a hash or the server's
    version of the file shows that it is the same one. Processes take turns.

    sha256: the hash or its first digits, size: bytes; empty and 0 if unknown. Raises HarnessError for a
    server that cannot be reached, refuses, is too slow or sends without end; for an HTML page; and for a file of
    another size or hash, which is removed.
    """
    from filelock import FileLock

    partial, lock = file.with_name(f"{file.name}.partial"), file.with_name(f".{file.name}.lock")
    try:
        check_address(url)
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not file.exists():
                wanted = Wanted(direct(url), partial, sha256, size, report)
                _resume(wanted)
                _pull(wanted)
                _check(url, wanted)
                wanted.notes.unlink(missing_ok=True)
                partial.replace(file)
            lock.unlink(missing_ok=True)
    except HTTPError as error:
        raise HarnessError(f"{url}: the server answered {error.code} {error.reason}.") from error
    except (OSError, HTTPException, ValueError) as error:
        if _is_of_disk(error):
            raise HarnessError(f"Cannot write {partial}: {error}. Make room or choose another folder.") from error
        resumable = f" {partial.stat().st_size:,} bytes are kept: the next try goes on." if partial.exists() else ""
        raise HarnessError(f"{url}: {getattr(error, 'reason', None) or error}.{resumable}") from error


def _is_of_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and (bool(error.filename) or error.errno in (errno.ENOSPC, errno.EDQUOT))


def _resume(wanted: Wanted) -> None:
    """Decide whether the bytes that are here can be continued."""
    try:
        notes = parse_json(read_limited(wanted.notes))
        if notes["url"] == wanted.url and isinstance(notes["validator"], str):
            wanted.validator = notes["validator"]
    except (OSError, ValueError, KeyError, TypeError, HarnessError):
        wanted.validator = ""  # without trustworthy notes only a hash can vouch for the bytes
    wanted.stale = not wanted.validator and not wanted.sha256


def _pull(wanted: Wanted) -> None:
    """Fetch the missing bytes in as many tries as each brings something."""
    poor = 0
    while True:
        before = wanted.have
        try:
            return _once(wanted, before)
        except HTTPError as error:
            if error.code != 416 or not before:
                raise
            # "Range not satisfiable": there is no more, or the file has become another one.
            if error.headers.get("Content-Range") == f"bytes */{before}":
                return
            wanted.forget()
        except TooSlow:
            raise
        except (OSError, HTTPException) as error:
            if _is_of_disk(error) or wanted.have <= before:
                raise
        poor += wanted.have < before + MUCH
        if poor >= TRIES:
            raise ConnectionError(f"the connection was cut {poor} times, and next to nothing came between")


def _once(wanted: Wanted, have: int) -> None:
    headers = {"User-Agent": "robustness-harness", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if have and wanted.validator:
        headers["If-Range"] = wanted.validator
    transfer = Transfer(Request(wanted.url, headers=headers), hashed=len(wanted.sha256) == 64)
    try:
        have = _begin(wanted, transfer.answer, transfer.length, have)
        most = _most(wanted)
        with wanted.partial.open("ab") as out:
            for piece in transfer:
                have += len(piece)
                if have > most:
                    raise _refused(wanted, f"gave more than {most:,} bytes, which is all that was expected")
                out.write(piece)
                wanted.report(have, wanted.total)
    finally:
        transfer.leave()
    if have < wanted.total:
        raise ConnectionError(f"the connection was cut after {have:,} of {wanted.total:,} bytes")


def _begin(wanted: Wanted, answer: HTTPResponse, length: int, have: int) -> int:
    """Check an answer before its bytes: the number of bytes to keep. Raises HarnessError for another file."""
    if answer.headers.get_content_type() == "text/html":
        raise HarnessError(f"{wanted.url} gives no file: {PAGE}")
    if (encoding := answer.headers.get("Content-Encoding", "identity")) != "identity":
        raise HarnessError(f"{wanted.url} comes in the encoding {encoding[:40]!r}, which was not asked for.")
    start, total = content_range(answer)
    resumed = have > 0 and start == have and (not wanted.total or total in (-1, wanted.total))
    if answer.status == 206 and not resumed:
        wanted.forget()
        raise ConnectionError(f"the server answered with another part of the file than from byte {have:,} on")
    have = have if resumed else 0
    wanted.total = total if resumed and total > 0 else have + length
    if wanted.size and wanted.total and wanted.total != wanted.size:
        raise _refused(wanted, f"gave {wanted.total:,} bytes where {wanted.size:,} were expected")
    etag = answer.headers.get("ETag", "")
    wanted.validator = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    if not resumed:
        wanted.stale = False
        wanted.partial.write_bytes(b"")
        wanted.notes.unlink(missing_ok=True)
    if wanted.validator:
        wanted.notes.write_text(json.dumps({"url": wanted.url, "validator": wanted.validator}))
    return have


def _most(wanted: Wanted) -> int:
    """Largest number of bytes that file and disk allow; raises HarnessError if the disk has no room for the file."""
    free = shutil.disk_usage(wanted.partial.parent).free - SPARED + wanted.have
    stated = wanted.size or wanted.total
    if stated > free:
        raise HarnessError(
            f"{wanted.url} has {stated:,} bytes, and there is room for {max(free, 0):,} in {wanted.partial.parent}. "
            "Make room or choose another folder."
        )
    return stated or min(CEILING, free)


def _refused(wanted: Wanted, complaint: str) -> HarnessError:
    """The error for bytes of another file, which are removed."""
    wanted.forget()
    return HarnessError(f"{wanted.url} {complaint}; they were removed.")


def _check(url: str, wanted: Wanted) -> None:
    size = wanted.have
    digest = file_sha256(wanted.partial)
    if is_page(wanted.partial):
        complaint = f"gives no file: {PAGE}"
    elif wanted.size and size != wanted.size:
        complaint = f"gave {size:,} bytes where {wanted.size:,} were expected; they were removed."
    elif not digest.startswith(wanted.sha256):
        complaint = f"gave a file with SHA-256 {digest} where {wanted.sha256} was expected; it was removed."
    else:
        return
    wanted.forget()
    raise HarnessError(f"{url} {complaint}")
