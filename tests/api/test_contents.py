"""A folder says which suites its data are for, and one command runs them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import harness
from image_files import CIFAR, CLASSES, FILES, File, as_folder, as_parquet, as_tars, make
from PIL import Image
from torch import Tensor, nn

from harness import plugins
from harness.api.contents import chosen, contents
from harness.data import survey
from harness.data.corruptions import EXTRA, STANDARD
from harness.evaluation.records import record
from harness.registry.datasets.cifar10 import CLASSES as TEN
from harness.suites.imagenet.base import wnids
from harness.suites.imagenet.corrupted import ImageNet3DCC, ImageNetCBar
from harness.suites.imagenet.subsets import ImageNetA, ImageNetD, ImageNetR
from harness.types import Absent, HarnessError, Weights

R, A = (list(suite().accepted()) for suite in (ImageNetR, ImageNetA))
VALIDATION = "ILSVRC2012_val_00000001.JPEG"
IMAGENET = ["imagenet", "imagenet-c-gen"]
CIFAR10 = ["cifar10", "cifar10-c-gen"]
OWN = ["folder", "folder-c"]
NAMED = [replace(file, name=f"ILSVRC2012_val_{k:08d}{Path(file.name).suffix}") for k, file in enumerate(FILES)]


def picture(file: Path, size: tuple[int, int] = (40, 40)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(file)


def classes(root: Path, names: Sequence[str], file: str = VALIDATION, size: tuple[int, int] = (40, 40)) -> Path:
    """Class folders with an image each."""
    for name in names:
        picture(root / name / file, size)
    return root


def corrupted(root: Path, names: Sequence[str], file: str = VALIDATION) -> Path:
    for name in names:
        classes(root / name / "5", CLASSES, file, (224, 224))
    return root


def arrays(root: Path, largest: int = 9, rows: int = 5) -> Path:
    root.mkdir(parents=True)
    for name in ("fog", "frost"):
        np.save(root / f"{name}.npy", np.zeros((rows, 32, 32, 3), np.uint8))
    np.save(root / "labels.npy", np.arange(rows, dtype=np.int64) % largest + 1)
    return root


def hub_of_cifar(root: Path) -> Path:
    """A Parquet file of the ten classes as the hub has it."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    as_parquet(root.parent, [File(name, "0.png", buffer.getvalue()) for name in TEN], TEN)
    root.mkdir()
    (root.parent / "data" / "validation-00000-of-00002.parquet").rename(root / "test-00000-of-00001.parquet")
    shutil.rmtree(root.parent / "data")
    return root


def openood(root: Path) -> Path:
    """OpenOOD's lists of two data sets, and the images of one."""
    for name in ("cifar10", "imagenet"):
        folder = root / "benchmark_imglist" / name
        folder.mkdir(parents=True)
        (folder / f"test_{name}.txt").write_text(f"{name}/0.png 0\n")
    picture(root / "images_classic" / "cifar10" / "0.png")
    return root


LAYOUTS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "photographs": (lambda root: as_folder(root, NAMED), IMAGENET),
    "ImageNet-1k": (lambda root: classes(root / "val", CLASSES, "x.JPEG", (200, 180)), IMAGENET),
    "hub/data": (lambda root: as_parquet(root.parent, NAMED), IMAGENET),
    "tars": (lambda root: as_tars(root, NAMED), IMAGENET),
    "cifar10": (lambda root: classes(root / "test", TEN, "0.png", (32, 32)), CIFAR10),
    "CIFAR-10": (lambda root: classes(root / "test", TEN, "0.png", (32, 32)), CIFAR10),
    "hub/plain_text": (lambda root: hub_of_cifar(root), CIFAR10),
    "cifar-10-c": (arrays, ["cifar10-c"]),
    "c": (lambda root: corrupted(root, STANDARD), ["imagenet-c"]),
    "c-and-extra": (lambda root: corrupted(root, [*STANDARD, *EXTRA]), ["imagenet-c"]),
    "c-as-unpacked": (lambda root: corrupted(root / "noise", ["shot_noise"]), ["imagenet-c"]),
    "bar": (lambda root: corrupted(root, list(ImageNetCBar().corruptions()), "1.png"), ["imagenet-c-bar"]),
    "3dcc": (lambda root: corrupted(root, list(ImageNet3DCC().corruptions())), ["imagenet-3dcc"]),
    "imagenet-r": (lambda root: classes(root, R[:3], "1.png"), ["imagenet-r"]),
    "renditions": (lambda root: classes(root, R[:3], "art_1.jpg"), ["imagenet-r"]),
    "adversarial": (lambda root: classes(root, A[:3], "0.002_fox _ fox_0.9.jpg"), ["imagenet-a"]),
    "drawings": (lambda root: classes(root, CLASSES, "sketch_7.JPEG"), ["imagenet-sketch"]),
    "stylized-imagenet": (lambda root: classes(root / "val", CLASSES, "a.png"), ["imagenet-stylized"]),
    "v2": (lambda root: classes(root / "imagenetv2-top-images-format-val", ["0", "10"]), ["imagenet-v2"]),
    "d": (lambda root: classes(root / "texture", list(ImageNetD().accepted())[:2]), ["imagenet-d"]),
    "openood": (openood, ["openood-cifar10", "openood-imagenet"]),
    "photos": (lambda root: classes(root / "test", ["ant", "bee"]), OWN),
    "photos-to-choose": (lambda root: classes(root / "val", ["ant", "bee"]), OWN),
    "photos-at-once": (lambda root: classes(root, ["ant", "bee"]), OWN),
    "photos-as-tars": (lambda root: as_tars(root, make(20, ["ant", "bee", "cow"])), OWN),
}  # fmt: skip
"""By folder, its content and the suites that it is for."""

SETTINGS = {
    "v2": ",variant=top-images", "photos-to-choose": ",split=val", "photos-as-tars": ",split=val",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_recognised(name: str, tmp_path: Path) -> None:
    make_it, suites = LAYOUTS[name]
    make_it(tmp_path / name)
    holdings = contents(tmp_path)
    assert [suite for holding in holdings for suite in holding.suites] == suites
    assert {holding.folder for holding in holdings} == {name}
    for holding in holdings:
        if name == "photos-at-once":
            assert holding.text == f"{holding.suites[0]}:data={tmp_path},split=photos-at-once"
        elif holding.suites == ["openood-imagenet"]:
            assert not holding.text and "no imagenet/0.png" in holding.reason
        else:
            assert holding.text == f"{holding.suites[0]}:data={tmp_path / name}{SETTINGS.get(name, '')}"
        plugins.suite.configure(holding.text or "digits")


def test_a_folder_with_several_data_sets_names_each_once(tmp_path: Path) -> None:
    for name in ("photographs", "cifar10", "c", "imagenet-r"):
        LAYOUTS[name][0](tmp_path / "pool" / name.replace("photographs", "imagenet"))
    classes(tmp_path / "pool" / "imagenet" / "train", CLASSES, "n01440764_1.JPEG")
    holdings = contents(tmp_path)
    assert [(h.folder, *h.suites) for h in holdings] == [
        ("pool/c", "imagenet-c"), ("pool/cifar10", "cifar10"), ("pool/cifar10", "cifar10-c-gen"),
        ("pool/imagenet", "imagenet"), ("pool/imagenet", "imagenet-c-gen"), ("pool/imagenet-r", "imagenet-r"),
    ]  # fmt: skip
    assert [h.folder for h in contents(tmp_path / "pool" / "imagenet-r")] == ["imagenet-r"], "the folder itself"
    assert contents(tmp_path / "pool" / "imagenet" / "val")[0].text == f"imagenet:data={tmp_path / 'pool' / 'imagenet'}"
    assert {s for h in chosen(holdings, ["cifar10"], []) for s in h.suites} == set(CIFAR10), "a folder's name"
    assert [h.suites for h in chosen(holdings, ["pool/c", "imagenet"], ["imagenet-c-gen"])] == [
        ["imagenet-c"], ["imagenet"],
    ]  # fmt: skip
    with pytest.raises(HarnessError, match=r"imagenet-rr.* after --skip.*Did you mean imagenet-r"):
        chosen(holdings, [], ["imagenet-rr"])
    with pytest.raises(HarnessError, match="leave nothing"):
        chosen(holdings, ["imagenet-r"], ["imagenet-r"])


def shared_classes(root: Path) -> None:
    classes(root, sorted(set(R) & set(A))[:2], "x.png")


AMBIGUOUS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "two-subsets": (shared_classes, ["imagenet-a", "imagenet-r", "imagenet-sketch", *OWN]),
    "in-png": (lambda root: classes(root / "val", CLASSES, "x.png"), [*IMAGENET, "imagenet-stylized", *OWN]),
    "pets": (lambda root: classes(root / "test", ["cat", "dog"]), [*CIFAR10, *OWN]),
    "cifar10_cats": (lambda root: classes(root / "test", ["cat", "dog"], "0.png", (200, 200)), [*CIFAR10, *OWN]),
    "cifar-10-in-part": (lambda root: classes(root / "test", CIFAR, "0.png", (32, 32)), [*CIFAR10, *OWN]),
    "cifar-10.1": (lambda root: classes(root / "test", TEN, "0.png", (32, 32)), [*CIFAR10, *OWN]),
    "cinic10": (lambda root: classes(root / "test", TEN, "0.png", (32, 32)), [*CIFAR10, *OWN]),
    "tiny-imagenet-200": (
        lambda root: classes(root / "val", CLASSES, "val_0.JPEG", (64, 64)), [*IMAGENET, *OWN],
    ),
    "imagenet": (lambda root: classes(root / "val", CLASSES, "val_0.JPEG", (64, 64)), [*IMAGENET, *OWN]),
    "imagenet-sketch": (lambda root: classes(root / "val", CLASSES, "sketch_1.JPEG", (500, 500)), [*IMAGENET, *OWN]),
    "small-parquet/data": (lambda root: as_parquet(root.parent), [*IMAGENET, *OWN]),
    "numbered": (lambda root: as_tars(root, names=CLASSES), [*IMAGENET, *OWN]),
    "tiny": (lambda root: corrupted(root, ["fog"], "test_1.JPEG"), ["imagenet-c"]),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_data_of_several_possible_suites_are_asked_about(name: str, tmp_path: Path) -> None:
    make_it, suites = AMBIGUOUS[name]
    make_it(tmp_path / name)
    (holding,) = contents(tmp_path)
    assert (holding.folder, holding.text, list(holding.suites)) == (name, "", suites)
    assert f"--suite {suites[0]} --data {tmp_path / name}" in holding.reason


def test_a_split_itself_says_no_more_than_its_folder(tmp_path: Path) -> None:
    classes(tmp_path / "imagenet" / "val", CLASSES, "val_0.JPEG", (64, 64))
    (alone,) = contents(tmp_path / "imagenet" / "val")
    assert not alone.text and f"--suite imagenet --data {tmp_path / 'imagenet'}" in alone.reason
    assert "64 x 64" in alone.reason


def test_data_that_no_suite_reads_as_they_lie_are_explained(tmp_path: Path) -> None:
    arrays(tmp_path / "hundred", 99, 200)
    classes(tmp_path / "images", CLASSES)
    hundred, images = contents(tmp_path)
    assert not hundred.text and "CIFAR-100-C" in hundred.reason
    assert list(images.suites) == IMAGENET and "a folder called val" in images.reason
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match=r"holds no data set that a suite recognises.*nothing"):
        contents(tmp_path / "empty")


def test_the_walk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "a" / "b" / "c"
    classes(deep / "imagenet-r", R[:2])
    with pytest.raises(HarnessError, match="3 levels deep"):
        contents(tmp_path)
    assert contents(tmp_path / "a")[0].folder == "b/c/imagenet-r"
    monkeypatch.setattr(survey, "PLACES", 2)
    with pytest.raises(HarnessError, match="no data set"):
        contents(tmp_path / "a")
    monkeypatch.setattr(survey, "LISTED", 1)
    assert len(survey.Place(deep / "imagenet-r").folders) == 2 and survey.Place(deep / "imagenet-r").is_cut
    (deep / "imagenet-r" / "again").symlink_to(tmp_path)
    assert len(list(survey.walk(deep))) == 2, "links that lead back are followed once"


class Mean(nn.Module):
    """Logits from an image's mean colour; it was made for images of 40 pixels."""

    sizes = ((40, 40),)

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(3, count)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(images.mean((2, 3)))


@pytest.fixture
def pool(forgotten: None, tmp_path: Path) -> Path:
    """Four data sets in one folder, and classifiers of ImageNet and CIFAR-10."""
    plugins.model("test/mean", dataset="imagenet", classes=wnids())(lambda: Mean(1000))
    plugins.model("test/ten", dataset="cifar10", classes=TEN)(lambda: Mean(10))
    pool = tmp_path / "pool"
    classes(pool / "imagenet" / "val", CLASSES, size=(260, 260))
    classes(pool / "imagenet-r", R[:2], "art_1.jpg")
    classes(pool / "cifar10" / "test", TEN, "0.png", (32, 32))
    classes(pool / "photos" / "test", CLASSES[:2], "a.png")
    return pool


def test_a_path_that_would_be_read_as_settings_is_refused(
    pool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = pool.rename(pool.parent / "mine,split=x")
    for arguments in (["--suite", "imagenet"], []):
        command = ["run", "--data", str(strange), "--model", "test/mean", "--dry-run"]
        code, printed = harness(monkeypatch, capsys, *command, *arguments)
        assert code == 2 and "a comma in a path would begin another setting" in printed, printed
    command = ["run", "--suite", "ood-folders:inside=digits", "--near", "a,b", "--model", "digits/resnet"]
    code, printed = harness(monkeypatch, capsys, *command)
    assert code == 2 and "--near a,b: a comma in a path" in printed, printed
    assert contents(pool.parent)[0].text == "" and "Rename the folder" in contents(pool.parent)[0].reason


def test_a_model_that_is_absent_or_replaced_is_said_and_the_others_run(
    pool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> nn.Module:
        raise Absent("its weights are not here")

    plugins.model("test/absent", dataset="imagenet")(absent)
    weights = Weights("test/other", "0" * 64, "mine.pth", {"as_published": "no"})
    plugins.model("test/other", dataset="imagenet", classes=wnids())(lambda: (Mean(1000), weights))
    command = ["run", "--data", str(pool), "--only", "photos", "--only", "imagenet", *GENERATED, "--tta", "default"]
    command += ["--model", "test/absent", "--model", "test/other", "--dry-run"]
    code, printed = harness(monkeypatch, capsys, *command)
    assert code == 0 and "without test/absent: its weights are not here" in printed, printed
    assert "image_size=40" in printed and printed.count("mine.pth is not the published file") == 1


GENERATED = ["--skip", "imagenet-c-gen", "--skip", "cifar10-c-gen", "--skip", "folder-c"]


def test_one_command_runs_four_data_sets(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["run", "--data", str(pool), *GENERATED, "--model", "test/mean", "--tile", "4", "--out", str(out)]
    code, printed = harness(monkeypatch, capsys, *command, "--dry-run")
    assert code == 0 and not out.exists(), printed
    for fragment in ("What", "imagenet-r", "image_size=40", "in all, from a short measurement"):
        assert fragment in printed
    assert "cifar10: left out: Model 'test/mean' knows other classes than the data" in printed
    assert "imagenet, imagenet-r: without de: the weights of the diffusion model adm256" in printed
    code, printed = harness(monkeypatch, capsys, *command, "--model", "test/ten", "--tta", "default")
    assert code == 0, printed
    records = {(r.suite.partition(":")[0], r.model.name): r for r in map(record.load, out.rglob("*.json"))}
    assert set(records) == {
        ("imagenet", "test/mean"), ("imagenet-r", "test/mean"), ("cifar10", "test/ten"), ("folder", "test/mean"),
    }  # fmt: skip
    folder = records["folder", "test/mean"]
    assert folder.geometry.crop == 40 and folder.suite.endswith("image_size=40") and folder.coverage == "2 of 2 images"
    assert "without test/ten" in printed and printed.count("95 % intervals") == 4


def test_damaged_data_do_not_keep_the_others_from_running(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays(pool / "cifar10-c")
    picture(pool / "imagenet-r" / R[0] / "b.gif")
    command = ["run", "--data", str(pool), "--model", "test/ten", "--limit", "2", "--tile", "4"]
    only = ["--only", "cifar10-c", "--only", "cifar10", "--only", "imagenet-r", "--skip", "cifar10-c-gen"]
    code, printed = harness(monkeypatch, capsys, *command, *only, "--out", str(tmp_path / "out"))
    assert code == 2 and "cifar10-c: left out: " in printed and "no gaussian_noise.npy" in printed, printed
    assert "Not evaluated, for the reasons above: cifar10-c, imagenet-r. The others are done." in printed
    assert [r.suite.partition(":")[0] for r in map(record.load, (tmp_path / "out").rglob("*.json"))] == ["cifar10"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "imagenet-x"], "Unknown suite or folder 'imagenet-x' after --only. Did you mean"),
        (["--sigma", "0.5"], "--sigma: "),
        (["--smooth", "gaussian"], "--smooth gaussian"),
        (["--only", "cifar10", "--suite", "digits"], "--only and --skip choose among what --data DIR holds"),
    ],
)
def test_options_that_nothing_takes_are_refused(
    arguments: list[str], message: str, pool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = harness(monkeypatch, capsys, "run", "--data", str(pool), "--model", "test/mean", *arguments)
    assert code == 2 and message in printed, printed
