"""The suites on ImageNet and CIFAR-10, on tiny data sets in exactly the published layouts.

Images are of one colour, and the classifier answers the class of the nearest colour: an image *painted* as a class is
classified as that class.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import harness
from PIL import Image
from scipy import stats
from torch import Tensor, nn

from harness import plugins
from harness.data import MappedImages, open_dataset
from harness.data.corruptions import EXTRA, STANDARD
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import linear
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import keys, record
from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.batch import BatchViews
from harness.metrics import calibration
from harness.metrics.accuracy import accuracy
from harness.models.tiles import Tiles
from harness.registry.datasets.cifar10 import CLASSES
from harness.report import boards, comparison, leaderboard, names
from harness.suites.imagenet.base import wnids
from harness.suites.imagenet.corrupted import ALEXNET, ImageNet3DCC, ImageNetCBar
from harness.suites.imagenet.subsets import ImageNetA, ImageNetD, ImageNetR
from harness.terminal import console
from harness.types import HarnessError, RunSpec, Weights

SHARED = os.environ.get("HARNESS_SHARED", "")


@cache
def colours(classes: int) -> Tensor:
    """(K, 3) in [0, 1], no two alike; neighbours among 1,000 differ by a ninth in the last number."""
    k = torch.arange(classes)
    digits = [k // 100, k // 10 % 10, k % 10] if classes == 1000 else [k % 3 * 4, k // 3 % 3 * 4, k]
    return torch.stack(digits, 1) / 9


class Palette(nn.Module):
    """Logits that fall with the squared distance between an image's mean colour and each class's."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("colours", colours(classes))

    def forward(self, images: Tensor) -> Tensor:
        return -200 * torch.cdist(images.mean((2, 3)), self.colours) ** 2


class Silent(nn.Module):
    """A diffusion model that predicts no noise."""

    def forward(self, images: Tensor, times: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (0 * images,)


@pytest.fixture(autouse=True)
def registered(forgotten: None) -> None:
    plugins.model("test/palette", dataset="imagenet")(partial(Palette, 1000))
    plugins.model("test/palette10", dataset="cifar10")(partial(Palette, 10))
    plugins.denoiser("test/silent")(lambda: (Denoiser(Silent(), linear(1000)), Weights("silent", "0" * 64, "a test")))


Painted = Sequence[tuple[int, int]]
"""Per image its class, and the class that it is painted as."""


def paint(file: Path, as_class: int, size: tuple[int, int] = (40, 30), classes: int = 1000) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(int(c) for c in (colours(classes)[as_class] * 255).round())
    Image.new("RGB", size, colour).save(file, **({"quality": 95} if file.suffix != ".png" else {}))


def fill(root: Path, painted: Painted, name: str = "{}.jpg", **options: Any) -> None:
    """Class folders called by WordNet id; files are numbered."""
    for k, (label, shown) in enumerate(painted):
        paint(root / wnids()[label] / name.format(k), shown, **options)


def original(root: Path, painted: Painted, **options: Any) -> None:
    """Class folders with the names of ImageNet's validation images."""
    fill(root, painted, "ILSVRC2012_val_{:08d}.JPEG", **options)


def corrupted(root: Path, names: Sequence[str], severities: Sequence[int], painted: Painted = ()) -> None:
    for name in names:
        for severity in severities:
            original(root / name / str(severity), painted or PAINTED, size=(224, 224))


LABELS_R = [wnids().index(wnid) for wnid in ImageNetR().accepted()]
LABELS_A = [wnids().index(wnid) for wnid in ImageNetA().accepted()]


def nearly(subset: Sequence[int]) -> tuple[int, int]:
    """A class of the subset, and one outside whose colour is clearly nearer to its than to any other's."""
    for inside in subset:
        if inside + 1 not in subset:
            gaps = torch.cdist(colours(1000)[[inside + 1]], colours(1000)[list(subset)])[0]
            first, second = gaps.sort().values[:2].tolist()
            if subset[int(gaps.argmin())] == inside and second > first + 0.04:
                return inside, inside + 1
    raise AssertionError


PAINTED = [(0, 0), (1, 1), (207, 208)]
"""Two right answers of three."""


def some(subset: Sequence[int]) -> Painted:
    """A right answer, a wrong one, and one that is right only among the classes of the subset."""
    return [(subset[0], subset[0]), (subset[7], subset[100]), nearly(subset)]


WOK, NEARLY_WOK = 909, 919
OBJECTS = {"background": [("chair", 765), ("wok", WOK)], "texture": [("wok", NEARLY_WOK)], "material": [("tie", 906)]}
"""ImageNet-D: per part the objects and the classes as which they are painted; 919 is no object's."""


def cifar10c(root: Path, names: Sequence[str]) -> None:
    """Arrays of the published size, all zeros but for the first three images of each severity: files with holes."""
    root.mkdir(parents=True, exist_ok=True)
    levels = (colours(10) * 255).round().to(torch.uint8).numpy()
    for name in names:
        array = np.lib.format.open_memmap(root / f"{name}.npy", "w+", np.uint8, (50_000, 32, 32, 3))
        for severity in range(1, 6):
            for k in range(3):
                # Of the three images, one less is right at every severity from 3 on.
                array[10_000 * (severity - 1) + k] = levels[k if k < 6 - severity else 9]
    np.save(root / "labels.npy", np.tile(np.arange(10_000) % 10, 5).astype(np.uint8))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("disk")
    val = [*PAINTED, *((label, label) for label in LABELS_R[:4]), (559, 559), (765, 766)]
    original(root / "imagenet" / "val", val)
    corrupted(root / "imagenet-c", [*STANDARD, *EXTRA], [5])
    corrupted(root / "imagenet-c-bar", list(ImageNetCBar().corruptions()), [5])
    corrupted(root / "imagenet-3dcc", list(ImageNet3DCC().corruptions()), [5])
    for file in (root / "imagenet-3dcc" / "bit_error").rglob("*.JPEG"):
        Image.open(file).save(file.with_suffix(".png"))
        file.unlink()
    fill(root / "imagenet-r", some(LABELS_R), "art_{}.jpg")
    fill(root / "imagenet-a", some(LABELS_A), "0.1_{}.jpg")
    fill(root / "imagenet-sketch" / "sketch", PAINTED, "sketch_{}.JPEG")
    fill(root / "imagenet-stylized" / "val", PAINTED, "ILSVRC2012_val_{:08d}.png", size=(224, 224))
    for k, (label, shown) in enumerate(PAINTED):
        paint(root / "imagenet-v2" / "imagenetv2-matched-frequency-format-val" / str(label) / f"{k}.jpeg", shown)
    for part, objects in OBJECTS.items():
        for k, (name, shown) in enumerate(objects):
            paint(root / "imagenet-d" / part / name / f"{k}.png", shown)
    for k, (label, shown) in enumerate([(0, 0), (3, 3), (9, 5)]):
        paint(root / "cifar10" / "test" / CLASSES[label] / f"{k}.png", shown, (32, 32), 10)
    cifar10c(root / "cifar10-c", STANDARD)
    return root


def run(disk: Path, suite: str, out: Path, **changes: Any) -> list[RunRecord]:
    """The records of a suite with its data on disk; settings after the suite's name."""
    name, _, settings = suite.partition(":")
    folder = name.partition("-")[0] if name.endswith(("-gen", "-certify")) else name
    text = f"{name}:data={disk / folder}" + (f",{settings}" if settings else "")
    model = "test/palette10" if name.startswith("cifar10") else "test/palette"
    spec = RunSpec(plugins.suite.configure(text).text, (model,), ("default",), tile=4)
    job = prepare(replace(spec, **changes), out)
    return [record.load(path) for path in loop.run(job)]


def value(entry: RunRecord, name: str, condition: str | None = None) -> float:
    metric = entry.metric(name, condition)
    assert metric, (name, condition, [(m.name, m.condition) for m in entry.metrics])
    return metric.value


MASKED, ALL = "masked_accuracy", "accuracy_1000_way"
EVERY: dict[str, tuple[str, int, dict[tuple[str, str], float]]] = {
    "imagenet": ("9 of 50000 images", 1, {("accuracy", "clean"): 7 / 9}),
    "imagenet-c": ("3 of 50000 images", 15, {("mean_accuracy", "mean"): 2 / 3, ("mean_error", "mean"): 1 / 3}),
    "imagenet-c:extra=true": ("3 of 50000 images", 19, {("accuracy", "spatter/5"): 2 / 3}),
    "imagenet-c-gen": ("1 of 50000 images (the first ones)", 15, {}),
    "imagenet-c-bar": ("3 of 50000 images", 10, {("mean_accuracy", "mean"): 2 / 3}),
    "imagenet-3dcc": ("3 of 50000 images", 12, {("accuracy", "bit_error/5"): 2 / 3}),
    "imagenet-r": ("3 of 30000 images", 1, {(MASKED, "imagenet-r"): 2 / 3, (ALL, "imagenet-r"): 1 / 3}),
    "imagenet-a": ("3 of 7500 images", 1, {(MASKED, "imagenet-a"): 2 / 3, (ALL, "imagenet-a"): 1 / 3}),
    "imagenet-sketch": ("3 of 50889 images", 1, {("accuracy", "imagenet-sketch"): 2 / 3}),
    "imagenet-stylized": ("3 of 50000 images", 1, {("accuracy", "imagenet-stylized"): 2 / 3}),
    "imagenet-v2": ("3 of 10000 images", 1, {("accuracy", "matched-frequency"): 2 / 3}),
    "imagenet-d": ("4 of 4835 images", 3, {(ALL, "all"): 3 / 4, (ALL, "background"): 1.0}),
    "cifar10": ("3 of 10000 images", 1, {("accuracy", "clean"): 2 / 3}),
    "cifar10-c": ("3 of 10000 images (the first ones)", 15, {("mean_accuracy", "mean"): 1 / 3}),
    "cifar10-c-gen": ("1 of 10000 images (the first ones)", 15, {}),
}  # fmt: skip
"""Coverage, number of conditions, and values known by construction."""

LIMITS = {"imagenet-c-gen": 1, "cifar10-c-gen": 1, "cifar10-c": 3}


@pytest.mark.parametrize("suite", EVERY)
def test_every_suite_runs_names_what_it_lacks_and_is_rescorable(disk: Path, suite: str, tmp_path: Path) -> None:
    coverage, conditions, values = EVERY[suite]
    (entry,) = run(disk, suite, tmp_path, limit=LIMITS.get(suite, 0))
    assert (entry.status, entry.coverage) == ("partial", coverage), "published counts are known"
    assert "(subset)" in names.title(entry)
    bench = plugins.suite.configure(entry.suite).plugin
    assert len(bench.conditions()) == conditions
    for place, expected in values.items():
        assert value(entry, *place) == pytest.approx(expected), place
    assert entry.metric(*entry.columns[0]), "what ranks is there"
    rows = entry.rows()
    assert ((rows["probability"] >= 0) & (rows["probability"] <= rows["confidence"] + 1e-6)).all()
    again, notes = bench.summarise(rows)
    assert tuple(again) == tuple(entry.metrics) and tuple(notes) == tuple(entry.notes)
    without, _ = bench.summarise({k: v for k, v in rows.items() if k != "probability"})
    honest = [m for m in entry.metrics if m.name not in ("ece", "nll")]
    assert tuple(without) == tuple(honest), "records of older versions have no probability, and are scored as ever"


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_masking_is_before_the_softmax(disk: Path, tmp_path: Path) -> None:
    """Prediction, confidence and probability among the 200 classes, in float64 by hand; the 1000-way answer beside."""
    (entry,) = run(disk, "imagenet-r", tmp_path)
    rows = entry.rows()
    data = ImageNetR(data=str(disk / "imagenet-r")).open(ImageNetR().conditions()[0], 0)
    logits = Palette(1000).double()(data.read(range(3)).images.double()).numpy()
    masked = softmax(logits[:, LABELS_R])
    assert rows["prediction"].tolist() == [LABELS_R[k] for k in masked.argmax(1)]
    assert rows["confidence"] == pytest.approx(masked.max(1), abs=1e-4)
    true = [LABELS_R.index(label) for label in rows["label"]]
    assert rows["probability"] == pytest.approx(masked[range(3), true], abs=1e-4)
    assert rows["accuracy_1000_way"].tolist() == logits.argmax(1).tolist()
    assert softmax(logits)[range(3), rows["label"]] != pytest.approx(masked[range(3), true], abs=1e-2)
    assert value(entry, "nll") == pytest.approx(-np.log(masked[range(3), true]).mean(), abs=1e-4)
    captions = leaderboard.ranking([entry]).caption, leaderboard.by_condition([entry], "ece").caption
    assert (
        all(leaderboard.COVERS["ece"] in caption for caption in captions) and leaderboard.COVERS["nll"] in captions[0]
    )


def test_an_ensemble_is_over_masked_probabilities(disk: Path, tmp_path: Path) -> None:
    """As the DiffAug paper's scripts: logits of the 200 classes, softmax, mean over the times; each view made once."""
    times = (0, 100, 300)
    methods = ("default", "de:times=0,100,300")
    default, de = run(disk, "imagenet-r", tmp_path, methods=methods, denoiser="test/silent")
    suite = ImageNetR(data=str(disk / "imagenet-r"))
    batch = suite.open(suite.conditions()[0], 0).read(range(3))
    views = BatchViews(batch, Denoiser(Silent(), linear(1000)), Tiles(4), 0)
    net = Palette(1000).double()
    expected = np.mean([softmax(net(x.double())[:, LABELS_R].numpy()) for x in views.denoised(times)], axis=0)
    rows = de.rows()
    assert rows["prediction"].tolist() == [LABELS_R[k] for k in expected.argmax(1)]
    assert rows["confidence"] == pytest.approx(expected.max(1), abs=1e-4)
    assert rows["confidence"] != pytest.approx(default.rows()["confidence"], abs=1e-3)
    assert de.cost.denoiser_calls == 3 * 2, "the 1000-way reading looks at the same views"


def test_imagenet_d_takes_any_of_an_objects_classes(disk: Path, tmp_path: Path) -> None:
    (entry,) = run(disk, f"imagenet-d:clean={disk / 'imagenet'}", tmp_path)
    rows = entry.rows()
    chair = np.flatnonzero([name.startswith("background/chair") for name in rows["id"]])[0]
    assert rows["label"][chair] == rows["prediction"][chair] == 423, "painted as 765, a rocking chair"
    suite = ImageNetD(data=str(disk / "imagenet-d"))
    batch = suite.open(suite.conditions()[0], 0).read([0])
    all_classes = softmax(Palette(1000).double()(batch.images.double()).numpy())[0]
    assert rows["confidence"][chair] == pytest.approx(all_classes[[423, 559, 765]].sum(), abs=1e-4)
    assert value(entry, MASKED, "all") == 1 and value(entry, ALL, "all") == 3 / 4 and value(entry, ALL, "texture") == 0
    metric = entry.metric("accuracy_1000_way", "all")
    assert metric and metric.n == 4 and metric.interval == accuracy(np.arange(4) < 3, "all").interval
    clean = rows["condition"] == "clean"
    assert rows["label"][clean].tolist() == [423, 423] and rows["prediction"][clean].tolist() == [423, 766]
    assert entry.coverage == f"6 of {4835 + 50 * 125} images"


def test_the_clean_images_are_those_of_the_same_classes(disk: Path, tmp_path: Path) -> None:
    (entry,) = run(disk, f"imagenet-r:clean={disk / 'imagenet'}", tmp_path)
    clean = entry.metric("masked_accuracy", "clean")
    expected = [label for label in (0, 1, 207, *LABELS_R[:4], 559, 765) if label in LABELS_R]
    rows = entry.rows()
    assert clean and clean.n == len(expected) and set(rows["label"][rows["condition"] == "clean"]) == set(expected)
    assert entry.coverage == f"{3 + len(expected)} of 40000 images" and ("masked_accuracy", "clean") in entry.columns
    assert value(entry, "masked_accuracy", "imagenet-r") == pytest.approx(2 / 3), "and they enter no mean"
    (c,) = run(disk, f"imagenet-c:clean={disk / 'imagenet'}", tmp_path)
    assert value(c, "accuracy", "clean") == pytest.approx(7 / 9) and value(c, "mean_accuracy") == pytest.approx(2 / 3)
    assert keys.benchmark(c.suite) == "imagenet-c:clean", "but not where they lie"
    assert c.coverage == "9 of 50000 images", "corrupted copies of some are no further images"
    original(tmp_path / "others" / "val", [(label, label) for label in (5, 7)])
    with pytest.raises(HarnessError, match=r"imagenet-r: clean=.*others holds no image of its 200 classes"):
        run(disk, f"imagenet-r:clean={tmp_path / 'others'}", tmp_path)


def test_an_image_that_is_missing_under_one_condition_is_in_no_mean() -> None:
    """As in a run that left out what could not be read."""
    suite = plugins.suite.configure("imagenet-c").plugin
    names = [c.name for c in suite.conditions()]
    cells = [(c, i) for c in names for i in "abc" if (c, i) != ("fog/5", "b")]
    right = np.array([(len(c) + ord(i)) % 3 > 0 for c, i in cells])
    rows = {
        "id": np.array([i for _, i in cells], dtype=object), "condition": np.array([c for c, _ in cells], dtype=object),
        "label": np.zeros(len(cells), int), "prediction": 1 - right, "confidence": np.full(len(cells), 0.5),
        "probability": np.full(len(cells), 0.5),
    }  # fmt: skip
    metrics, notes = suite.summarise(rows)
    by_name = {(m.name, m.condition): m for m in metrics}
    mean = by_name["mean_accuracy", "mean"]
    assert mean.n == 2 and mean.value == pytest.approx(right[[i != "b" for _, i in cells]].mean())
    assert by_name["accuracy", "fog/5"].n == 2 and by_name["accuracy", "snow/5"].n == 3
    assert notes == ["The mean is over the 2 of 3 images that are there under every condition."]
    (group,) = comparison.shared_groups(suite.conditions(), cells)
    assert group.ids == ("a", "c") and [c.name for c in group.conditions] == names, "nor in a comparison"
    left = rows["condition"] != "fog/5"
    metrics, notes = suite.summarise({name: column[left] for name, column in rows.items()})
    assert "No image under fog/5." in notes and not any(m.condition in ("mean", "fog/5") for m in metrics)


def test_records_with_images_of_their_own_are_compared(disk: Path, tmp_path: Path) -> None:
    plugins.method("test/wrong")(lambda: lambda views, classifier: classifier(1 - views.original()).softmax(-1))
    clean = disk / "imagenet"
    for suite, images in {"imagenet-d": 4, f"imagenet-r:clean={clean}": 3 + 6, f"imagenet-c:clean={clean}": 9}.items():
        right, wrong = run(disk, suite, tmp_path, methods=("default", "test/wrong"))
        metrics = comparison.compare(wrong, right)
        assert metrics.images == images and set(metrics.per_condition) == set(right.rows()["condition"])
        expected = value(right, *right.columns[0]) - value(wrong, *wrong.columns[0])
        assert metrics.mean.difference == pytest.approx(expected) and expected > 0.4
        assert metrics.mean.n == (4 if suite == "imagenet-d" else 3)


def test_mce_is_relative_to_alexnet(tmp_path: Path) -> None:
    """Sums over all severities and division by the published rates, by hand; undefined for fewer severities."""
    root, wrong = tmp_path / "imagenet-c", {}
    for k, name in enumerate(STANDARD):
        for severity in range(1, 6):
            right = [severity <= (k + i) % 6 for i in range(2)]
            wrong[name, severity] = 1 - np.mean(right)
            painted = [(i, i if right[i] else 500) for i in range(2)]
            original(root / name / str(severity), painted, size=(224, 224))
    (entry,) = run(tmp_path, "imagenet-c:severity=1,2,3,4,5", tmp_path / "out")
    rates = [
        0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816, 0.826572, 0.819324, 0.564592,
        0.853204, 0.646056, 0.717840, 0.606500,
    ]  # fmt: skip
    by_hand = np.mean([np.mean([wrong[n, s] for s in range(1, 6)]) / r for n, r in zip(STANDARD, rates, strict=True)])
    assert value(entry, "mce") == pytest.approx(by_hand) and list(ALEXNET.values()) == rates
    assert value(entry, "mean_error", "mean") == pytest.approx(np.mean(list(wrong.values())))
    for severity in ((5,), (1, 2, 3, 4)):
        text = ",".join(map(str, severity))
        (entry,) = run(tmp_path, f"imagenet-c:severity={text}", tmp_path / "out")
        assert entry.metric("mce") is None
        expected = np.mean([w for (_, s), w in wrong.items() if s in severity])
        assert value(entry, "mean_error", "mean") == pytest.approx(expected)


def picture(file: Path, size: tuple[int, int]) -> Image.Image:
    """A picture with detail, stored without loss."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    return image


def shown(suite: Any) -> np.ndarray:
    """The first image as a classifier sees it, in levels."""
    batch = suite.open(suite.conditions()[0], 0).read([0])
    return (batch.images[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def resized(image: Image.Image) -> np.ndarray:
    """Shorter side to 256, bilinear, and the central 224: torchvision's Resize(256), CenterCrop(224) on a picture."""
    width, height = image.size
    rest = int(256 * max(width, height) / min(width, height))
    size = (256, rest) if width <= height else (rest, 256)
    left, top = (round((side - 224) / 2) for side in size)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224)))


def test_geometry_is_a_protocol(tmp_path: Path) -> None:
    from harness.suites.imagenet.corrupted import ImageNetC
    from harness.suites.imagenet.validation import ImageNetCGenerated
    from harness.suites.imagenet.variants import ImageNetStylized

    stored = picture(tmp_path / "c" / "gaussian_noise" / "5" / wnids()[0] / "a.png", (224, 224))
    style = picture(tmp_path / "s" / "val" / wnids()[0] / "a.png", (224, 224))
    wide = picture(tmp_path / "r" / wnids()[LABELS_R[0]] / "a.png", (400, 300))
    picture(tmp_path / "i" / "val" / wnids()[0] / "a.png", (400, 300))
    for make, image in ((ImageNetC, stored), (ImageNetStylized, style)):
        data = str(tmp_path / ("c" if make is ImageNetC else "s"))
        assert np.array_equal(shown(make(data=data)), np.asarray(image)), "224 pixels are taken as they are"
        assert np.array_equal(shown(make(data=data, protocol="resize256")), resized(image))
    for protocol in ("official", "resize256"):
        assert np.array_equal(shown(ImageNetR(data=str(tmp_path / "r"), protocol=protocol)), resized(wide))
    make = partial(ImageNetCGenerated, data=str(tmp_path / "i"))
    again = resized(Image.fromarray(shown(make())))
    assert np.array_equal(shown(make(protocol="resize256")), again), "corrupted first, then resized"
    assert make(protocol="resize256").open(make().conditions()[0], 0).geometry.resize == 256


def test_protocols_are_never_ranked_together(disk: Path, tmp_path: Path) -> None:
    (official,), (paper,) = (run(disk, f"imagenet-stylized{p}", tmp_path) for p in ("", ":protocol=resize256"))
    assert official.geometry.resize is None and paper.geometry.resize == 256
    assert len(boards.boards([official, paper])) == 2 and official.key != paper.key
    assert "protocol=resize256" in names.title(paper) and "protocol" not in names.title(official)
    with pytest.raises(HarnessError, match="data differ"):
        comparison.compare(official, paper)
    same = plugins.suite.configure("imagenet-r:protocol=resize256").text
    assert same == "imagenet-r", "where the two protocols are one geometry, they are one benchmark"
    with pytest.raises(HarnessError, match="Unknown protocol 'resize' of imagenet-c"):
        plugins.suite.configure("imagenet-c:protocol=resize")


def test_generated_and_published_corruptions_are_never_ranked_together(disk: Path, tmp_path: Path) -> None:
    (published,) = run(disk, "imagenet-c", tmp_path, limit=1)
    (generated,) = run(disk, "imagenet-c-gen", tmp_path, limit=1)
    assert len(boards.boards([published, generated])) == 2
    with pytest.raises(HarnessError, match="suites differ"):
        comparison.compare(published, generated)
    (enlarged,) = run(disk, "imagenet-c-gen:protocol=resize256", tmp_path, limit=1)
    assert len(boards.boards([enlarged, generated])) == 2
    with pytest.raises(HarnessError, match=r"conditions differ .*resize256"):
        comparison.compare(generated, enlarged)
    suite = plugins.suite.configure("imagenet-c-gen:severity=1,2,3,4,5").plugin
    assert suite.reference() is None, "AlexNet's rates are of the published images"


def test_npy_files_are_read_in_the_order_of_severities(disk: Path, tmp_path: Path) -> None:
    suite = plugins.suite.configure(f"cifar10-c:severity=1,2,3,4,5,data={disk / 'cifar10-c'}").plugin
    for c in suite.conditions()[:5]:
        data = suite.open(c, 0)
        assert isinstance(data, MappedImages) and isinstance(data.pixels, np.memmap) and len(data.ids) == 10_000
        batch = data.read([0, 2, 1])
        right = [k < 6 - c.severity for k in (0, 2, 1)]
        assert (Palette(10)(batch.images).argmax(1) == batch.labels).tolist() == right
        assert batch.ids[1] == "test/00002" and data.picture(2).size == (32, 32)
    accuracies = []
    for severity in (2, 4):
        (entry,) = run(disk, f"cifar10-c:severity={severity}", tmp_path, limit=3)
        accuracies.append(value(entry, "mean_accuracy"))
    assert accuracies == pytest.approx([1, 2 / 3])
    hashes = {suite.open(c, 0).sha256 for c in suite.conditions()[2:4]}
    assert len(hashes) == 2, "files of one size hold other pixels"


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    def opened(root: Path) -> Any:
        suite = plugins.suite.configure(f"cifar10-c:data={root}").plugin
        return suite.open(suite.conditions()[0], 0)

    root = tmp_path / "CIFAR-10-C"
    cifar10c(root, ["gaussian_noise"])
    assert len(opened(root).ids) == len(opened(tmp_path).ids) == 10_000, "in the archive's folder, or above it"
    with pytest.raises(HarnessError, match=r"no shot_noise.npy.*Expected CORRUPTION.npy.*Found there: gaussian_noise"):
        suite = plugins.suite.configure(f"cifar10-c:data={root}").plugin
        suite.open(suite.conditions()[1], 0)
    header = (root / "gaussian_noise.npy").read_bytes()[:128]
    for labels, message in {
        "short": "labels.npy holds 49999 numbers",
        "strange": "labels from 0 to 10",
        "float": "type float64, where 50000 of type integer",
    }.items():
        values = {"short": np.zeros(49_999, int), "strange": np.full(50_000, 10), "float": np.zeros(50_000)}[labels]
        values[-1] = 0
        np.save(root / "labels.npy", values)
        with pytest.raises(HarnessError, match=message):
            opened(root)
    np.save(root / "labels.npy", np.zeros(50_000, np.int64))
    np.lib.format.open_memmap(root / "gaussian_noise.npy", "w+", np.uint8, (49_990, 32, 32, 3))
    with pytest.raises(HarnessError, match=r"gaussian_noise.npy holds 49990 x 32 x 32 x 3.*50000 x 32 x 32 x 3"):
        opened(root)
    archive = io.BytesIO()
    np.savez(archive, images=np.zeros(3, np.uint8))
    for content, message in {
        header: "not a readable array: it was cut short",
        header.replace(b"(", b"["): "not a readable array: it was cut short or damaged",
        b"<html>": "not a readable array: it is an HTML page",
        archive.getvalue(): "not a readable array: it is a zip archive, such as .npz",
        archive.getvalue()[:50]: "not a readable array: it is a zip archive",
        b"": "not a readable array: it is (no .npy file|empty)",
    }.items():
        (root / "gaussian_noise.npy").write_bytes(content)
        with pytest.raises(HarnessError, match=message):
            opened(root)


def test_missing_and_swapped_folders_are_named(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(text: str) -> Any:
        suite = plugins.suite.configure(text).plugin
        return [suite.open(c, 0) for c in suite.conditions()]

    corrupted(tmp_path / "c", STANDARD[:-1], [5])
    with pytest.raises(HarnessError, match=r"no jpeg_compression/5 in .*Expected CORRUPTION/SEVERITY/WNID/\*.JPEG"):
        opened(f"imagenet-c:data={tmp_path / 'c'}")
    corrupted(tmp_path / "c", STANDARD[-1:], [5], PAINTED[:2])
    with pytest.raises(HarnessError, match=r"must hold the same images, but 1 are in one.*n02099601/ILSVRC2012_val_0"):
        opened(f"imagenet-c:data={tmp_path / 'c'}")
    with pytest.raises(HarnessError, match=r"of its 3 classes are none of the 200 of 'imagenet-a'.*imagenet-a expects"):
        opened(f"imagenet-a:data={disk / 'imagenet-r'}")
    with pytest.raises(HarnessError, match=r"must hold CLASS/IMAGE.*imagenet-r expects WNID/\*.jpg, 200 folders"):
        opened(f"imagenet-r:data={tmp_path / 'c' / 'fog' / '5' / wnids()[0]}")
    with pytest.raises(HarnessError, match=r"imagenet-r: no folder .*nothing. Expected WNID/\*.jpg, 200 folders"):
        opened(f"imagenet-r:data={tmp_path / 'nothing'}")
    with pytest.raises(HarnessError, match=r"no val in .*Expected val/WNID"):
        opened(f"imagenet-stylized:data={disk / 'imagenet-r'}")
    with pytest.raises(HarnessError, match=r"no imagenetv2-top-images-format-val in .*Found there: imagenetv2-matched"):
        opened(f"imagenet-v2:variant=top-images,data={disk / 'imagenet-v2'}")
    with pytest.raises(HarnessError, match=r"Unknown variant 'top' of imagenet-v2. Did you mean top-images"):
        opened(f"imagenet-v2:variant=top,data={disk}")
    with pytest.raises(HarnessError, match="imagenet-d needs its data: --data DIR, with background/OBJECT"):
        opened("imagenet-d")
    v2 = disk / "imagenet-v2" / "imagenetv2-matched-frequency-format-val"
    assert opened(f"imagenet-v2:data={v2}")[0].labels.tolist() == [0, 1, 207], "DIR may be the folder itself"
    (tmp_path / "c" / "gaussian_noise").rename(tmp_path / "gaussian_noise")
    (tmp_path / "c" / "noise").mkdir()
    (tmp_path / "gaussian_noise").rename(tmp_path / "c" / "noise" / "gaussian_noise")
    suite = plugins.suite.configure(f"imagenet-c:data={tmp_path / 'c'}").plugin
    assert len(suite.open(suite.conditions()[0], 0).ids) == 3, "an archive unpacked into a folder of its own"
    monkeypatch.setattr(ImageNetR, "size", 2)
    with pytest.raises(HarnessError, match="imagenet-r: 3 images under 'imagenet-r', of which 2 were published"):
        run(disk, "imagenet-r", tmp_path)


def test_the_class_lists() -> None:
    """R and A against timm's copies; D's 113 objects cover 125 classes, none twice."""
    folder = resources.files("timm.data._info")
    for suite in (ImageNetR(), ImageNetA()):
        listed = (folder / f"{suite.name.replace('-', '_')}_synsets.txt").read_text().split()
        assert list(suite.accepted()) == listed == sorted(listed) and len(listed) == 200
    objects = ImageNetD().accepted()
    classes = [wnid for wnids_ in objects.values() for wnid in wnids_]
    assert len(objects) == 113 and len(classes) == len(set(classes)) == 125 and set(classes) <= set(wnids())
    from timm.data import ImageNetInfo

    described = dict(zip(wnids(), ImageNetInfo().label_descriptions(), strict=True))
    for name, words in {"wok": "wok", "tie": "bow tie|Windsor tie", "banana": "banana"}.items():
        assert "|".join(described[w].split(",")[0] for w in objects[name]) == words
    assert sum(ImageNetD.sizes.values()) == 4835


def bins(correct: np.ndarray, confidence: np.ndarray) -> float:
    """Expected calibration error as Guo et al. write it."""
    total = 0.0
    for low in range(15):
        here = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if here.any():
            total += here.mean() * abs(correct[here].mean() - confidence[here].mean())
    return total


def test_calibration_against_plain_loops() -> None:
    random = np.random.default_rng(0)
    confidence = random.beta(5, 2, size=(400, 3))
    correct = random.random((400, 3)) < confidence**2
    metric = calibration.ece(correct, confidence, "mean")
    each = [bins(correct[:, k], confidence[:, k]) for k in range(3)]
    assert metric.value == pytest.approx(np.mean(each), abs=1e-12)
    assert (
        0 < metric.interval[0] < metric.value < metric.interval[1] and metric.n == 400 and not metric.higher_is_better
    )
    one = calibration.ece(correct[:, :1], confidence[:, :1], "c")
    assert one.value == pytest.approx(each[0], abs=1e-12) and one.unit == "fraction"
    assert calibration.ece(np.ones((5, 1), bool), np.full((5, 1), 0.9), "c").value == pytest.approx(0.1)
    probability = random.random((400, 3))
    nll = calibration.nll(probability, "mean")
    assert nll.value == pytest.approx(-np.log(probability).mean())
    assert nll.interval[0] < nll.value < nll.interval[1] < nll.value + 0.2 and nll.unit == "nats"
    assert calibration.nll(np.array([[0.0], [1.0]]), "c").value == pytest.approx(126 * np.log(2) / 2)


def test_the_interval_of_the_calibration_error_covers_it() -> None:
    """Overconfident by a fixed amount in every bin, so that the truth is known and no gap is near zero."""
    random, covered, runs = np.random.default_rng(1), 0, 150
    for _ in range(runs):
        confidence = random.random((500, 1)) * 0.6 + 0.4
        low, high = calibration.ece(random.random((500, 1)) < confidence - 0.2, confidence, "c").interval
        covered += low <= 0.2 <= high
    assert covered / runs > 0.92


def test_certification(disk: Path, tmp_path: Path) -> None:
    """The published strides and draws, and that a sample of the validation set is named so."""
    for name, every, n, total in (("imagenet-certify", 50, 10_000, 50_000), ("cifar10-certify", 20, 100_000, 10_000)):
        suite = plugins.suite.configure(name).plugin
        assert (suite.every, suite.n, suite.n0, suite.alpha, suite.sigma) == (every, n, 100, 0.001, (0.25, 0.5, 1.0))
        (entry,) = run(disk, f"{name}:sigma=0.25,n=20,n0=5", tmp_path, methods=("gaussian",), limit=2)
        assert entry.coverage == f"2 of {total} images (the first ones)" and entry.status == "partial"
        assert entry.rows()["estimation"].sum(1).tolist() == [20, 20]


def test_a_partial_copy_is_not_ranked_beside_a_whole_one(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (partial,) = run(disk, "imagenet-sketch", tmp_path)
    from harness.suites.imagenet.variants import ImageNetSketch

    monkeypatch.setattr(ImageNetSketch, "size", 3)
    (complete,) = run(disk, "imagenet-sketch", tmp_path / "whole")
    assert (partial.status, complete.status) == ("partial", "complete") and complete.coverage == "3 of 3 images"
    assert len(boards.boards([partial, complete])) == 2


def test_data_check_reads_suites(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.out, "width", 200)  # which is read from the environment once, at the first import
    check: Callable[..., tuple[int, str]] = partial(harness, monkeypatch, capsys, "data", "check")
    code, text = check("imagenet-r", "--data", str(disk / "imagenet-r"))
    assert code == 0 and "3 of 30,000" in text and "3 of 1000" in text and "40 / 40 / 40" in text
    code, text = check("imagenet-c", "--data", str(disk / "imagenet-c"), "--quick")
    assert code == 0 and text.count("3 of 50,000") == 15 and "jpeg_compression/5" in text
    code, text = check("imagenet-c:severity=4,5", "--data", str(disk / "imagenet-c"), "--split", "fog/4")
    assert code == 2 and "no fog/4 in" in text and "Expected CORRUPTION/SEVERITY" in text
    code, text = check("imagenet-c-gen", "--data", str(disk / "imagenet"), "--split", "fog/5")
    assert code == 2 and "made from other images. Check those: harness data check imagenet" in text
    code, text = check("imagenet-rr", "--data", str(disk))
    assert code == 2 and "Did you mean imagenet-r" in text


@pytest.mark.skipif(not SHARED, reason="HARNESS_SHARED names no folder with real images and a real classifier")
def test_real_images_get_harder_with_severity(tmp_path: Path) -> None:
    """100 real images under all corruptions; ten minutes. Accuracy falls from severity 1 to 5, nearly at every step.

    Not at every one: the published constants of snow and elastic_transform are harsher at severity 2 than at 3.
    """
    import timm
    from safetensors.torch import load_file

    from harness.models.classifier import ImageClassifier

    @plugins.model("test/mobilenetv2", dataset="imagenet")
    def mobilenetv2() -> nn.Module:
        net = timm.create_model("mobilenetv2_100", pad_type="same")
        net.load_state_dict(load_file(f"{SHARED}/data/models/mobilenetv2_imagenet.safetensors"))
        return ImageClassifier(net)

    suite = f"imagenet-c-gen:severity=1,2,3,4,5,data={SHARED}/data/imagenet-sample"
    job = prepare(RunSpec(suite, ("test/mobilenetv2",), ("default",), tile=16), tmp_path)
    (entry,) = [record.load(path) for path in loop.run(job)]
    clean = open_dataset("imagenet", "val", f"{SHARED}/data/imagenet-sample")
    assert entry.coverage == "100 of 50000 images" and len(clean.ids) == 100
    for name in STANDARD:
        by_severity = [value(entry, "accuracy", f"{name}/{s}") for s in range(1, 6)]
        assert by_severity[0] > by_severity[-1], (name, by_severity)
        assert stats.spearmanr(range(1, 6), by_severity).statistic < -0.85, (name, by_severity)


def test_without_the_diffusion_model_the_usual_methods_are_those_that_need_none(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    usual = [
        "run",
        "--suite",
        "imagenet",
        "--data",
        str(disk / "imagenet"),
        "--model",
        "test/palette",
        "--out",
        str(tmp_path),
    ]
    code, text = harness(monkeypatch, capsys, *usual, "--dry-run")
    assert code == 0 and "left out de" in text and "256x256_diffusion_uncond.pt" in text
    code, text = harness(monkeypatch, capsys, *usual, "--dry-run", "--tta", "de")
    assert code == 2 and "No weights of 'adm256'" in text
