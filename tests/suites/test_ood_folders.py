"""Images out of distribution from plain folders, and lists of images for OpenOOD's suites."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import harness
from PIL import Image

from harness import plugins
from harness.data import ImageList, open_dataset
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.types import Geometry, HarnessError, RunSpec


def picture(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (36, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A flat folder and a nested one."""
    for k in range(6):
        picture(tmp_path / "noise" / f"{k}.png", k)
        picture(tmp_path / "deep" / f"part{k % 2}" / "more" / f"{k}.png", 10 + k)
    (tmp_path / "deep" / "readme.txt").write_text("about these images")
    return tmp_path


def run(suite: str, out: Path, *methods: str) -> list[RunRecord]:
    spec = RunSpec(suite=suite, models=("digits/resnet",), methods=methods or ("msp", "react"), limit=12, tile=12)
    return [record.load(path) for path in loop.run(prepare(spec, out))]


def test_every_folder_is_a_set_called_like_it(outside: Path, tmp_path: Path) -> None:
    records = run(f"ood-folders:inside=digits,near={outside}/noise,far={outside}/deep/", tmp_path / "out")
    for entry in records:
        rows = entry.rows()
        assert set(rows["condition"]) == {"id", "near/noise", "far/deep"} and entry.dataset == "digits"
        assert (rows["label"] >= 0).sum() == 12 and (rows["label"] == -1).sum() == 12
        assert entry.metric("auroc", "near") and entry.metric("auroc", "far/deep") and entry.metric("accuracy", "id")
    assert benchmark(records[0].suite) == "ood-folders:inside=digits,near=noise,far=deep"
    moved = tmp_path / "elsewhere"
    shutil.copytree(outside / "deep", moved / "deep")
    again = run(f"ood-folders:inside=digits,near={outside}/noise,far={moved}/deep", tmp_path / "new", "msp")
    assert again[0].key == records[0].key, "where the folders lie decides nothing"


def test_the_command_line_takes_folders(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--suite", "ood-folders:inside=digits", "--far", f"{outside}/noise", "--far", f"{outside}/deep"]
    arguments += ["--model", "digits/resnet", "--detector", "msp", "--limit", "5", "--out", str(tmp_path / "out")]
    code, text = harness(monkeypatch, capsys, *arguments)
    assert code == 0 and "auroc far" in text and "auroc near" not in text
    (file,) = (tmp_path / "out").rglob("*.json")
    assert set(record.load(file).rows()["condition"]) == {"id", "far/noise", "far/deep"}


def test_what_was_left_out_is_said_at_the_end(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without training images a detector that learns from them cannot run; one that does not can."""
    for k in range(12):
        picture(tmp_path / "mine" / "test" / f"class{k % 10}" / f"{k}.png", 30 + k)
    arguments = ["run", "--suite", "ood-folders", "--data", f"{tmp_path}/mine", "--near", f"{outside}/noise"]
    arguments += ["--model", "test/own", "--out", str(tmp_path / "out")]
    if "test/own" not in plugins.model:
        plugins.model("test/own")(_own)
    code, text = harness(monkeypatch, capsys, *arguments, "--detector", "knn", "--detector", "react")
    assert code == 0 and "ood-folders:data=" in text and "left out. Detector knn" in text
    assert "Left out: Detector knn on test/own: it learns from training images" in text
    assert "Records written or found" in text and "wait for the other shards" not in text
    code, text = harness(monkeypatch, capsys, *arguments, "--detector", "knn", "--detector", "vim")
    assert code == 2 and "Detector knn on" in text and "Detector vim on" in text


def _own() -> Any:
    from torch import nn

    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("inside=digits", "--near DIR, --far DIR"),
        ("inside=digit,near={0}/noise", "Did you mean digits"),
        ("inside=digits,near={0}/noise,far={0}/deep/../noise", "must have different names"),
        ("inside=digits,near={0}/none", "No folder of images at .*none"),
        ("inside=digits,near={0}/empty", "No images in .*empty"),
        ("near={0}/noise", "--data DIR"),
        ("inside=digits,near={0}/noise;react:percentile=tune", "held_out=DIR"),
        ("inside=digits,near={0}/noise;nothing", "Unknown detector 'nothing'"),
        (
            "inside=digits,far={0}/deep,held_out={0}/deep;react:percentile=tune",
            r"/deep \(held_out\) is the same .*/deep",
        ),
        ("inside=digits,near={0}/copy,far={0}/noise", r"2\.png in .*/noise \(far/noise\) .* as .*c\.png in .*/copy"),
    ],
)
def test_mistakes_in_folders_are_named(outside: Path, tmp_path: Path, settings: str, message: str) -> None:
    (outside / "empty").mkdir()
    (outside / "copy").mkdir()
    shutil.copy(outside / "noise" / "2.png", outside / "copy" / "c.png")
    suite, _, method = settings.format(outside).partition(";")
    with pytest.raises(HarnessError, match=message):
        run(f"ood-folders:{suite}", tmp_path / "out", method or "msp")


def test_an_image_of_the_test_set_is_refused(outside: Path, tmp_path: Path) -> None:
    for k in range(6):
        picture(tmp_path / "mine" / "test" / f"class{k % 2}" / f"{k}.png", 30 + k)
    shutil.copy(tmp_path / "mine" / "test" / "class0" / "0.png", outside / "noise" / "same.png")
    bench = plugins.suite.configure(f"ood-folders:data={tmp_path}/mine,near={outside}/noise").plugin
    with pytest.raises(HarnessError, match=r"same\.png is also an image of 'folder'"):
        bench.open(bench.conditions()[1], 0)


def test_images_outside_are_brought_to_the_size_inside(outside: Path) -> None:
    bench = plugins.suite.configure(f"ood-folders:inside=digits,near={outside}/noise").plugin
    inside, near = (bench.open(condition, 0) for condition in bench.conditions())
    assert near.read([0]).images.shape == inside.read([0]).images.shape
    assert len(inside.ids) + len(bench.validation()[0].ids) == len(open_dataset("digits", "test").ids)


def test_settings_are_tuned_on_held_out_images(outside: Path, tmp_path: Path) -> None:
    suite = f"ood-folders:inside=digits,near={outside}/noise,held_out={outside}/deep"
    (entry,) = run(suite, tmp_path / "out", "scale:percentile=tune")
    assert any(note.startswith("Chosen on the validation images") for note in entry.notes)


def test_a_list_of_a_folder_is_read_by_openoods_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, lists = tmp_path / "images_classic", tmp_path / "benchmark_imglist" / "cifar10"
    for k, name in enumerate(("cat", "airplane", "dog")):
        picture(root / "cifar10" / "test" / name / f"{k}.png", k)
    picture(root / "texture" / "a b" / "0.png", 5)
    geometry = Geometry(32, 32, "bilinear")
    for folder, stem, options, expected in (
        (
            "cifar10/test",
            "test_cifar10",
            ["--dataset", "cifar10"],
            {"airplane/1.png": 0, "cat/0.png": 3, "dog/2.png": 5},
        ),
        ("texture", "test_texture", [], {"a b/0.png": -1}),
    ):
        file = lists / f"{stem}.txt"
        code, text = harness(monkeypatch, capsys, "data", "lists", str(root / folder), "--out", str(file), *options)
        assert code == 0, text
        data = ImageList("cifar10", file, root, 10, geometry, outside=not options)
        assert dict(zip(data.paths, data.labels.tolist(), strict=True)) == {
            f"{folder}/{path}": label for path, label in expected.items()
        }
        assert data.read([0]).images.shape == (1, 3, 32, 32)
    for wrong, message in {
        (str(root / "texture"), "--dataset", "cifar10"): "lies in no folder of a class",
        (str(tmp_path / "benchmark_imglist"),): "--root",
        (str(root / "texture"), "--root", str(lists)): "must lie in",
    }.items():
        code, text = harness(monkeypatch, capsys, "data", "lists", *wrong, "--out", str(tmp_path / "new.txt"))
        assert code == 2 and message in text
    code, text = harness(
        monkeypatch, capsys, "data", "lists", str(root / "texture"), "--out", str(lists / f"{stem}.txt")
    )
    assert code == 2 and "exists" in text
