"""Downloads: resumed, checked, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request

import pytest

from harness.models.published.download import direct, download
from harness.models.transfer import Redirected
from harness.types import HarnessError

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html>Sign in to download</html>"


class Server(ThreadingHTTPServer):
    """Serves `CONTENT` in good ways and in bad ones, and remembers the ranges that it was asked for."""

    daemon_threads = True
    ranges: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        way = self.path.strip("/")
        if way == "missing":
            return self.send_error(404, "Not Found")
        if way == "page":
            return self._answer(200, PAGE, "text/html; charset=utf-8")
        if way == "hidden-page":
            return self._answer(200, PAGE, "application/octet-stream")
        if way == "without-ranges":
            return self._answer(200, CONTENT)
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            return self.end_headers()
        most = {"cut": start + 30_000, "stuck": 50_000}.get(way, len(CONTENT))
        self._answer(206 if start else 200, CONTENT[start:], cut=max(most - start, 0), start=start)

    def _answer(
        self, code: int, body: bytes, kind: str = "application/octet-stream", cut: int = -1, start: int = 0
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body if cut < 0 else body[:cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.ranges = []
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def test_a_file_arrives_whole_and_is_told_about(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    file = tmp_path / "new" / "x.pth"
    download(f"{server.url}/good", file, sha256=SHA256[:8], size=len(CONTENT), report=lambda *at: told.append(at))
    assert file.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in file.parent.iterdir()] == ["x.pth"]
    download(f"{server.url}/missing", file)
    assert len(server.ranges) == 1, "what is here is not fetched again"


def test_a_connection_that_breaks_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    download(f"{server.url}/cut", tmp_path / "x.pth", sha256=SHA256)
    assert (tmp_path / "x.pth").read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_what_was_cut_off_is_kept_for_the_next_time(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    with pytest.raises(HarnessError, match=r"cut after 50,000 of 102,400 bytes.* 50,000 bytes are kept"):
        download(f"{server.url}/stuck", file, sha256=SHA256)
    assert not file.exists()
    assert (tmp_path / "x.pth.partial").read_bytes() == CONTENT[:50_000]
    server.ranges.clear()
    download(f"{server.url}/good", file, sha256=SHA256)
    assert file.read_bytes() == CONTENT and server.ranges == ["bytes=50000-"]
    assert not (tmp_path / "x.pth.partial").exists()


@pytest.mark.parametrize("kept", [CONTENT[:70_000], CONTENT, CONTENT + b"more"])
def test_any_partial_file_ends_well(server: Server, tmp_path: Path, kept: bytes) -> None:
    """Part of it, all of it (the last step was interrupted), and the rest of something longer."""
    (tmp_path / "x.pth.partial").write_bytes(kept)
    download(f"{server.url}/good", tmp_path / "x.pth", sha256=SHA256)
    assert (tmp_path / "x.pth").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pth.partial").write_bytes(CONTENT[:70_000])
    download(f"{server.url}/without-ranges", tmp_path / "x.pth", sha256=SHA256)
    assert (tmp_path / "x.pth").read_bytes() == CONTENT and server.ranges == ["bytes=70000-"]


@pytest.mark.parametrize(
    "way, expected, message",
    [
        ("page", {}, "HTML page"),
        ("hidden-page", {}, "HTML page"),
        ("missing", {}, "answered 404"),
        ("good", {"sha256": "0" * 64}, f"SHA-256 {SHA256} where {'0' * 64} was expected"),
        ("good", {"sha256": "01234567"}, "where 01234567 was expected"),
        ("good", {"size": 99}, "gave 102,400 bytes where 99 were expected"),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(
    server: Server, tmp_path: Path, way: str, expected: dict[str, object], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        download(f"{server.url}/{way}", tmp_path / "x.pth", **expected)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("x.pth*"))


def test_a_page_does_not_end_what_was_begun(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pth.partial").write_bytes(CONTENT[:70_000])
    with pytest.raises(HarnessError, match="HTML page"):
        download(f"{server.url}/page", tmp_path / "x.pth")
    assert (tmp_path / "x.pth.partial").stat().st_size == 70_000


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(HarnessError, match="refused"):
            download(f"http://127.0.0.1:{unused.getsockname()[1]}/x", tmp_path / "x.pth")


def test_a_folder_that_cannot_be_written_is_named(server: Server) -> None:
    with pytest.raises(HarnessError, match=r"/proc/nowhere/x\.pth"):
        download(f"{server.url}/good", Path("/proc/nowhere/x.pth"))


def test_two_at_once_do_not_disturb_one_another(server: Server, tmp_path: Path) -> None:
    calls = [threading.Thread(target=download, args=(f"{server.url}/cut", tmp_path / "x.pth")) for _ in range(2)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert (tmp_path / "x.pth").read_bytes() == CONTENT and len(server.ranges) == 4


# --- servers that never end, or lie ------------------------------------------------------------------------------


class Hostile(BaseHTTPRequestHandler):
    """Answers without end, by the path: see the tests."""

    server: Server

    def do_GET(self) -> None:
        have = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.ranges.append(self.headers.get("If-Range", ""))
        way = self.path.strip("/")
        self.send_response({"redirect": 302, "local": 302, "loop": 302, "range": 206}.get(way, 206 if have else 200))
        if way in ("local", "loop", "redirect"):
            self.send_header("Location", {"local": "file:///etc/passwd", "loop": "/loop"}.get(way, "/good"))
        if way in ("onebyte", "tiny"):
            self.send_header("Content-Range", f"bytes {have}-99999/100000")
            self.send_header("Content-Length", str(100_000 - have))
        if way == "range":
            self.send_header("Content-Range", "bytes 7-99/100")
        if way == "huge":
            self.send_header("Content-Length", str(10**15))
        if way == "nonsense":
            self.send_header("Content-Length", "many")
        if way == "gzip":
            self.send_header("Content-Encoding", "gzip")
        if way in ("good", "versioned"):
            self.send_header("Content-Length", str(len(CONTENT)))
            self.send_header("ETag", '"2"')
        self.end_headers()
        with contextlib.suppress(OSError):
            self._body(way)

    def _body(self, way: str) -> None:
        if way in ("good", "versioned", "nonsense"):
            self.wfile.write(CONTENT)
        elif way == "onebyte":
            self.wfile.write(b"x")
        while way in ("endless", "drip"):
            self.wfile.write(bytes(2**16) if way == "endless" else b"x")
            if way == "drip":
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("harness.models.transfer.FIRST", 0.5)
    monkeypatch.setattr("harness.models.transfer.HEADERS", 2.0)
    with Server(("127.0.0.1", 0), Hostile) as running:
        running.ranges = []
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize(
    "way, expected, message",
    [
        ("endless", {"size": 1000}, "gave more than 1,000 bytes"),
        ("endless", {}, "gave more than 3,000,000 bytes"),
        ("drip", {}, "less than 100 bytes per second"),
        ("onebyte", {}, "the connection was cut 20 times"),
        ("onebyte", {"size": 1000}, "gave 100,000 bytes where 1,000 were expected"),
        ("range", {}, "answered with another part of the file"),
        ("huge", {}, "there is room for"),
        ("gzip", {}, "in the encoding 'gzip'"),
        ("local", {}, "answered 302.*not allowed"),
        ("loop", {}, "the server answered 302"),
    ],
)
def test_every_download_ends(
    hostile: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, expected: dict[str, int], message: str
) -> None:
    monkeypatch.setattr("harness.models.published.download.CEILING", 3_000_000)
    begun = time.monotonic()
    with pytest.raises(HarnessError, match=message):
        download(f"{hostile.url}/{way}", tmp_path / "x.pth", **expected)
    assert time.monotonic() - begun < 5
    assert not (tmp_path / "x.pth").exists()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2**20


def test_headers_that_never_come_end_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.models.transfer.HEADERS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(HarnessError, match="less than 100 bytes"):
        download(f"http://127.0.0.1:{silent.getsockname()[1]}/x", tmp_path / "x.pth")


def test_a_length_that_is_no_number_and_a_redirection_do_no_harm(hostile: Server, tmp_path: Path) -> None:
    for way in ("nonsense", "redirect"):
        download(f"{hostile.url}/{way}", tmp_path / f"{way}.pth", sha256=SHA256)
        assert (tmp_path / f"{way}.pth").read_bytes() == CONTENT


def test_a_partial_file_of_another_version_is_not_taken_up(hostile: Server, tmp_path: Path) -> None:
    partial, url = tmp_path / "x.pth.partial", f"{hostile.url}/versioned"
    partial.write_bytes(b"another file")
    download(url, tmp_path / "x.pth")
    assert (tmp_path / "x.pth").read_bytes() == CONTENT and hostile.ranges == [""]
    partial.write_bytes(CONTENT[:10])
    partial.with_name("x.pth.partial.json").write_text(json.dumps({"url": url, "validator": '"1"'}))
    (tmp_path / "x.pth").unlink()
    with pytest.raises(HarnessError, match="another part of the file"):  # a server that ignores If-Range
        download(url, tmp_path / "x.pth")
    assert hostile.ranges == ["", '"1"']
    assert not partial.exists() and not partial.with_name("x.pth.partial.json").exists()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "/etc/passwd", "http//x", "http://[::1"])
def test_only_the_web_is_fetched_from(tmp_path: Path, url: str) -> None:
    with pytest.raises(HarnessError, match="no address that files are fetched from"):
        download(url, tmp_path / "x.pth")


@pytest.mark.parametrize(
    "start, end, hashed, allowed",
    [
        ("https", "https", False, True),
        ("https", "http", False, False),
        ("https", "http", True, True),
        ("http", "http", False, True),
        ("http", "https", False, True),
        ("https", "ftp", True, False),
        ("http", "file", True, False),
    ],
)
def test_a_redirection_leaves_encryption_only_where_a_hash_is_known(
    start: str, end: str, hashed: bool, allowed: bool
) -> None:
    request, headers = Request(f"{start}://example.org/x"), HTTPMessage()
    follow = partial(Redirected(hashed).redirect_request, request, io.BytesIO(), 302, "Found", headers)
    if allowed:
        assert (followed := follow(f"{end}://example.com/y")) and followed.full_url == f"{end}://example.com/y"
    else:
        with pytest.raises(HarnessError, match=r"no address that files|could exchange the file"):
            follow(f"{end}://example.com/y")


def test_links_of_google_drive_lead_to_the_file() -> None:
    link = "https://drive.google.com/file/d/1z-1V3rd_x/view?usp=sharing"
    assert re.fullmatch(r"https://drive\.usercontent\.google\.com/download\?id=1z-1V3rd_x&.*confirm=t.*", direct(link))
    assert direct("https://download.pytorch.org/models/x.pth") == "https://download.pytorch.org/models/x.pth"
