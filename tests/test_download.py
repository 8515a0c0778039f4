"""Downloads: resumed, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.download import direct, download
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


def test_links_of_google_drive_lead_to_the_file() -> None:
    link = "https://drive.google.com/file/d/1z-1V3rd_x/view?usp=sharing"
    assert re.fullmatch(r"https://drive\.usercontent\.google\.com/download\?id=1z-1V3rd_x&.*confirm=t.*", direct(link))
    assert direct("https://download.pytorch.org/models/x.pth") == "https://download.pytorch.org/models/x.pth"
