"""One answer of a web server, read as it comes: bounded in size and time, whatever the server does."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPMessage, HTTPResponse
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from harness.base.errors import HarnessError

CHUNK = 2**18
TIMEOUT = 30.0
"""Seconds that a server may be silent."""
HEADERS = 120.0
"""Seconds until the first bytes of a file, redirections included."""
FIRST = 5.0
"""Seconds of the first stretch over which the speed is measured."""
WINDOW = 60.0
"""Seconds of each later stretch."""
FLOOR = 100
"""Slowest speed over a stretch, in bytes per second; a bad mobile line is a hundred times faster."""


class TooSlow(ConnectionError):
    """A server that sends too slowly to wait for."""


class Redirected(HTTPRedirectHandler):
    """Follows redirections to web addresses; from https to http only if the hash is known."""

    def __init__(self, hashed: bool) -> None:
        self._hashed = hashed

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """See `HTTPRedirectHandler`. Raises HarnessError for a place that is not safe."""
        check_address(newurl)
        if req.type == "https" and urlsplit(newurl).scheme != "https" and not self._hashed:
            raise HarnessError(
                f"{req.full_url} leads to {newurl}, where anybody on the way could exchange the file, and its SHA-256 "
                "is not known. Fetch it by hand, and look whether it is the right one."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_address(url: str) -> None:
    """Raise HarnessError for anything but a web address: local files and other services are not read."""
    try:
        on_web = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        on_web = False
    if not on_web:
        raise HarnessError(f"{url[:200]} is no address that files are fetched from, which begins with https://.")


class Transfer:
    """The answer to a request, its length (0 if unknown), and its bytes in pieces.

    A separate thread reads, because a server that sends one byte at a time can block any reader. After `TooSlow` the
    thread is left behind and ends with its connection or the process.
    """

    answer: HTTPResponse
    length: int

    def __init__(self, request: Request, hashed: bool) -> None:
        self._pieces: queue.Queue[Any] = queue.Queue(maxsize=16)
        self._left = threading.Event()
        check_address(request.full_url)
        threading.Thread(target=self._fetch, args=(request, hashed), daemon=True).start()
        self.answer, self.length = self._next(HEADERS)

    def __iter__(self) -> Iterator[bytes]:
        """The pieces; raises TooSlow if they come too slowly."""
        piece = self._next(HEADERS)
        begun, window, received = time.monotonic(), FIRST, 0
        while piece:
            yield piece
            received += len(piece)
            if received >= FLOOR * window:
                begun, window, received = time.monotonic(), WINDOW, 0
            piece = self._next(begun + window - time.monotonic())

    def leave(self) -> None:
        """Stop reading."""
        self._left.set()

    def _next(self, seconds: float) -> Any:
        try:
            piece = self._pieces.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            raise TooSlow(f"the server sends less than {FLOOR} bytes per second") from None
        if isinstance(piece, Exception):
            raise piece
        return piece

    def _fetch(self, request: Request, hashed: bool) -> None:
        opener = OpenerDirector()
        for handler in (
            ProxyHandler(), HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor(),
            Redirected(hashed),
        ):  # fmt: skip
            opener.add_handler(handler)
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                self._give((answer, answer.length or 0))
                while self._give(answer.read1(CHUNK)):
                    pass
        except Exception as error:  # raised again by the thread that waits for the file
            self._give(error)

    def _give(self, piece: Any) -> bool:
        """Hand a piece on; true if more is wanted."""
        while not self._left.is_set():
            with suppress(queue.Full):
                self._pieces.put(piece, timeout=1.0)
                return bool(piece)
        return False


def content_range(answer: HTTPResponse) -> tuple[int, int]:
    """First byte of a partial answer, and bytes of the complete file; -1 if unknown."""
    header = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", answer.headers.get("Content-Range", ""))
    if answer.status != 206 or not header:
        return -1, -1
    return int(header[1]), -1 if header[2] == "*" else int(header[2])
