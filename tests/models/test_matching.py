"""Class names travel with data, classifiers and records, and are matched by name wherever both sides have names."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import harness
from PIL import Image
from torch import Tensor, nn

from harness import plugins
from harness.data import ArrayDataset, Corrupted, ImageList, Subset, Widened, open_dataset, open_pictures
from harness.data.classes import names_of, naming_of, numbered, places
from harness.diffusion.lookup import conditioned, find_denoiser
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.models import matching
from harness.models.checkpoint import write_checkpoint
from harness.models.lookup import find_classifier
from harness.report.selection import check_pairable
from harness.train import run as training
from harness.train.build import build
from harness.train.engine.parallel import World
from harness.train.input.splits import open_training
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.types import Geometry, HarnessError, RunSpec

GREYS = {"cat": 10, "dog": 90, "wolf": 90, "owl": 170, "pig": 250}
"""What images of a class look like; a dog and a wolf, alike."""

ANIMALS = ("cat", "dog", "owl", "pig")


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def as_folder(root: Path, split: str, names: Sequence[str]) -> None:
    for name in names:
        (root / split / name).mkdir(parents=True)
        for k in range(2):
            (root / split / name / f"{k}.png").write_bytes(png(GREYS[name]))


def as_parquet(root: Path, split: str, names: Sequence[str], kind: str = "parquet") -> None:
    labels: list[Any] = [name if kind == "texts" else k for k, name in enumerate(names) for _ in "ab"]
    images = [{"bytes": png(GREYS[name]), "path": f"{split}{name}{k}.png"} for name in names for k in "ab"]
    features = {"label": {"_type": "ClassLabel", "names": list(names)}}
    told = {"huggingface": json.dumps({"info": {"features": features}})} if kind == "parquet" else {}
    root.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": images, "label": labels}).replace_schema_metadata(told)
    pq.write_table(table, root / f"{split}-0.parquet")


def as_tar(root: Path, split: str, names: Sequence[str], kind: str = "tar") -> None:
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / f"{split}-0.tar", "w") as shard:
        for number, name in enumerate(names):
            for k in "ab":
                label = name if kind == "tar" else str(number)
                for ending, content in (("png", png(GREYS[name])), ("cls", label.encode())):
                    member = tarfile.TarInfo(f"{name}{k}.{ending}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))


def write(root: Path, split: str, layout: str, names: Sequence[str]) -> None:
    if layout == "folder":
        as_folder(root, split, names)
    elif layout.startswith("tar"):
        as_tar(root, split, names, layout)
    else:
        as_parquet(root, split, names, layout)


NAMED, NUMBERED = ("folder", "parquet", "texts", "tar"), ("tar, numbers", "parquet, numbers")


def shown(data: Any) -> list[str]:
    """The class that each image shows, by its grey."""
    names = {grey: name for name, grey in GREYS.items() if name != "wolf"}
    return [names[int(data.read([k]).images[0, 0, 0, 0] * 255 + 0.5)] for k in range(len(data.ids))]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(("train", "test"), list(product(NAMED, NAMED)))
def test_splits_have_one_order_of_names(tmp_path: Path, train: str, test: str) -> None:
    first, other = ("dog", "cat", "owl"), ("owl", "dog", "cat")
    for kind, names in {"same": first, "permuted": other, "subset": ("owl", "cat")}.items():
        root = tmp_path / kind
        write(root, "train", train, first)
        write(root, "test", test, names)
        opened = [open_dataset("folder", split, str(root)) for split in ("train", "test")]
        assert names_of(opened[0]) == names_of(opened[1]) == (first if train == "parquet" else tuple(sorted(first)))
        for data in opened:
            assert [names_of(data)[label] for label in data.labels] == shown(data), kind
            assert data.num_classes == 3 and not naming_of(data).note and naming_of(data).order == "the training split"
    for kind, names in {"renamed": ("cat", "wolf", "owl"), "one more": ("cat", "dog", "owl", "pig")}.items():
        root = tmp_path / kind
        write(root, "train", train, first)
        write(root, "test", test, names)
        assert open_dataset("folder", "train", str(root)).num_classes == 3
        new = "'wolf'" if kind == "renamed" else "'pig'"
        said = rf"in the split 'test' are none of the 3 of the training split: {new}\. Found: .*{new}"
        with pytest.raises(HarnessError, match=rf"1 of its . classes {said}.*Expected .*'dog'"):
            open_dataset("folder", "test", str(root))


@pytest.mark.parametrize(("named", "numbers"), list(product(NAMED, NUMBERED)))
def test_numbers_beside_names_are_positions_and_the_data_say_so(tmp_path: Path, named: str, numbers: str) -> None:
    """And where labels are numbers on both sides, or names that are numbers, they are names."""
    names = ("dog", "cat", "owl")
    order = names if named == "parquet" else tuple(sorted(names))
    write(tmp_path / "a", "train", named, names)
    write(tmp_path / "a", "test", numbers, order[:2])
    data = open_dataset("folder", "test", str(tmp_path / "a"))
    assert [names_of(data)[label] for label in data.labels] == shown(data) and data.num_classes == 3
    assert naming_of(data).note.startswith("Labels are numbers: they were taken as positions among the classes of the")
    write(tmp_path / "b", "train", numbers, order)
    write(tmp_path / "b", "test", named, names)
    data = open_dataset("folder", "test", str(tmp_path / "b"))
    assert names_of(data) == order and [order[label] for label in data.labels] == shown(data)
    assert naming_of(data).note.startswith("The training split only numbers its classes")
    write(tmp_path / "c", "train", numbers, [*order, "pig"])
    write(tmp_path / "c", "test", named, names)
    with pytest.raises(HarnessError, match=r"3 classes with names \(.*\), and the training split numbers 4 or more"):
        open_dataset("folder", "test", str(tmp_path / "c"))
    write(tmp_path / "d", "train", named, names)
    write(tmp_path / "d", "test", numbers, ANIMALS)
    with pytest.raises(HarnessError, match="has the label 3, and there are 3 classes"):
        open_dataset("folder", "test", str(tmp_path / "d"))
    write(tmp_path / "e", "train", numbers, order)
    write(tmp_path / "e", "test", numbers, order[:2])
    data = open_dataset("folder", "test", str(tmp_path / "e"))
    assert data.num_classes == 3 and sorted(data.labels.tolist()) == [0, 0, 1, 1] and not naming_of(data).note


def test_folders_that_are_called_by_numbers_are_found_by_these(tmp_path: Path) -> None:
    """Sorted as texts, ten comes before two: positions would be wrong."""
    for name in map(str, range(12)):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "train" / name / "1.png")
    as_tar(tmp_path, "test", [*ANIMALS, "wolf"], "tar, numbers")
    data = open_dataset("folder", "test", str(tmp_path))
    found = sorted(names_of(data)[label] for label in data.labels)
    assert found == ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]
    assert names_of(data)[4] == "2" and not naming_of(data).note and data.num_classes == 12


def test_where_names_stand_among_others() -> None:
    found = {
        (("a", "b"), ("b", "a")): ([1, 0], True),
        (("a",), ("b", "a")): ([1], True),
        (("a", "c"), ("b", "a")): None,
        (("1", "0"), ("x", "y", "z")): ([1, 0], False),
        (("3",), ("x", "y", "z")): None,
        (("x", "y"), ("1", "0")): ([1, 0], False),
        (("x", "y"), ("0", "1", "2")): None,
        (("07", "2"), ("2", "7")): ([1, 0], True),
        (("1", "x"), ("0", "1")): ([0, 1], False),
    }
    for (own, wanted), expected in found.items():
        got = places(own, wanted)
        assert (got and (got.there, got.by_name)) == expected, (own, wanted)
    assert numbered(("0", "10")) and not numbered(("1", "01")) and not numbered(()) and not numbered(("9" * 5000,))


def test_a_name_stands_for_one_class(tmp_path: Path) -> None:
    as_parquet(tmp_path, "test", ("cat", "cat"))
    with pytest.raises(HarnessError, match="2 classes are called 'cat'"):
        open_dataset("folder", "test", str(tmp_path))


class Grey(nn.Module):
    """Knows the class by the grey; outputs in the order of `names`."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.register_buffer("greys", torch.tensor([GREYS[name] / 255 for name in names]))

    def features(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None]

    def head(self, features: Tensor) -> Tensor:
        return -100 * (features - self.greys).abs()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def evaluated(root: Path, *models: str, suite: str = "folder") -> list[RunRecord]:
    spec = RunSpec(f"{suite}:data={root}", models=models, methods=("default",), tile=4)
    return [record.load(path) for path in loop.run(prepare(spec, root / "out"))]


def accuracy_of(entry: RunRecord) -> float:
    metric = entry.metric("accuracy", "clean")
    assert metric
    return metric.value


@pytest.mark.parametrize("layout", NAMED)
def test_a_classifier_that_names_its_classes_is_matched_by_name(tmp_path: Path, layout: str) -> None:
    write(tmp_path, "test", layout, ("dog", "cat", "owl"))
    orders = {"same": ("cat", "dog", "owl"), "permuted": ("owl", "cat", "dog")}
    for name, classes in orders.items():
        plugins.model(name, dataset="folder", classes=classes)(lambda classes=classes: Grey(classes))
    for entry in evaluated(tmp_path, *orders):
        rows = entry.rows()
        assert accuracy_of(entry) == 1 and not entry.notes
        assert sorted(entry.classes) == ["cat", "dog", "owl"]
        assert rows["prediction"].tolist() == rows["label"].tolist()
    plugins.model("more", dataset="folder", classes=ANIMALS[::-1])(lambda: Grey(ANIMALS[::-1]))
    (entry,) = evaluated(tmp_path, "more")
    assert sorted(entry.classes) == list(ANIMALS) and entry.classes[-1] == "pig"
    assert accuracy_of(entry) == 1
    with pytest.raises(HarnessError, match=r"'same' knows none and 'more' 'pig'\. Run them apart"):
        evaluated(tmp_path, "same", "more")
    for name, classes in {"fewer": ("cat", "dog"), "renamed": ("cat", "wolf", "owl")}.items():
        plugins.model(name, dataset="folder", classes=classes)(lambda classes=classes: Grey(classes))
        with pytest.raises(HarnessError, match=rf"Model '{name}' knows other classes than the data: .*unknown to it"):
            evaluated(tmp_path, name)
    for name, classes in {"short": ("owl", "pig", "cat", "dog"), "twice": ("cat", "cat", "owl")}.items():
        plugins.model(name, dataset="folder", classes=classes)(lambda: Grey(("cat", "dog", "owl")))
        with pytest.raises(HarnessError, match=r"names 4 classes and gives 3 outputs|name each of them once"):
            evaluated(tmp_path, name)


def test_a_classifier_without_names_is_taken_by_position_and_the_record_says_so(tmp_path: Path) -> None:
    plugins.model("grey", dataset="folder")(lambda: Grey(("dog", "cat")))
    as_parquet(tmp_path / "a", "test", ("cat", "dog"))
    as_parquet(tmp_path / "b", "test", ("cat", "dog"))
    as_parquet(tmp_path / "b", "train", ("dog", "cat"))
    as_tar(tmp_path / "c", "test", ("dog", "cat"), "tar, numbers")
    for place, accuracy, order in (("a", 0, "the split 'test': 'cat', 'dog'"), ("b", 1, "the training split: 'dog'")):
        (entry,) = evaluated(tmp_path / place, "grey")
        assert accuracy_of(entry) == accuracy
        (note,) = entry.notes
        assert (
            f"Model 'grey' does not name its classes: its outputs were taken by position, in the order of {order}"
            in note
        )
    (entry,) = evaluated(tmp_path / "c", "grey")
    assert accuracy_of(entry) == 1 and not entry.notes, "numbers on both sides"
    plugins.model("named", dataset="folder", classes=("dog", "cat", "owl"))(lambda: Grey(("dog", "cat", "owl")))
    (entry,) = evaluated(tmp_path / "c", "named")
    assert accuracy_of(entry) == 1 and list(entry.classes) == ["0", "1", "2"]
    assert list(entry.notes) == [
        "The data only number their classes: they were taken by position, in the order 'dog', 'cat', 'owl'."
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the classes owl, dog, cat, in this order."""
    root = tmp_path_factory.mktemp("trained")
    for split in ("train", "test"):
        as_parquet(root, split, ("owl", "dog", "cat"))
    training.run(TrainSpec("resnet", dataset="folder", data=str(root), epochs=30, batch_size=6, lr=0.003), root / "net")
    return root


def test_a_checkpoint_carries_its_classes(trained: Path, tmp_path: Path) -> None:
    checkpoint = find_classifier(str(trained / "net"))[1]
    assert checkpoint.details["classes"] == ["owl", "dog", "cat"]
    assert json.loads((trained / "net" / "card.json").read_text())["classes"] == ["owl", "dog", "cat"]
    (here,) = evaluated(trained, str(trained / "net"))
    assert accuracy_of(here) == 1 and list(here.classes) == ["owl", "dog", "cat"]
    for place, names in {"permuted": ("cat", "dog", "owl"), "subset": ("cat", "owl")}.items():
        as_folder(tmp_path / place, "test", names)
        (entry,) = evaluated(tmp_path / place, str(trained / "net"))
        assert accuracy_of(entry) == 1 and not entry.notes
        assert set(entry.classes) == {"cat", "dog", "owl"}
    check_pairable(here, replace(here, classes=()))
    with pytest.raises(HarnessError, match=r"their classes differ \(owl, dog, cat and cat, dog, owl\)"):
        check_pairable(here, replace(here, classes=("cat", "dog", "owl")))
    as_folder(tmp_path / "renamed", "test", ("cat", "wolf", "owl"))
    with pytest.raises(
        HarnessError, match=r"'wolf'.*Its classes: 'owl', 'dog', 'cat'; those of 'folder': 'cat', 'owl'"
    ):
        evaluated(tmp_path / "renamed", str(trained / "net"))


def test_a_training_starts_from_weights_by_name(trained: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        as_folder(tmp_path / "permuted", split, ("cat", "dog", "owl"))
        as_folder(tmp_path / "renamed", split, ("cat", "wolf", "owl"))
    usual = {"dataset": "folder", "init": str(trained / "net"), "epochs": 1, "batch_size": 6}
    settings = resolve(TrainSpec("resnet", data=str(tmp_path / "permuted"), **usual))
    data = open_training(settings)
    task, header = build(settings, data, World())
    assert header["classes"] == ["cat", "dog", "owl"]
    there = find_classifier(str(trained / "net"))[0]
    images = data.read(range(4)).images
    with torch.no_grad():
        assert torch.equal(task.network.eval()(images), there(images)[:, [2, 1, 0]])
    settings = replace(settings, data=str(tmp_path / "renamed"))
    with pytest.raises(HarnessError, match=r"--init .* knows other classes than the data: 'wolf' of 'folder'"):
        build(settings, open_training(settings), World())


def test_a_conditional_denoiser_is_told_classes_by_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        as_parquet(tmp_path / "a", split, ("owl", "dog", "cat"))
        as_folder(tmp_path / "b", split, ("cat", "dog", "owl"))
        as_folder(tmp_path / "c", split, ("cat", "wolf", "owl"))
    usual = {"dataset": "folder", "epochs": 1, "batch_size": 6}
    settings = resolve(TrainSpec("unet-conditional", data=str(tmp_path / "a"), warmup=0, **usual))
    task, header = build(settings, open_training(settings), World())
    (tmp_path / "net").mkdir()
    write_checkpoint(tmp_path / "net" / "model.safetensors", task.network, header)
    denoiser, info = find_denoiser(str(tmp_path / "net"))
    assert info.details["classes"] == ["owl", "dog", "cat"]
    mixed = {"diffaug": True, "diffusion": "digits", "conditional": str(tmp_path / "net"), "conditional_weight": 0.5}
    settings = resolve(TrainSpec("resnet", data=str(tmp_path / "b"), **usual, **mixed))
    task, _ = build(settings, open_training(settings), World())
    told: Any = task.objective.terms[1].reverse.conditional  # type: ignore[attr-defined]
    table: Any = denoiser.network.class_embedding
    assert torch.equal(told.network.class_embedding.weight, table.weight[[2, 1, 0]])
    data = open_dataset("folder", "train", str(tmp_path / "b"))
    again: list[Any] = [conditioned(denoiser, "net", info, data, "It") for _ in range(2)]
    assert all(torch.equal(one.network.class_embedding.weight, table.weight[[2, 1, 0]]) for one in again)
    assert denoiser.network.class_embedding is table, "the denoiser that was found keeps its order"
    assert again[0].network.conv_in is denoiser.network.conv_in
    settings = replace(settings, data=str(tmp_path / "c"))
    with pytest.raises(HarnessError, match=r"--conditional .* knows other classes than the data: 'wolf'"):
        build(settings, open_training(settings), World())


def test_outputs_in_another_order_keep_halves_and_times() -> None:
    network = Grey(("owl", "cat", "dog"))
    turned: Any = matching.reordered(network, [1, 2, 0])
    images = torch.rand(5, 3, 4, 4)
    assert torch.equal(turned(images), network(images)[:, [1, 2, 0]])
    assert torch.equal(turned.head(turned.features(images)), turned(images))
    assert matching.reordered(network, [0, 1, 2]) is network
    body = plugins.architecture["encoder"].build(num_classes=3)
    from harness.models.classifier import TimeConditionedClassifier
    from harness.types import FeatureClassifier, NoisyClassifier

    timed = TimeConditionedClassifier(body, denoised=False).eval()
    noisy: Any = matching.reordered(timed, [2, 0, 1])
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 700])
    assert torch.equal(noisy.noisy(x, None, t), timed.noisy(x, None, t)[:, [2, 0, 1]]) and not noisy.denoised
    assert isinstance(noisy, NoisyClassifier) and not isinstance(noisy, FeatureClassifier)
    assert isinstance(turned, FeatureClassifier) and not isinstance(turned, NoisyClassifier)


def test_names_are_part_of_the_hash_where_they_are_the_data_s_own(tmp_path: Path) -> None:
    """Not of the digits' and not of a benchmark's, whose hashes stand in records."""
    hashes = []
    for place, names in {"a": ("cat", "dog"), "b": ("cat", "wolf"), "c": ("dog", "cat")}.items():
        as_parquet(tmp_path / place, "test", names)
        hashes += [open_dataset("folder", "test", str(tmp_path / place)).sha256]
        hashes += [open_pictures(tmp_path / place, "test", Geometry(32, 32, "bicubic"), name="mine").sha256]
    assert len(set(hashes)) == 6
    digits = plugins.dataset["digits"].build("test")
    digest = hashlib.sha256("\n".join(digits.ids).encode())
    digest.update(digits.labels.numpy().tobytes())
    digest.update(digits.pixels.numpy().tobytes())
    assert digits.sha256 == digest.hexdigest()
    named = replace(digits, classes=tuple("abcdefghij"))
    assert named.sha256 != digits.sha256
    as_folder(tmp_path / "cifar", "test", ("cat", "dog"))
    data: Any = open_dataset("cifar10", "test", str(tmp_path / "cifar"))
    digest = hashlib.sha256("\n".join([str(data.geometry), *data.ids]).encode())
    assert sorted(data.labels.tolist()) == [3, 3, 5, 5]
    digest.update(data.labels.numpy().tobytes())
    digest.update("\n".join(map(str, data.source.marks())).encode())
    assert data.sha256 == digest.hexdigest()


def test_every_data_set_shows_its_classes(tmp_path: Path) -> None:
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    data = ArrayDataset("mine", ("a", "b"), pixels, torch.tensor([0, 1]), 2, Geometry(None, 4, "bicubic"), ("x", "y"))
    wider = Widened(data, ("x", "y", "z"))
    assert names_of(Corrupted(data, "fog", 1, 0)) == names_of(Subset(data, (1,))) == ("x", "y")
    assert (wider.num_classes, wider.ids, wider.labels.tolist()) == (3, data.ids, [0, 1])
    assert wider.sha256 not in (data.sha256, Widened(data, ("x", "y", "q")).sha256)
    assert torch.equal(wider.read([1]).images, data.read([1]).images)


def test_conditions_share_one_order_but_for_images_of_no_class() -> None:
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    data = ArrayDataset("mine", ("a", "b"), pixels, torch.tensor([0, 1]), 2, Geometry(None, 4, "bicubic"), ("x", "y"))
    turned = replace(data, classes=("y", "x"))
    outside = replace(turned, labels=torch.tensor([-1, -1]))
    assert matching.match({"id": data, "far": outside}, {}).datasets["far"] is outside
    with pytest.raises(HarnessError, match="the same classes in one order"):
        matching.match({"id": data, "shifted": turned}, {})


def test_a_list_that_numbers_its_classes_in_another_order_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    usual: dict[str, Any] = {"num_classes": 2, "geometry": Geometry(None, 4, "bicubic"), "classes": ("cat", "dog")}
    file.write_text("x/cat/1.png 0\nx/2.png 0\nx/other/3.png 1\n")
    assert ImageList("pets", file, tmp_path, **usual).labels.tolist() == [0, 0, 1]
    file.write_text("x/cat/1.png 0\nx/dog/2.png 0\n")
    with pytest.raises(HarnessError, match=r"x/dog/2.png has the label 0, which is 'cat' among the classes of 'pets'"):
        _ = ImageList("pets", file, tmp_path, **usual).labels
    assert ImageList("pets", file, tmp_path, outside=True, **usual).labels.tolist() == [-1, -1]


def test_the_check_of_data_shows_both_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_parquet(tmp_path, "train", ("dog", "cat"))
    as_parquet(tmp_path, "test", ("cat", "dog"))
    code, printed = harness(monkeypatch, capsys, "data", "check", "folder", "--data", str(tmp_path))
    assert code == 0 and "dog, cat cat, dog" in printed
    assert "test: The files list their classes in another order than the training split, which is harmless" in printed
    as_parquet(tmp_path, "test", ("cat", "wolf"))
    code, printed = harness(monkeypatch, capsys, "data", "check", "folder", "--data", str(tmp_path))
    assert code == 2 and "Found: 'cat', 'wolf'. Expected names such as 'dog', 'cat'" in printed
