"""Data where they lie: one set of images in three layouts, what may be wrong with it, and reading ahead."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import harness, outcome
from PIL import Image, ImageFile
from torch import nn

from harness import plugins
from harness.cli import console
from harness.data import ArrayDataset, ReadAhead, Subset, open_dataset, open_pictures, ordered, read_image
from harness.data.check import check
from harness.data.layouts import parquet, tars
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.types import BadImage, Condition, Dataset, Geometry, HarnessError, RunSpec

GEOMETRY = Geometry(resize=24, crop=16, interpolation="bilinear")
CLASSES = ("n01440764", "n01530575", "n02099601")
"""Labels 0, 10 and 207 of ImageNet."""

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
"""CIFAR-10's classes but for the last."""


@dataclass(frozen=True)
class File:
    """One image of the tiny data set, encoded."""

    label: str
    name: str
    content: bytes

    @property
    def stem(self) -> str:
        return self.name.partition(".")[0]


def make(count: int = 20, classes: Sequence[str] = CLASSES) -> list[File]:
    """JPEG and PNG files of various shapes, among them grey and CMYK ones; in the order of class and name."""
    random = np.random.default_rng(0)
    files = []
    for k in range(count):
        width, height = (int(side) for side in random.integers(24, 60, 2))
        coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        image = coarse.resize((width, height), Image.Resampling.BICUBIC).convert(("RGB", "L", "RGB", "CMYK")[k % 4])
        ending, options = (".png", {}) if k % 4 == 2 else (".JPEG", {"quality": 90})
        buffer = io.BytesIO()
        image.save(buffer, "PNG" if ending == ".png" else "JPEG", **options)
        label = classes[k % len(classes)]
        files.append(File(label, f"{label}_{k:03d}{ending}", buffer.getvalue()))
    return sorted(files, key=lambda file: (file.label, file.name))


FILES = make()


def as_folder(root: Path, files: Sequence[File] = FILES, split: str = "val") -> Path:
    for file in files:
        path = root / split / file.label / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    return root


def as_parquet(
    root: Path,
    files: Sequence[File] = FILES,
    names: Sequence[str] | None = CLASSES,
    *,
    paths: bool = True,
    images: str = "image",
    label: float | None = None,
) -> Path:
    """Two files with row groups of three; labels are positions in `names`, without these the names themselves."""
    folder = root / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for part, chosen in enumerate((files[:11], files[11:])):
        encoded = [{"bytes": f.content, "path": f.name if paths else None} for f in chosen]
        labels: list[Any] = [names.index(f.label) if names else f.label for f in chosen]
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
        table = pa.table({images: encoded, "label": labels if label is None else [label] * len(chosen)})
        file = folder / f"validation-0000{part}-of-00002.parquet"
        pq.write_table(table.replace_schema_metadata(metadata), file, row_group_size=3)
    return root


def as_tars(root: Path, files: Sequence[File] = FILES, labels: str = "cls", names: Sequence[str] | None = None) -> Path:
    """Two shards; labels in .cls (names, or positions in `names`), in .json, or in the names of folders."""
    root.mkdir(parents=True, exist_ok=True)
    for part, chosen in enumerate((files[:11], files[11:])):
        with tarfile.open(root / f"tiny-validation-{part:04d}.tar", "w") as shard:
            shard.addfile(tarfile.TarInfo("._hidden.jpg"))
            for file in chosen:
                label: Any = names.index(file.label) if names else file.label
                members = {f"{file.label}/{file.name}" if labels == "folder" else file.name: file.content}
                if labels == "cls":
                    members[f"{file.stem}.cls"] = str(label).encode()
                if labels == "json":
                    members[f"{file.stem}.json"] = json.dumps({"width": 5, "label": label}).encode()
                for name, content in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    shard.addfile(info, io.BytesIO(content))
    return root


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
    monkeypatch.setattr(parquet, "KEPT", 1)


def read(root: Path, classes: Sequence[str] | None = CLASSES, **options: Any) -> Any:
    return open_pictures(root, "val", GEOMETRY, classes, name="tiny", **{"named": True, **options})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_same_pictures(tmp_path: Path, layout: str, narrow: None) -> None:
    """Against Pillow and torchvision on the encoded bytes, whole and in random order."""
    from torchvision.transforms import functional as F

    data = read(LAYOUTS[layout](tmp_path))
    assert len(data.ids) == len(set(data.ids)) == 20
    assert data.labels.tolist() == [CLASSES.index(f.label) for f in FILES] and data.num_classes == 3
    whole = [Image.open(io.BytesIO(f.content)).convert("RGB") for f in FILES]
    assert all(data.picture(k).tobytes() == image.tobytes() for k, image in enumerate(whole))
    assert [data.size(k) for k in range(20)] == [image.size for image in whole]
    expected = torch.stack([F.pil_to_tensor(F.center_crop(F.resize(image, 24), 16)) for image in whole])
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
        found: str = read(layout(tmp_path / place, files)).sha256
        return found

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
    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, *a, **k: groups.append(a[0]) or whole(self, *a, **k)
    )
    for _ in range(2):
        data.read(range(20))
    assert len(groups) == 4 + 3, "eleven and nine rows in threes, each read once"
    monkeypatch.setattr(parquet, "KEPT", 1)
    data = read(tmp_path)
    data.read([0, 1, 19, 18, 0])
    assert len(data.source._kept._tables) == 1, "no more than allowed stays in memory"
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
    for number, kept in enumerate(sorted(cache.rglob("tars/*"))):
        content = bytearray(kept.read_bytes())
        content[len(content) // 2] ^= 1
        kept.write_bytes(content if number else b"damaged")
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
    (as_folder, lambda r: shutil.rmtree(r), r"must hold val/CLASS.*No such file"),
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
    found = check(data, workers=2)
    assert [FILES[k].stem in what for k, what in zip((3, 5), found.bad, strict=True)] == [True, True]
    sizes = [Image.open(io.BytesIO(FILES[k].content)).size for k in range(20) if k not in (3, 5)]
    assert found.sizes.tolist() == [list(size) for size in sizes]
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


def named(root: Path) -> Dataset:
    """Test images whose ids do not change with their bytes, as ImageNet's."""
    geometry = Geometry(32, 32, "bilinear")
    return open_pictures(root, "test", geometry, (*CIFAR, "truck"), name="cifar10", named=True)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A suite on images that are decoded as they are read: six batches of four or fewer, in three parts."""
    from harness.suites.bases.covariate_shift import CovariateShift

    animals = make(20, ("cat", "frog", "dog"))
    root = as_folder(tmp_path / "images", animals, "test")

    class Animals(CovariateShift):
        """Three of the ten classes."""

        name, version, dataset, part = "test-animals", 1, "cifar10", 8
        columns = (("accuracy", "clean"),)

        def conditions(self) -> list[Condition]:
            return [Condition("clean", "clean")]

        def open(self, condition: Condition, seed: int) -> Dataset:
            return named(root)

    def linear() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    plugins.suite("test-animals")(Animals)
    plugins.model("test/linear", dataset="cifar10")(linear)
    return root


SPEC = RunSpec("test-animals", models=("test/linear",), methods=("default",), tile=4)


def run(out: Path, skip_bad: bool = False, **options: Any) -> list[RunRecord]:
    job = prepare(SPEC, out, skip_bad=skip_bad)
    return [record.load(path) for path in loop.run(job, batch_size=4, **options)]


def test_workers_change_no_number(tmp_path: Path, bench: Path) -> None:
    records = [run(tmp_path / f"{workers}", workers=workers) for workers in (0, 1, 2)]
    assert outcome(records[0]) == outcome(records[1]) == outcome(records[2])
    (entry,) = records[0]
    assert entry.status == "complete" and len(entry.rows()["id"]) == 20 and not entry.notes


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stops_at_a_bad_image_or_goes_on_without_it(tmp_path: Path, bench: Path, workers: int) -> None:
    (undisturbed,) = run(tmp_path / "before", workers=workers)
    names = sorted(p for p in bench.rglob("*.*") if p.is_file())
    # The first image; two in the middle; and a whole part, the second of three.
    bad = [names[0], *names[8:16], names[17]]
    for file in bad:
        file.write_bytes(file.read_bytes()[:100])
    bad[1].unlink()
    bad[1].symlink_to("nowhere")
    out = tmp_path / "out"
    with pytest.raises(BadImage, match=bad[0].name):
        run(out, workers=workers)
    (entry,) = run(out, workers=workers, skip_bad=True)
    assert entry.status == "partial" and entry.coverage == "10 of 20 images" and entry.cost.images == 10
    ids = [str(p.relative_to(bench / "test")) for p in names]
    (note,) = entry.notes
    assert "10 of 20 rows" in note and f"{ids[0]}, {ids[8]}, {ids[9]} and 7 more" in note
    kept = [k for k, p in enumerate(names) if p not in bad]
    rows, before = entry.rows(), undisturbed.rows()
    assert rows["id"].tolist() == [ids[k] for k in kept]
    assert rows["prediction"].tolist() == before["prediction"][kept].tolist()
    metric = entry.metric("accuracy", "clean")
    correct = (before["prediction"] == before["label"])[kept]
    assert metric and metric.n == 10 and metric.value == pytest.approx(correct.mean())
    assert undisturbed.board != entry.board, "never ranked beside the whole set"
    for file in names:
        file.write_bytes(b"gone")
    with pytest.raises(HarnessError, match="not a readable image"):
        run(tmp_path / "none", workers=workers, skip_bad=True)


def test_whoever_mends_an_image_keeps_what_was_made_of_other_conditions(tmp_path: Path, bench: Path) -> None:
    roots = {name: as_folder(tmp_path / name, make(20, ("cat", "frog", "dog")), "test") for name in ("a", "b")}

    from harness.suites.bases.covariate_shift import CovariateShift

    class Twice(CovariateShift):
        """The same images in two folders."""

        name, version, dataset, part = "test-twice", 1, "cifar10", 8
        columns = (("accuracy", "a"),)

        def conditions(self) -> list[Condition]:
            return [Condition(name, name) for name in roots]

        def open(self, condition: Condition, seed: int) -> Dataset:
            return named(roots[condition.name])

    plugins.suite("test-twice")(Twice)
    spec, computed = replace(SPEC, suite="test-twice"), []
    image = sorted(p for p in roots["b"].rglob("*.*") if p.is_file())[0]
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    with pytest.raises(BadImage, match=image.name):
        loop.run(prepare(spec, tmp_path / "out"))
    image.write_bytes(whole)
    (path,) = loop.run(prepare(spec, tmp_path / "out"), report=lambda tick: computed.append(tick.computed))
    assert computed[-1] == 20 and record.load(path).coverage == "20 of 20 images"
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 1, "the sample table, and no part"
    (undisturbed,) = loop.run(prepare(spec, tmp_path / "other"))
    assert outcome([record.load(path)]) == outcome([record.load(undisturbed)])


def test_a_run_that_skips_nothing_closes_the_gaps(tmp_path: Path, bench: Path) -> None:
    """Also where the hash of the data, which is of sizes, does not tell that an image was mended."""
    image = sorted(p for p in bench.rglob("*.*") if p.is_file())[9]
    whole = image.read_bytes()
    image.write_bytes(b"x" * len(whole))

    def stop(tick: loop.Progress) -> None:
        if tick.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", skip_bad=True, report=stop)
    (partial,) = run(tmp_path / "done", skip_bad=True)
    image.write_bytes(whole)
    assert run(tmp_path / "done", skip_bad=True)[0].status == partial.status == "partial"
    (undisturbed,) = run(tmp_path / "undisturbed")
    for out in ("stopped", "done"):
        (entry,) = run(tmp_path / out)
        assert outcome([entry]) == outcome([undisturbed]) and entry.status == "complete"
    assert entry.key == partial.key and entry.board != replace(partial, coverage=entry.coverage).board


def test_a_skipping_run_goes_on_where_it_was(tmp_path: Path, bench: Path) -> None:
    names = sorted(p for p in bench.rglob("*.*") if p.is_file())
    names[9].write_bytes(b"no image")

    def stop(tick: loop.Progress) -> None:
        if tick.done >= 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", workers=2, skip_bad=True, report=stop)
    assert outcome(run(tmp_path / "out", skip_bad=True)) == outcome(run(tmp_path / "whole", workers=1, skip_bad=True))


def test_groups_of_four_are_not_broken_up(tmp_path: Path, bench: Path) -> None:
    spec = replace(SPEC, methods=("dda:norm=batch4,steps=4,start=1",), denoiser="digits")
    with pytest.raises(HarnessError, match="groups of four"):
        prepare(spec, tmp_path, skip_bad=True)


def test_data_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    root = str(as_folder(tmp_path / "a"))
    code, said = harness(monkeypatch, capsys, "data", "check", "imagenet", "--data", root, "--split", "val")
    assert code == 0 and "3 of 1000" in said and "6 to 7" in said and "Every image can be read" in said
    assert open_dataset("imagenet", "val", root).sha256[:12] in said
    sizes = np.sort([Image.open(io.BytesIO(f.content)).size for f in FILES], axis=0)
    assert " / ".join(map(str, sizes[[0, 10, 19], 0])) in said
    code, said = harness(monkeypatch, capsys, "data", "check", "imagenet", "--data", root)
    assert code == 2 and "train: " in said and "must hold train/CLASS" in said and "3 of 1000" in said
    assert "Nothing is wrong with the rest: --split val" in said
    image = tmp_path / "a" / "val" / FILES[0].label / FILES[0].name
    image.write_bytes(image.read_bytes()[:-100])
    code, said = harness(monkeypatch, capsys, "data", "check", "imagenet", "--data", root, "--split", "val")
    assert code == 2 and "1 of 20 images are unusable" in said and FILES[0].name in said
    code, said = harness(monkeypatch, capsys, "data", "check", "imagenet", "--data", root, "--split", "val", "--quick")
    assert code == 0 and "nothing was decoded" in said
    code, said = harness(monkeypatch, capsys, "data", "check", "digits-greek")
    assert code == 0 and "0 of 10" in said
    toys = as_folder(tmp_path / "toys", make(20, CIFAR), "test")
    code, said = harness(monkeypatch, capsys, "data", "check", "cifar10", "--data", str(toys), "--split", "test")
    assert code == 0 and "test: No images of 1 of 10 classes: truck." in said
    for arguments, message in {
        ("imagenet",): "--data DIR",
        ("imagenett", "--data", root): "Did you mean imagenet",
        ("digits", "--split", "val"): "Unknown split 'val' of 'digits'",
        ("digits", "--workers", "many"): "--workers 'many'",
    }.items():
        code, said = harness(monkeypatch, capsys, "data", "check", *arguments)
        assert code == 2 and message in said


def test_the_command_line_skips_and_reads_ahead(
    tmp_path: Path, bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    next(bench.rglob("*.png")).write_bytes(b"no image")
    command = ["run", "--suite", "test-animals", "--model", "test/linear", "--tta", "default", "--device", "cpu"]
    code, said = harness(monkeypatch, capsys, *command, "--out", str(tmp_path / "out"), "--workers", "auto")
    assert code == 2 and "not a readable image" in said
    command += ["--on-bad-image", "skip", "--workers", "2", "--out", str(tmp_path / "out")]
    code, said = harness(monkeypatch, capsys, *command)
    assert code == 0 and "19 of 20 images (subset)" in said and "Unreadable and left out: 1 of 20 rows" in said
    assert "waiting for data" in said


SHARED = os.environ.get("HARNESS_SHARED", "")


@pytest.mark.skipif(not SHARED, reason="HARNESS_SHARED names no folder with data")
def test_real_data() -> None:
    test = open_dataset("cifar10", "test", str(Path(SHARED, "data/cifar10")))
    assert test.labels.bincount().tolist() == [1000] * 10 and len(set(test.ids)) == 10_000
    assert test.read([9999, 0]).images.shape == (2, 3, 32, 32)
    some = open_dataset("imagenet", "val", str(Path(SHARED, "data/imagenet-sample")))
    assert len(set(some.labels.tolist())) == len(some.ids) == 100
    assert some.read(range(0, 100, 25)).images.shape == (4, 3, 224, 224)
