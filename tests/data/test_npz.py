"""Arrays in .npz archives: the same rows in any order, and one message for whatever is wrong with a file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.data.layouts.npz import NpzRows, open_npz
from harness.types import Absent, HarnessError

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_are_those_of_the_array_in_any_order(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "a.npz", PIXELS, np.arange(7))
    archive = open_npz(tmp_path / "a.npz")
    rows = NpzRows(archive, "arr_0")
    for start, stop in ((0, 3), (3, 7), (1, 2), (6, 7)):
        assert np.array_equal(rows(start, stop), PIXELS[start:stop])
    assert archive.whole("arr_1", 1000).tolist() == list(range(7))


def test_a_hash_is_that_of_the_numbers_and_not_of_their_compression(tmp_path: Path) -> None:
    hashes = set()
    for number, save in enumerate((np.savez, np.savez_compressed)):
        save(tmp_path / f"{number}.npz", PIXELS)
        hashes.add(open_npz(tmp_path / f"{number}.npz").sha256("arr_0"))
    np.savez(tmp_path / "flat.npz", PIXELS.reshape(7, 5, 4, 3))
    assert len(hashes) == 1
    assert open_npz(tmp_path / "flat.npz").sha256("arr_0") not in hashes


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([{"a": 1}], dtype=object))
    with pytest.raises(HarnessError, match=r"arr_0 holds pickled objects"):
        open_npz(tmp_path / "a.npz")


def test_archives_that_would_grow_beyond_reason_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.layouts.npz.SMALL", 1000)
    np.savez_compressed(tmp_path / "a.npz", np.zeros((200, 32, 32, 3), np.uint8))
    with pytest.raises(HarnessError, match=r"would grow from .* to 614,\d+ bytes"):
        open_npz(tmp_path / "a.npz")


def archive_of(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_claimed_shape_must_be_that_of_the_bytes(tmp_path: Path) -> None:
    content = npy(PIXELS).replace(b"(7, 4, 5, 3)", b"(9, 4, 5, 3)")
    with pytest.raises(HarnessError, match=r"arr_0 claims shape \(9, 4, 5, 3\)"):
        open_npz(archive_of(tmp_path / "a.npz", ("arr_0.npy", content)))


def test_other_faults_have_one_message_each(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="No file at"):
        open_npz(tmp_path / "none.npz")
    (tmp_path / "page.npz").write_text("<html>Sign in</html>")
    with pytest.raises(HarnessError, match=r"no \.npz archive: it is an HTML page"):
        open_npz(tmp_path / "page.npz")
    with pytest.raises(HarnessError, match="Fortran"):
        open_npz(archive_of(tmp_path / "f.npz", ("arr_0.npy", npy(np.asfortranarray(PIXELS)))))
    with pytest.raises(HarnessError, match="never uses"):
        open_npz(archive_of(tmp_path / "x.npz", ("arr_0.npy", npy(PIXELS)), compression=zipfile.ZIP_LZMA))
    with pytest.raises(HarnessError, match="damaged"):
        open_npz(archive_of(tmp_path / "h.npz", ("arr_0.npy", b"\x93NUMPY\x01\x00\x05\x00{'a':")))


def test_damaged_numbers_are_noticed(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.npz", ("arr_0.npy", npy(PIXELS)))
    content = bytearray(path.read_bytes())
    content[content.index(PIXELS[3].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=r"damaged \(Bad CRC"):
        open_npz(path).sha256("arr_0")
