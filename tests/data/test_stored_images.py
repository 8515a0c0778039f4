"""Untrusted images on disk: which files are counted, named and decoded, within which bounds, and under which ids."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import harness
from PIL import Image

from harness import plugins
from harness.base.signatures import sniff
from harness.data import ImageList, content_ids, open_dataset, open_mapped, open_pictures, read_image
from harness.data.decoding import LARGEST
from harness.data.folder_contents import check_all_read
from harness.data.layouts import rows
from harness.terminal import console
from harness.types import BadImage, Geometry, HarnessError

GEOMETRY = Geometry(8, 8, "bilinear")
WHOLE = Geometry(None, 4, "bilinear")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def encoded(value: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 8), (value, value, value)).save(buffer, kind)
    return buffer.getvalue()


IMAGES = {f"{label}/{k}": encoded(10 * k + 100 * (label == "b")) for label in "ab" for k in range(6)}


def as_folder(root: Path, split: str = "test") -> Path:
    for name, content in IMAGES.items():
        path = root / split / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def as_parquet(root: Path, split: str = "test", **more: Any) -> Path:
    root.mkdir(exist_ok=True)
    names = list(reversed(IMAGES))
    table = {"image": [{"bytes": IMAGES[n], "path": None} for n in names], "label": [n[0] for n in names], **more}
    pq.write_table(pa.table(table), root / f"{split}-0.parquet", row_group_size=5)
    return root


def pack(file: Path, members: dict[str, bytes]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.parent


def as_tar(root: Path, split: str = "test") -> Path:
    members = {}
    for name in sorted(IMAGES, key=lambda name: name[::-1]):
        key = name.replace("/", "")
        members |= {f"{key}.png": IMAGES[name], f"{key}.cls": name[0].encode()}
    return pack(root / f"{split}.tar", members)


def opened(root: Path, **options: Any) -> Any:
    return open_pictures(root, "test", GEOMETRY, name="tiny", **options)


LAYOUTS = (as_folder, as_parquet, as_tar)


def test_the_same_images_have_the_same_ids_order_and_hash_in_every_layout(tmp_path: Path) -> None:
    data = [opened(layout(tmp_path / str(k))) for k, layout in enumerate(LAYOUTS)]
    assert len({d.ids for d in data}) == len({d.sha256 for d in data}) == len(set(data[0].ids)) // 12 == 1
    assert all(d.labels.equal(data[0].labels) for d in data)
    assert all(d.read(range(12)).images.equal(data[0].read(range(12)).images) for d in data)
    assert [len(name) for name in data[0].ids] == [content_ids.DIGITS] * 12
    for split in ("train", "test"):
        for k, layout in enumerate(LAYOUTS):
            layout(tmp_path / str(k), split)
    own = [open_dataset("folder", "test", str(tmp_path / str(k))) for k in range(3)]
    assert len({d.sha256 for d in own}) == 1
    train: Any = open_dataset("folder", "train", str(tmp_path / "0"))
    assert train.ids[0] == "train/a/0.png", "what checkpoints were trained on keeps its names"


def test_equal_images_are_numbered_by_their_labels(tmp_path: Path) -> None:
    as_folder(tmp_path)
    shutil.copy(tmp_path / "test/b/3.png", tmp_path / "test/a/again.png")
    data = opened(tmp_path)
    (twice,) = [name for name in data.ids if name.endswith("#2")]
    first = data.ids.index(twice.removesuffix("#2"))
    assert data.ids[first + 1] == twice and data.labels[first : first + 2].tolist() == [0, 1]


def test_hashes_are_kept_and_what_changed_is_read_again(tmp_path: Path, cache: Path, monkeypatch: Any) -> None:
    first = opened(as_folder(tmp_path))
    read: list[int] = []
    real = content_ids._read
    monkeypatch.setattr(content_ids, "_read", lambda *a: read.append(a[1]) or real(*a))
    assert opened(tmp_path).ids == first.ids and not read
    (tmp_path / "test/a/0.png").write_bytes(encoded(250))
    changed = opened(tmp_path)
    assert len(set(changed.ids) - set(first.ids)) == len(read) == 1
    (file,) = (cache / "robustness-harness" / "ids").iterdir()
    file.write_bytes(file.read_bytes().replace(changed.ids[0].encode(), b"0" * content_ids.DIGITS))
    assert opened(tmp_path).ids == changed.ids and len(read) == 13, "a forged list is none"


def test_imagenet_keeps_the_names_of_its_files(tmp_path: Path) -> None:
    for layout in LAYOUTS:
        data = opened(layout(tmp_path / layout.__name__), named=True)
        first = {"as_folder": "a/0.png", "as_parquet": "test-0/0000000", "as_tar": "a0"}[layout.__name__]
        assert data.ids[0] == first


def litter(root: Path) -> None:
    (root / "test/a/.DS_Store").touch()
    (root / "test/a/._0.png").touch()
    (root / "test/a/Thumbs.db").touch()
    (root / "test/a/notes.TXT").touch()
    (root / "test/index.json").touch()
    (root / "test/__MACOSX/a").mkdir(parents=True)
    (root / "README.md").touch()


STRANGE = {
    "a/x.gif": "a/x.gif", "b/x.avif": "b/x.avif", "a/x.heic": "a/x.heic", "a/more/x.png": "a/more/x.png",
    "x.png": "x.png (beside the class folders)", "../x.jpg": "x.jpg (beside the splits)", "a/data.bin": "a/data.bin",
    "a/x.png.part": "a/x.png.part", "a/1.zip": "a/1.zip",
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_files_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    litter(as_folder(tmp_path))
    check_all_read(opened(tmp_path))
    path = tmp_path / "test" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    data = opened(tmp_path)
    assert list(data.unread) == [STRANGE[name]] and len(data.ids) == 12
    with pytest.raises(HarnessError, match=r"1 thing .*--on-bad-image skip"):
        check_all_read(data)


def test_formats_are_known_by_content_and_more_suffixes_are_read(tmp_path: Path) -> None:
    as_folder(tmp_path)
    for ending in ("jfif", "jpe", "JPG"):
        (tmp_path / f"test/a/y.{ending}").write_bytes(encoded(77, "JPEG"))
    assert len(opened(tmp_path).ids) == 15 and not opened(tmp_path).unread


TARS: dict[str, tuple[dict[str, bytes], str]] = {
    "gif": ({"x.gif": b"GIF8", "x.cls": b"a"}, "x.gif (no format that is read)"),
    "orphan": ({"x.cls": b"a"}, "x.cls (a label without an image)"),
    "two": ({"x.png": IMAGES["a/0"], "x.cls": b"a", "x.json": b'{"label": "b"}'}, "labels disagree: 'a' in x.cls, 'b'"),
    "twice": (
        {"x.png": IMAGES["a/0"], "x.cls": b"a", "./x.cls": b"b"},
        "labels disagree: 'a' in x.cls, 'b' in ./x.cls",
    ),
    "empty": ({"x.png": IMAGES["a/0"], "x.cls": b" \n"}, "x.cls is empty"),
    "none": ({"x.png": IMAGES["a/0"], "x.json": b'{"label": null}'}, "x (no label"),
    "alone": ({"x.bin": b"1"}, "x.bin"),
}


@pytest.mark.parametrize("case", TARS)
def test_members_that_are_not_read_are_named(tmp_path: Path, case: str) -> None:
    members, reason = TARS[case]
    pack(
        tmp_path / "test.tar",
        {"0.png": IMAGES["a/0"], "0.cls": b"\xef\xbb\xbfa\r\n", "0.txt": b"", "a.md": b"", **members},
    )
    data = opened(tmp_path)
    assert data.classes == ("a",) and len(data.ids) == 1
    (unread,) = data.unread[:1]
    assert unread.startswith("test.tar: ") and reason in unread
    assert opened(tmp_path).unread == data.unread, "the list in the cache knows of them"


def changed_header(file: Path, place: int, content: bytes) -> None:
    """Overwrite a part of the first header, and correct its checksum."""
    header = bytearray(file.read_bytes())
    header[place : place + len(content)] = content
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    file.write_bytes(header)


HEADERS: dict[str, tuple[int, bytes, str]] = {
    "sizes of 2^70 bytes": (124, b"\x80\0\0\x40" + bytes(8), "not there"),
    "negative sizes": (124, b"\xff" * 10 + b"\xf0\0", "not there|not a readable tar"),
    "more than the file": (124, b"00077777777\0", "not there"),
    "sparse members": (156, b"S", "sparse|not a readable tar"),
    "devices": (156, b"3", "link or a device"),
    "a header of gigabytes": (156, b"x", "not a readable tar|not there"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_tar_file_claims_no_more_than_it_holds(tmp_path: Path, case: str) -> None:
    place, content, message = HEADERS[case]
    pack(tmp_path / "test.tar", {"0.cls": b"a", "0.png": IMAGES["a/0"]})
    changed_header(tmp_path / "test.tar", place, content)
    if case == "a header of gigabytes":
        changed_header(tmp_path / "test.tar", 124, b"00777777777\0")
    with pytest.raises(HarnessError, match=message):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0.cls", b"a" * 5000, "has 5,000 bytes; a label has 4,096"),
        ("0.cls", b"a\nb", "several lines"),
        ("0.cls", b"\xff", "holds no label"),
        ("0.json", b"[" * 100_000, "holds no label"),
        ("0.json", b"9" * 6000, "holds no label"),
    ],
)
def test_labels_are_short_texts(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    pack(tmp_path / "test.tar", {"0.png": IMAGES["a/0"], name: content})
    with pytest.raises(HarnessError, match=rf"test.tar: {name} .*{message}|test.tar: {name} {message}"):
        opened(tmp_path)


def test_rows_without_image_or_label_are_named(tmp_path: Path) -> None:
    images: list[Any] = [{"bytes": content, "path": name} for name, content in IMAGES.items()]
    labels: list[Any] = [name[0] for name in IMAGES]
    images[2], images[7], labels[4] = None, {"bytes": None, "path": "x"}, None
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "test-0.parquet", row_group_size=5)
    data = opened(tmp_path, named=True)
    assert data.ids == tuple(name for k, name in enumerate(IMAGES) if k not in (2, 4, 7))
    expected = [np.asarray(Image.open(io.BytesIO(IMAGES[name])))[0, 0, 0] for name in data.ids]
    assert [round(float(v) * 255) for v in data.read(range(9)).images[:, 0, 0, 0]] == expected
    assert ["rows without" in note for note in data.unread] == [True, True]
    assert "such as row 4" in data.unread[0] and "2 rows without an image in them, such as row 2" in data.unread[1]


def test_a_value_of_many_rows_is_not_unpacked(tmp_path: Path) -> None:
    """A dictionary of one image and 100,000 rows: 100 GB as pyarrow unpacks it, one megabyte as it is read here."""
    first = pa.array([{"bytes": bytes(2**20), "path": "p" * 1000}])
    images = pa.concat_arrays([first]).take(pa.array([0] * 1000))
    pq.write_table(pa.table({"image": images, "label": [0] * 1000}), tmp_path / "test-0.parquet")
    data = opened(tmp_path, named=True)
    assert len(data.ids) == 1000
    with pytest.raises(BadImage, match="all zeros"):
        data.read([0])
    (table,) = data.source._cache._tables.values()
    assert table.nbytes < 2**21


def test_texts_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_parquet(tmp_path)
    monkeypatch.setattr(rows, "TEXTS", 11)
    with pytest.raises(HarnessError, match="not a readable Parquet file: its column label"):
        opened(tmp_path)


def test_pages_unpack_to_what_the_metadata_say(tmp_path: Path) -> None:
    as_parquet(tmp_path)
    file = tmp_path / "test-0.parquet"
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(0)
    place = chunk.dictionary_page_offset
    content = bytearray(file.read_bytes())
    assert content[place : place + 3] == b"\x15\x04\x15", "a dictionary page, and its unpacked size"
    size = content[place + 3] & 127 | content[place + 4] << 7
    content[place + 3 : place + 5] = b"\xfe\x7f"
    assert size >> 1 < 8191
    file.write_bytes(content)
    with pytest.raises(BadImage, match="unpack to more than the metadata say"):
        opened(tmp_path, named=True).read([0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pipes_are_not_opened(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    layout(tmp_path)
    victim = next(path for path in sorted(tmp_path.rglob("*.*")) if path.is_file())
    victim.unlink()
    os.mkfifo(victim)
    with pytest.raises(HarnessError, match="pipe or device"):
        opened(tmp_path).read(range(12))


def saved(path: Path, array: np.ndarray, kind: str, **options: Any) -> Path:
    Image.fromarray(array).save(path, kind, **options)
    return path


def png16(path: Path, array: np.ndarray) -> Path:
    """A PNG of 16 bits per channel, (H, W, 3), which Pillow does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, 2 if array.ndim == 3 else 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(png)
    return path


def tiff16(path: Path, array: np.ndarray, order: str) -> Path:
    """An uncompressed TIFF of 16 bits per channel in either byte order."""
    data = array.astype(f"{order}u2").tobytes()
    channels = array.shape[2] if array.ndim == 3 else 1
    tags = [(256, 4, array.shape[1]), (257, 4, array.shape[0]), (258, 3, 16), (259, 3, 1)]
    tags += [
        (262, 3, 2 if channels == 3 else 1),
        (273, 4, 8),
        (277, 3, channels),
        (278, 4, len(array)),
        (279, 4, len(data)),
    ]
    rest, entries = data, b""
    for tag, kind, value in tags:
        count, packed = 1, struct.pack(f"{order}{'HH' if kind == 3 else 'L'}", *((value, 0) if kind == 3 else (value,)))
        if tag == 258 and channels == 3:
            count, packed = 3, struct.pack(f"{order}L", 8 + len(rest))
            rest += struct.pack(f"{order}3H", 16, 16, 16)
        entries += struct.pack(f"{order}HHL", tag, kind, count) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8 + len(rest))
    path.write_bytes(head + rest + struct.pack(f"{order}H", len(tags)) + entries + bytes(4))
    return path


def ppm16(path: Path, array: np.ndarray) -> Path:
    kind = b"P6" if array.ndim == 3 else b"P5"
    path.write_bytes(kind + b"\n%d %d\n65535\n" % array.shape[1::-1] + array.astype(">u2").tobytes())
    return path


DEEP: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "png": png16,
    "tif": lambda path, array: tiff16(path, array, "<"),
    "tiff": lambda path, array: tiff16(path, array, ">"),
    "ppm": ppm16,
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)], ids=["grey", "rgb"])
def test_sixteen_bits_become_the_upper_eight(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    levels = np.random.default_rng(0).integers(0, 2**16, shape).astype(np.uint16)
    levels.flat[:4] = 255, 256, 65535, 33023  # of which rounding would make others
    pixels = read_image(DEEP[kind](tmp_path / f"x.{kind}", levels), WHOLE)
    expected = np.broadcast_to((levels >> 8).reshape(4, 4, -1), (4, 4, 3))
    assert pixels.tolist() == expected.tolist()


def test_pixels_are_those_of_an_image_folder(tmp_path: Path) -> None:
    """Alpha is dropped, not composited; EXIF's orientation is ignored; CMYK, palettes and grey with alpha as Pillow."""
    from torchvision.datasets.folder import pil_loader

    random = np.random.default_rng(1)
    rgba = Image.fromarray(random.integers(0, 256, (4, 4, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    palette = rgba.convert("RGB").quantize(8)
    pictures: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "rgba.png": (rgba, {}), "la.png": (rgba.convert("LA"), {}), "one.png": (rgba.convert("1"), {}),
        "p.png": (palette, {"transparency": bytes(range(0, 256, 32))}),
        "turned.jpg": (rgba.convert("RGB"), {"exif": exif}),
        "cmyk.jpg": (rgba.convert("CMYK"), {}), "rgba.webp": (rgba, {"lossless": True, "exact": True}),
        "grey.bmp": (rgba.convert("L"), {}), "rgba.tif": (rgba, {"compression": "tiff_lzw"}),
    }  # fmt: skip
    for name, (image, options) in pictures.items():
        image.save(tmp_path / name, **options)
        expected = np.asarray(pil_loader(str(tmp_path / name)))
        assert read_image(tmp_path / name, WHOLE).tolist() == expected.tolist(), name
    assert read_image(tmp_path / "rgba.png", WHOLE).tolist() == np.asarray(rgba)[:, :, :3].tolist()


def bomb(sides: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", sides).save(buffer, "PNG")
    return buffer.getvalue()


def tagged(count: int) -> bytes:
    """A TIFF whose tags all name the same megabyte."""
    entries = b"".join(struct.pack("<HHLL", 40_000 + k, 1, 2**20, 8) for k in range(count))
    return (
        b"II*\0"
        + struct.pack("<LH", 8 + 2**20, count)[:4]
        + bytes(2**20)
        + struct.pack("<H", count)
        + entries
        + bytes(4)
    )


def tiled() -> bytes:
    values = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 322: 30_000, 323: 30_000, 324: 8, 325: 64}
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in values.items())
    return b"II*\0" + struct.pack("<LH", 8, len(values)) + entries + bytes(4096)


def scanned() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue() + b"\xff\xda" * 200


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is a PostScript file"),
    "gif": (lambda: encoded(1, "GIF"), "it is a GIF image"),
    "pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
    "page": (lambda: b"<!DOCTYPE html><html>", "HTML page"),
    "empty": (lambda: b"", "it is empty"),
    "pixels": (lambda: bomb((12_000, 12_000)), f"more than {LARGEST:,} pixels"),
    "pixels to warn of": (lambda: bomb((10_000, 9_000)), f"more than {LARGEST:,} pixels"),
    "webp": (lambda: b"RIFF\x1a\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0", "16383x16383 pixels"),
    "tags": (lambda: tagged(300), "tags name 314,572,8"),
    "tiles": (tiled, "tiles of 30000x30000"),
    "scans": (scanned, "more than 100 scans"),
    "ppm": (lambda: b"P6 9000 7000 255\n", "truncated"),
    "text": (lambda: png_text(2**27), "."),
    "float": (lambda: tiff_float(), "32 bits per channel"),
}


def png_text(size: int) -> bytes:
    body = b"Comment\0\0" + zlib.compress(bytes(size))
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return encoded(1)[:33] + chunk + encoded(1)[33:]


def tiff_float() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_images_are_refused_by_name(tmp_path: Path, case: str) -> None:
    make, message = HOSTILE[case]
    (tmp_path / "x.png").write_bytes(make())
    with pytest.raises(BadImage, match=rf"x.png is not a readable image \(.*{message}"):
        read_image(tmp_path / "x.png", WHOLE)


def test_warnings_of_pillow_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(bomb((10_000, 9_000)))
    (tmp_path / "p.png").write_bytes(transparent())
    program = """
import sys
from harness.data.decoding import header, rgb
rgb(open("p.png", "rb"))
try:
    header(open("x.png", "rb"))
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "pixels" in done.stdout and not done.stderr


def transparent() -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGB", (9, 8)).quantize(8)
    image.save(buffer, "PNG", transparency=bytes(range(8)))
    return buffer.getvalue()


def image_list(tmp_path: Path, text: str | bytes) -> ImageList:
    (tmp_path / "images").mkdir(exist_ok=True)
    (tmp_path / "images/a b.png").write_bytes(encoded(1))
    (tmp_path / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return ImageList("tiny", tmp_path / "list.txt", tmp_path / "images", 10, GEOMETRY)


@pytest.mark.parametrize("text", ["\ufeffa b.png 3\n", "a b.png  3", "a b.png\t 3 \r\n\r\n", "\ta b.png\t3\n"])
def test_blanks_and_marks_around_paths_do_not_count(tmp_path: Path, text: str) -> None:
    data = image_list(tmp_path, text)
    assert data.paths == ("a b.png",) and data.labels.tolist() == [3] and len(data.sha256) == 64
    assert data.read([0]).images.shape == (1, 3, 8, 8)
    assert data.list_sha256 == image_list(tmp_path, "a b.png 3\n").list_sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sub\\a.png 3", "line 1: .*has backslashes"),
        ("a.png 3\n../secret.png 0", "line 2: '../secret.png' leads out of the folder"),
        ("/etc/a.png 0", "leads out"),
        ("x/../../a.png 0", "leads out"),
        ("a.png", "every line must read"),
        ("a.png " + "9" * 6000, "every line must read"),
        ("a.png " + "9" * 30, "is no label"),
        ("a.png 3".encode("utf-16"), "is in UTF-16"),
        (gzip.compress(b"a.png 3", mtime=0), "is compressed with gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid 0", "Git LFS pointer"),
        (b"", "it is empty"),
    ],
)
def test_lists_say_what_is_wrong_and_where(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(HarnessError, match=f"list.txt.*{message}"):
        _ = image_list(tmp_path, text).paths


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"PK\x03\x04", "zip archive"),
        (
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 4, 4, 3)}\n",
            "cut short",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_arrays_are_called_what_they_are(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    np.save(tmp_path / "labels.npy", np.zeros(5, np.int64))
    with pytest.raises(HarnessError, match=rf"x.npy is not a readable array: .*{message}"):
        open_mapped(tmp_path / "x.npy", tmp_path / "labels.npy", range(5), (5, 4, 4, 3), 10, WHOLE, "tiny")


def test_first_bytes_tell_what_a_file_is() -> None:
    assert sniff(b"") == "empty" and sniff(b"plain") is None
    assert "safetensors" in str(sniff(struct.pack("<Q", 20) + b'{"a": {}}'))
    assert "tar archive" in str(sniff(b"name".ljust(257, b"\0") + b"ustar\0"))
    assert "HTML" in str(sniff(b"\xef\xbb\xbf\n<html>"))
    assert "PNG" in str(sniff(encoded(1)))


def test_a_run_stops_at_files_that_are_not_read_or_notes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch import nn

    monkeypatch.setattr(console.out, "width", 200)
    for split in ("train", "test"):
        as_folder(tmp_path / "data", split)
    (tmp_path / "data/test/a/x.gif").write_bytes(encoded(1, "GIF"))
    if "test/two" not in plugins.model:
        plugins.model("test/two")(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)))
    root = ["--data", str(tmp_path / "data")]
    code, printed = harness(monkeypatch, capsys, "data", "check", "folder", *root)
    assert (
        code == 2
        and "a/x.gif" in printed
        and "test: 1 thing" in printed
        and "Nothing is wrong with the rest" in printed
    )
    command = ["run", "--suite", "folder", *root, "--tta", "default", "--model", "test/two", "--device", "cpu"]
    command += ["--out", str(tmp_path / "out")]
    code, printed = harness(monkeypatch, capsys, *command)
    assert code == 2 and "a/x.gif" in printed and "--on-bad-image skip" in printed
    code, printed = harness(monkeypatch, capsys, *command, "--on-bad-image", "skip")
    assert code == 0
    (file,) = (tmp_path / "out" / "folder").glob("*.json")
    entry = json.loads(file.read_text())
    assert entry["status"] == "partial" and any("a/x.gif" in note for note in entry["notes"])
