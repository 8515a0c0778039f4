"""Files from the network: resumed where they were cut off, checked, and never an HTML page in place of a file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from harness.errors import HarnessError
from harness.files import PAGE, file_sha256, is_page

CHUNK = 2**20
TIMEOUT = 30.0
"""Seconds that a server may be silent."""

Report = Callable[[int, int], None]
"""Told the bytes that are there and the bytes of the whole, 0 where the server does not say."""


def offline() -> bool:
    """Whether the user wants nothing from the network: ``HF_HUB_OFFLINE=1``, as the Hugging Face hub has it."""
    return os.environ.get("HF_HUB_OFFLINE", "0").upper() not in ("", "0", "NO", "FALSE", "OFF")


def direct(url: str) -> str:
    """Where the bytes are: a Google Drive link shows a page about the file, which has another address itself."""
    drive = re.match(r"https://drive\.google\.com/file/d/([\w-]+)", url)
    return f"https://drive.usercontent.google.com/download?id={drive[1]}&export=download&confirm=t" if drive else url


def silent(done: int, whole: int) -> None:
    """Reports to nobody."""


def download(url: str, file: Path, *, sha256: str = "", size: int = 0, report: Report = silent) -> None:
    """Bring a file here, whole or not at all; nothing happens where it is here already.

    What was cut off stays in ``FILE.partial``, and the next call goes on from there. Processes take turns.

    sha256: the hash or its first digits, size: bytes; empty and 0 where they are not known. Raises HarnessError for a
    server that cannot be reached or refuses, an HTML page, and a file of another size or hash, which is removed.
    """
    from filelock import FileLock

    partial, lock = file.with_name(f"{file.name}.partial"), file.with_name(f".{file.name}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not file.exists():
                _pull(direct(url), partial, report)
                _check(url, partial, sha256, size)
                partial.replace(file)
            lock.unlink(missing_ok=True)
    except HTTPError as error:
        raise HarnessError(f"{url}: the server answered {error.code} {error.reason}.") from error
    except (OSError, HTTPException) as error:
        if _is_of_disk(error):
            raise HarnessError(f"Cannot write {partial}: {error}. Make room or choose another folder.") from error
        kept = f" {partial.stat().st_size:,} bytes are kept: the next try goes on." if partial.exists() else ""
        raise HarnessError(f"{url}: {getattr(error, 'reason', None) or error}.{kept}") from error


def _is_of_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and (bool(error.filename) or error.errno in (errno.ENOSPC, errno.EDQUOT))


def _pull(url: str, partial: Path, report: Report) -> None:
    """Fetch what is missing of `partial`, again and again while every try brings something."""
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            return _once(url, partial, before, report)
        except HTTPError as error:
            if error.code != 416:  # "range not satisfiable": there is no more, or the file has become another one
                raise
            if error.headers.get("Content-Range") == f"bytes */{before}":
                return
            partial.unlink()
        except (OSError, HTTPException) as error:
            if _is_of_disk(error) or not partial.exists() or partial.stat().st_size <= before:
                raise


def _once(url: str, partial: Path, have: int, report: Report) -> None:
    headers = {"User-Agent": "robustness-harness", **({"Range": f"bytes={have}-"} if have else {})}
    with cast(HTTPResponse, urlopen(Request(url, headers=headers), timeout=TIMEOUT)) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise HarnessError(f"{url} gives no file: {PAGE}")
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length else 0
        with partial.open("ab" if resumed else "wb") as out:
            while chunk := answer.read(CHUNK):
                out.write(chunk)
                have += len(chunk)
                report(have, whole)
    if have < whole:
        raise ConnectionError(f"the connection was cut after {have:,} of {whole:,} bytes")


def _check(url: str, partial: Path, sha256: str, size: int) -> None:
    found, digest = partial.stat().st_size, file_sha256(partial)
    if is_page(partial):
        complaint = f"gives no file: {PAGE}"
    elif size and found != size:
        complaint = f"gave {found:,} bytes where {size:,} were expected; they were removed."
    elif not digest.startswith(sha256):
        complaint = f"gave a file with SHA-256 {digest} where {sha256} was expected; it was removed."
    else:
        return
    partial.unlink()
    raise HarnessError(f"{url} {complaint}")
