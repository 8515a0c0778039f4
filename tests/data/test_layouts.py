"""One set of images in three layouts, its possible faults, and reading ahead."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from image_files import CLASSES, FILES, File, as_folder, as_parquet, as_tars, make
from PIL import Image, ImageFile

from harness.data import ArrayDataset, ReadAhead, Subset, open_dataset, open_pictures, ordered, read_image
from harness.data.check import check
from harness.data.layouts import parquet, tars
from harness.types import BadImage, Geometry, HarnessError

GEOMETRY = Geometry(resize=24, crop=16, interpolation="bilinear")

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": as_folder,
    "parquet": as_parquet,
    "parquet without paths": lambda root: as_parquet(root, paths=False),
    "parquet with texts": lambda root: as_parquet(root, names=None),
    "tars": as_tars,
    "tars, json": lambda root: as_tars(root, labels="json"),
    "tars, numbers": lambda root: as_tars(root, names=CLASSES),
    "tars of folders": lambda root: as_tars(root, labels="folder"),
    "tars by name": lambda root: as_tars(root, labels=""),
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "CACHED", 1)


def read(root: Path, classes: Sequence[str] | None = CLASSES, **options: Any) -> Any:
    return open_pictures(root, "val", GEOMETRY, classes, name="tiny", **{"named": True, **options})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_same_pictures(tmp_path: Path, layout: str, narrow: None) -> None:
    """Against Pillow and torchvision on the encoded bytes, in order and in random order."""
    from torchvision.transforms import functional as F

    data = read(LAYOUTS[layout](tmp_path))
    assert len(data.ids) == len(set(data.ids)) == 20
    assert data.labels.tolist() == [CLASSES.index(f.label) for f in FILES] and data.num_classes == 3
    images = [Image.open(io.BytesIO(f.content)).convert("RGB") for f in FILES]
    assert all(data.picture(k).tobytes() == image.tobytes() for k, image in enumerate(images))
    assert [data.size(k) for k in range(20)] == [image.size for image in images]
    expected = torch.stack([F.pil_to_tensor(F.center_crop(F.resize(image, 24), 16)) for image in images])
    order = np.random.default_rng(1).permutation(20).tolist()
    batch = data.read(order)
    assert (batch.images * 255).round().byte().equal(expected[order])
    assert batch.labels.tolist() == data.labels[order].tolist() and batch.ids == tuple(data.ids[k] for k in order)
    copy = pickle.loads(pickle.dumps(data))
    assert copy.read([7]).images.equal(data.read([7]).images), "readers travel to other processes"
    assert copy.sha256 == data.sha256


def test_ids_are_names_that_last(tmp_path: Path) -> None:
    assert read(as_folder(tmp_path / "a")).ids == tuple(f"{f.label}/{f.name}" for f in FILES)
    assert read(as_parquet(tmp_path / "b")).ids == tuple(f.name for f in FILES)
    assert read(as_parquet(tmp_path / "c", paths=False)).ids[12] == "validation-00001-of-00002/0000001"
    assert read(as_tars(tmp_path / "d")).ids == tuple(f.stem for f in FILES)
    twice = [*FILES[:11], *FILES[:3]]
    assert read(as_tars(tmp_path / "e", twice)).ids[11] == f"tiny-validation-0001/{FILES[0].stem}"


@pytest.mark.parametrize("layout", [as_folder, as_parquet, as_tars])
def test_the_manifest_knows_names_labels_and_sizes(tmp_path: Path, layout: Callable[..., Path]) -> None:
    def sha256(place: str, files: Sequence[File]) -> str:
        digest: str = read(layout(tmp_path / place, files)).sha256
        return digest

    here = sha256("a", FILES)
    assert sha256("elsewhere", FILES) == here
    for place, changed in {
        "size": replace(FILES[4], content=FILES[4].content + b"\0"),
        "label": replace(FILES[4], label=CLASSES[2]),
        "name": replace(FILES[4], name=FILES[4].name.replace("0", "9")),
    }.items():
        others = [*FILES[:4], changed, *FILES[5:]]
        assert sha256(place, others if layout is not as_folder else sorted(others, key=lambda f: f.label)) != here
    geometry = replace(GEOMETRY, crop=15)
    assert open_pictures(tmp_path / "a", "val", geometry, CLASSES, name="tiny", named=True).sha256 != here


def test_some_classes_of_imagenet_get_their_own_labels(tmp_path: Path) -> None:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    words = info.label_descriptions()
    words[5], words[900] = words[5] + "2", "something else"  # a hub's list is not letter for letter the same
    spoken = [replace(f, label=words[info.label_names().index(f.label)]) for f in FILES]
    for root in (
        as_folder(tmp_path / "a"),
        as_parquet(tmp_path / "b"),
        as_parquet(tmp_path / "c", names=info.label_names()),
        as_parquet(tmp_path / "d", spoken, names=words),
        as_tars(tmp_path / "e"),
        as_tars(tmp_path / "f", names=info.label_names()),
    ):
        data = open_dataset("imagenet", "val", str(root))
        assert data.labels.tolist() == [{"0": 0, "1": 10, "2": 207}[str(CLASSES.index(f.label))] for f in FILES]
        assert data.num_classes == 1000 and data.read([3]).images.shape == (1, 3, 224, 224)
    assert open_dataset("imagenet", "test", str(root)).sha256 == data.sha256, "there is no other test set"
    with pytest.raises(HarnessError, match=r"1000 of its 1000 classes.*'goldfish.*Expected names such as 'n01440764'"):
        open_dataset("imagenet", "val", str(as_parquet(tmp_path / "g", spoken, names=[*words[1:], words[0]])))


def test_cifar10_and_folder_read_any_layout(tmp_path: Path) -> None:
    animals = make(9, ("cat", "frog", "dog"))
    for split in ("train", "test"):
        as_folder(tmp_path / "a", animals, split)
    data = open_dataset("cifar10", "test", str(tmp_path / "a"))
    assert set(data.labels.tolist()) == {3, 5, 6} and data.num_classes == 10
    own = open_dataset("folder", "train", str(tmp_path / "a"))
    assert isinstance(own, ArrayDataset) and own.classes == ("cat", "dog", "frog")
    assert own.ids[0] == f"train/cat/{animals[0].name}"
    images = open_pictures(tmp_path / "a", "train", own.geometry, name="any")
    assert own.read([1, 5]).images.equal(images.read([1, 5]).images)
    assert own.picture(2).tobytes() == (images.read([2]).images[0] * 255).byte().permute(1, 2, 0).numpy().tobytes()
    some = Subset(images, (4, 2))
    assert some.picture(1).tobytes() == images.picture(2).tobytes() and some.classes == images.classes


def test_parquet_is_read_a_row_group_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read(as_parquet(tmp_path))
    groups = []
    read_row_group = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, *a, **k: groups.append(a[0]) or read_row_group(self, *a, **k)
    )
    for _ in range(2):
        data.read(range(20))
    assert len(groups) == 4 + 3, "eleven and nine rows in threes, each read once"
    monkeypatch.setattr(parquet, "CACHED", 1)
    data = read(tmp_path)
    data.read([0, 1, 19, 18, 0])
    assert len(data.source._cache._tables) == 1, "no more than allowed stays in memory"
    monkeypatch.setattr(parquet, "LARGEST", 100)
    with pytest.raises(HarnessError, match="row_group_size=1000"):
        read(tmp_path)


def test_shards_are_listed_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(as_tars(tmp_path / "a"))
    opened: list[Path] = []
    index = tars.list_shard
    monkeypatch.setattr(tars, "list_shard", lambda shard: opened.append(shard) or index(shard))
    assert read(tmp_path / "a").sha256 == first.sha256 and not opened
    file = first.source.shards[0]
    os.utime(file, (1, 1))
    assert read(tmp_path / "a").sha256 == first.sha256 and opened == [file], "one that changed is listed again"
    for number, file in enumerate(sorted(cache.rglob("tars/*"))):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content if number else b"damaged")
    assert read(tmp_path / "a").sha256 == first.sha256 and len(opened) == 3, "and one whose list is damaged"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert read(tmp_path / "a").sha256 == first.sha256, "no cache, no harm"


def files_in(root: Path, ending: str) -> list[Path]:
    return sorted(p for p in root.rglob(f"*{ending}"))


def rewrite(change: Callable[[bytes], bytes], ending: str) -> Callable[[Path], object]:
    return lambda root: [f.write_bytes(change(f.read_bytes())) for f in files_in(root, ending)[:1]]


def spoil_header(content: bytes, damage: bytes = b"damage" * 50) -> bytes:
    """Overwrite the header of the fourth member: Python's tarfile takes that for the end of the archive."""
    with tarfile.open(fileobj=io.BytesIO(content)) as shard:
        offset = shard.getmembers()[3].offset
    return content[:offset] + damage + content[offset + len(damage) :]


def link(content: bytes) -> bytes:
    """A file of the same content as another, as tar packs it."""
    with tarfile.open(fileobj=(packed := io.BytesIO(content)), mode="a") as shard:
        info = tarfile.TarInfo("again.jpg")
        info.type, info.linkname = tarfile.LNKTYPE, FILES[0].name
        shard.addfile(info)
    return packed.getvalue()


def flatten(root: Path) -> None:
    """The images of class folders, without these."""
    for file in [path for path in root.rglob("*") if path.is_file()]:
        file.rename(root / file.name)
    for folder in root.iterdir():
        if folder.is_dir():
            folder.rmdir()


NAMELESS = [replace(f, name=f.name[10:]) for f in FILES]
PAGE = b"<!DOCTYPE html><html>Sign in</html>"
MISTAKES: list[tuple[Callable[..., Path], Callable[[Path], object], str]] = [
    (as_folder, lambda r: shutil.rmtree(r / "val"), r"must hold val/CLASS/\*\.jpg.*Found there: nothing"),
    (as_folder, lambda r: shutil.rmtree(r), r"There is no folder .*--data"),
    (as_folder, lambda r: (r / "val").rename(r / "dev"), r"Found there: dev"),
    (lambda r: as_folder(r) / "val", lambda r: 0, r"Found there: n0.*give the folder above it, .*data\."),
    (as_folder, lambda r: flatten(r / "val"), r"val holds no class folders: .*Sort the images into a folder per class"),
    (as_folder, lambda r: (r / "val" / "n01443537").mkdir(), r"No images in .*n01443537"),
    (as_folder, lambda r: (r / "val" / CLASSES[0]).rename(r / "val" / "tench"), r"1 of its 3 classes.*'tench'"),
    (as_folder, lambda r: as_tars(r), r"more than once: .*val and .*tar"),
    (as_parquet, rewrite(lambda c: PAGE, ".parquet"), r"validation-00000.*HTML page"),
    (as_parquet, rewrite(lambda c: c[:-200], ".parquet"), r"not a readable Parquet file.*Fetch it again"),
    (as_parquet, lambda r: files_in(r, ".parquet")[0].unlink(), r"has 1 files like .*of 2. Fetch the others"),
    (lambda r: as_parquet(r, images="png"), lambda r: 0, r"has the columns png, label; expected images"),
    (lambda r: as_parquet(r, label=-1), lambda r: 0, r"label -1.*split without labels"),
    (lambda r: as_parquet(r, names=None, label=0.5), lambda r: 0, r"'label' must hold an integer"),
    (lambda r: as_parquet(r, names=None, label=7), lambda r: 0, r"label 7.*3 classes"),
    (lambda r: as_tars(r, []), lambda r: 0, r"'val' in .* hold no images"),
    (as_tars, rewrite(lambda c: PAGE, ".tar"), r"tiny-validation-0000.tar is not.*HTML page"),
    (as_tars, rewrite(lambda c: b"\x1f\x8b" + c, ".tar"), r"compressed.*gunzip"),
    (as_tars, rewrite(lambda c: c[:3000], ".tar"), r"not a readable tar file.*Fetch it again"),
    (as_tars, rewrite(spoil_header, ".tar"), r"breaks off after \d+ of \d+ bytes"),
    (as_tars, rewrite(lambda c: spoil_header(c, bytes(512)), ".tar"), r"breaks off after \d+ of"),
    (as_tars, rewrite(lambda c: c + c, ".tar"), r"breaks off after \d+ of \d+ bytes.*pack it anew"),
    (as_tars, rewrite(lambda c: c + bytes(2**21), ".tar"), r"breaks off after \d+ of \d+ bytes"),
    (as_tars, rewrite(link, ".tar"), r"again.jpg is a link"),
    (lambda r: as_tars(r, [replace(FILES[0], label="9" * 30)]), lambda r: 0, r"1 of its 1 classes.*'9999"),
    (
        lambda r: as_tars(r, NAMELESS, ""),
        lambda r: 0,
        r"no images.*000 \(no label: KEY.cls or KEY.json must stand beside it\)",
    ),
    (lambda r: as_tars(r, [replace(f, label="") for f in FILES], "json"), lambda r: 0, r"n01440764_000.json is empty"),
    (lambda r: as_tars(r, [FILES[0], FILES[0]]), lambda r: 0, r"two images"),
]


@pytest.mark.parametrize("case", range(len(MISTAKES)))
def test_what_is_wrong_is_said_at_once(tmp_path: Path, case: int) -> None:
    layout, damage, message = MISTAKES[case]
    root = layout(tmp_path / "data")
    damage(root)
    with pytest.raises(HarnessError, match=message):
        read(root)


@pytest.mark.parametrize("layout", [as_folder, as_parquet, as_tars])
def test_a_bad_image_is_named(tmp_path: Path, layout: Callable[..., Path]) -> None:
    cut = replace(FILES[3], content=FILES[3].content[:-100])
    none = replace(FILES[5], content=b"no image")
    data = read(layout(tmp_path, [*FILES[:3], cut, FILES[4], none, *FILES[6:]]))
    for bad, reason in ((3, "truncated"), (5, "format is unknown")):
        with pytest.raises(BadImage, match=f"{FILES[bad].stem}.*not a readable image.*{reason}"):
            data.read([0, bad])
    assert data.read([0, 4]).labels.tolist() == [0, 0]
    checked = check(data, workers=2)
    assert [FILES[k].stem in what for k, what in zip((3, 5), checked.bad, strict=True)] == [True, True]
    sizes = [Image.open(io.BytesIO(FILES[k].content)).size for k in range(20) if k not in (3, 5)]
    assert checked.sizes.tolist() == [list(size) for size in sizes]
    assert len(check(data, quick=True).bad) == 1, "a header says nothing of the rest"
    wide = check(replace(data, geometry=Geometry(None, 40, "bilinear")))
    small = [what for what in wide.bad if "too few for a crop of 40" in what]
    assert len(small) == len(wide.bad) - 2 == sum(min(size) < 40 for size in sizes) > 3


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes no such names")
def test_names_must_be_text(tmp_path: Path) -> None:
    folder = as_folder(tmp_path) / "val" / CLASSES[0]
    (folder / os.fsdecode(b"caf\xe9.png")).touch()
    with pytest.raises(HarnessError, match=r"caf\\xe9.png is not in UTF-8. Rename it"):
        read(tmp_path)


def test_nothing_is_cut_off_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as OpenOOD sets it
    data = read(as_folder(tmp_path, [replace(FILES[3], content=FILES[3].content[:-100])]))
    with pytest.raises(BadImage, match="truncated"):
        data.read([0])
    Image.fromarray(np.full((256, 256), 40_000, np.int32)).save(tmp_path / "deep.tif")
    with pytest.raises(BadImage, match=r"deep.tif is not a readable image \(it has 32 bits"):
        read_image(tmp_path / "deep.tif", data.geometry)


def test_ordered_is_map_and_not_far_ahead() -> None:
    started: list[int] = []

    def work(k: int) -> int:
        started.append(k)
        time.sleep(0.002 * (k % 3))
        if k == 30:
            raise BadImage("thirty")
        return k * k

    for workers in (0, 1, 3):
        started.clear()
        results: Iterator[int] = ordered(work, range(40), workers)
        for k in range(30):
            assert next(results) == k * k
            assert max(started) <= k + workers + 1
        with pytest.raises(BadImage, match="thirty"):
            next(results)
    assert threading.active_count() < 10


def test_feed_measures_what_it_waits_for(tmp_path: Path) -> None:
    data = read(as_folder(tmp_path))
    slow = ReadAhead([(data, range(20))] * 3)
    while next(slow, None) is not None:
        pass
    assert 0.5 < slow.waiting <= 1
    idle = ReadAhead([(data, range(20))] * 2, workers=2)
    for _ in range(2):
        time.sleep(0.3)
        assert next(idle).images.equal(data.read(range(20)).images)
    assert idle.waiting < 0.2


SHARED = os.environ.get("HARNESS_SHARED", "")


@pytest.mark.skipif(not SHARED, reason="HARNESS_SHARED names no folder with data")
def test_real_data() -> None:
    test = open_dataset("cifar10", "test", str(Path(SHARED, "data/cifar10")))
    assert test.labels.bincount().tolist() == [1000] * 10 and len(set(test.ids)) == 10_000
    assert test.read([9999, 0]).images.shape == (2, 3, 32, 32)
    some = open_dataset("imagenet", "val", str(Path(SHARED, "data/imagenet-sample")))
    assert len(set(some.labels.tolist())) == len(some.ids) == 100
    assert some.read(range(0, 100, 25)).images.shape == (4, 3, 224, 224)
