"""Arrays in .npz archives that anyone may have written: checked by their headers, read in pieces, never unpickled."""

from __future__ import annotations

import hashlib
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import missing
from harness.base.files import check_regular
from harness.base.signatures import sniff_file
from harness.types import HarnessError

DIRECTORY = 2**20
"""Largest list of an archive's members, in bytes: thousands of them."""

HEADER = 10_000
"""Largest header of an array, in bytes, which numpy evaluates as a literal."""

SMALL, INFLATED = 2**28, 100
"""Bytes up to which an array may be compressed at any ratio, and the ratio beyond: photographs reach 3, digits 30."""

PIECE = 2**22
"""Bytes that are hashed at a time."""


@dataclass(frozen=True)
class NpzArray:
    """One array of an archive, of which only the header was read.

    member: its name in the archive, with .npy. start: bytes of its header. dtype, shape: of its numbers.
    """

    member: str
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row(self) -> int:
        """Bytes of one row, along the first axis."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape)) or 'single'} {self.dtype}"


@dataclass(frozen=True, eq=False)
class NpzFile:
    """An archive. path: its file. arrays: by name."""

    path: Path
    arrays: Mapping[str, NpzArray]

    def whole(self, name: str, limit: int) -> NDArray[Any]:
        """One array; raises HarnessError for more than `limit` bytes and for a damaged one."""
        array = self.arrays[name]
        size = array.dtype.itemsize * math.prod(array.shape)
        if size > limit:
            raise HarnessError(f"{self.path}: {name} has {size:,} bytes, too many for what is expected there.")
        with _faults(self.path), zipfile.ZipFile(self.path) as archive, archive.open(array.member) as member:
            member.seek(array.start)
            return np.frombuffer(_exactly(member, size), array.dtype).reshape(array.shape)

    def sha256(self, name: str) -> str:
        """Hash of an array's type, shape and numbers, however it is compressed; reads all of it, and checks its CRC."""
        array = self.arrays[name]
        digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
        with _faults(self.path), zipfile.ZipFile(self.path) as archive, archive.open(array.member) as member:
            member.seek(array.start)
            while piece := member.read(PIECE):
                digest.update(piece)
        return digest.hexdigest()


class NpzRows:
    """Rows of an array in any order, without the others in memory; increasing ones need a single pass."""

    def __init__(self, archive: NpzFile, name: str) -> None:
        self._path, self._array = archive.path, archive.arrays[name]
        self._member: IO[bytes] | None = None

    def __call__(self, start: int, stop: int) -> NDArray[Any]:
        """Rows (stop - start, ...); raises HarnessError for a damaged archive."""
        array = self._array
        with _faults(self._path):
            if self._member is None:
                archive = zipfile.ZipFile(self._path)  # the member keeps it open
                self._member = archive.open(array.member)
            place = array.start + start * array.row
            if self._member.tell() != place:
                self._member.seek(place)
            content = _exactly(self._member, (stop - start) * array.row)
        return np.frombuffer(content, array.dtype).reshape(stop - start, *array.shape[1:])


def open_npz(path: Path) -> NpzFile:
    """An archive as `np.savez` and `np.savez_compressed` write it; reads the headers of its arrays alone.

    Raises HarnessError for a file that is missing, damaged or of another kind, for pickled objects, for arrays that
    claim other sizes than they have, and for ones that would be far larger than their file.
    """
    if not path.exists():
        raise missing(path, f"No file at {path}. Check the path.")
    check_regular(path)
    if not zipfile.is_zipfile(path):
        kind = sniff_file(path)
        raise HarnessError(f"{path} is no .npz archive: it is {kind or 'something else'}. Write it with numpy.savez.")
    with _faults(path):
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names):
                raise HarnessError(f"{path}: two arrays have one name. Write it anew with numpy.savez.")
            arrays = [_array(path, archive, m) for m in members if m.filename.endswith(".npy")]
    return NpzFile(path, {array.member.removesuffix(".npy"): array for array in arrays})


def _check_directory(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 22, 0))
        end = file.read()
    if end[:4] == b"PK\x05\x06" and struct.unpack("<I", end[12:16])[0] > DIRECTORY:
        raise HarnessError(
            f"{path}: the list of its arrays has more than {DIRECTORY:,} bytes; it is no file of images."
        )


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpzArray:
    """An array by its header, whose claims must be those of the archive."""
    name = info.filename.removesuffix(".npy")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise HarnessError(f"{path}: {name} is encrypted or packed in a way that numpy never uses. Write it anew.")
    if info.file_size > max(SMALL, INFLATED * info.compress_size):
        raise HarnessError(
            f"{path}: {name} would grow from {info.compress_size:,} to {info.file_size:,} bytes, as no images do. "
            "If it is meant, write it with numpy.savez, uncompressed."
        )
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member, max_header_size=HEADER)
        start = member.tell()
    if dtype.hasobject:
        raise HarnessError(f"{path}: {name} holds pickled objects, which may run code. Save numbers alone.")
    if fortran and len(shape) > 1:
        raise HarnessError(f"{path}: {name} is in Fortran's order. Save numpy.ascontiguousarray of it.")
    if min(shape, default=0) < 0 or start + dtype.itemsize * math.prod(shape) != info.file_size:
        raise HarnessError(f"{path}: {name} claims shape {shape}, which its {info.file_size:,} bytes do not hold.")
    return NpzArray(info.filename, start, dtype, tuple(shape))


def _exactly(member: IO[bytes], size: int) -> bytes:
    content = member.read(size)
    if len(content) < size:
        raise EOFError("it ends too early")
    return content


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn the errors of damaged archives and headers into one that names the file."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:  # of zipfile, zlib, and numpy's parser of headers, which raises many kinds
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise HarnessError(f"{path} was cut short or is damaged ({reason}). Fetch or write it again.") from error
