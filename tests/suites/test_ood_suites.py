"""Detectors against OpenOOD's own scores, and the suites around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from helpers import RECORDED_FOLDER
from PIL import Image
from torch import Tensor, nn

from harness import plugins
from harness.base.errors import Notice
from harness.data import ImageList, open_dataset
from harness.diffusion.lookup import find_denoiser
from harness.evaluation import loop, recording
from harness.evaluation.features import FeatureBank
from harness.evaluation.launch.claims import Shard
from harness.evaluation.loop import Progress
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.evaluation.response import check_independent, score
from harness.evaluation.views.batch import BatchViews
from harness.metrics import ood
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.report import boards, leaderboard, names, selection
from harness.report.figures import draw as figures
from harness.suites.bases.detection import Detection
from harness.suites.bases.fitting import FittedDetector, Trial, choose, naming_detector
from harness.types import Batch, Condition, Dataset, Geometry, HarnessError, Pair, RunSpec, Unsuited, Weights

# Inputs and scores recorded from OpenOOD, main branch, commit 3c35632e: the first 150 of each test set.
RECORDED = dict(np.load(RECORDED_FOLDER / "ood_detectors.npz"))
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

THEIRS = {
    "msp": "msp", "maxlogit": "mls", "energy": "ebo", "react": "react", "ash-b": "ash", "ash-p": "ash_p",
    "ash-s": "ash_s", "scale": "scale", "knn": "knn", "vim:dim=32": "vim", "gen": "gen", "mahalanobis": "mds",
    "relative-mahalanobis": "rmds",
}  # fmt: skip


class Given(nn.Module):
    """A network whose images are its features: (B, 1, 8, 8) to 64 of them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)
        with torch.no_grad():
            self.last.weight.copy_(torch.from_numpy(RECORDED["in/W"]))
            self.last.bias.copy_(torch.from_numpy(RECORDED["in/b"]))

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def head(self, features: Tensor) -> Tensor:
        return self.last(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class OdinNetwork(Given):
    """Two layers on 3 x 8 x 8 images; the recording's inputs are normalised, ours lie in pixel units."""

    def features(self, images: Tensor) -> Tensor:
        return torch.relu((images / STD).flatten(1) @ torch.from_numpy(RECORDED["in/odin_W1"]).T)


@dataclass(frozen=True)
class Recorded:
    """A data set of recorded features."""

    features: Any
    labels: Tensor
    name: str = "recorded"
    num_classes: int = 10

    @property
    def geometry(self) -> Geometry:
        return Geometry(None, 8, "none")

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.sha256}-{i}" for i in range(len(self.labels)))

    @cached_property
    def sha256(self) -> str:
        return f"{len(self.labels)}-{float(self.features.sum()):.6f}"

    def read(self, indices: Any) -> Batch:
        rows = list(indices)
        images = torch.from_numpy(self.features[rows]).reshape(len(rows), 1, 8, 8)
        return Batch(tuple(self.ids[i] for i in rows), images, self.labels[rows])


def recorded(name: str) -> Recorded:
    features = RECORDED[f"in/{name}_feat"]
    labels = RECORDED.get(f"in/{name}_label", np.full(len(features), -1))
    return Recorded(features, torch.from_numpy(labels.astype(np.int64)))


def bank(folder: Path, network: nn.Module | None = None, **changes: Any) -> FeatureBank:
    parts = {
        "classifier": TiledClassifier(network or Given(), Tiles(100)),
        "weights": Weights("given", "0" * 64, "here"),
        "train_images": recorded("train"),
        "validation_images": recorded("val"),
        "source": "",
        "cache": folder,
    }
    return FeatureBank(**{**parts, **changes})


def scores(name: str, images: Tensor, folder: Path, network: nn.Module | None = None) -> np.ndarray:
    features = bank(folder, network)
    detector = plugins.detector.configure(name).plugin
    detect = detector.fit(features) if hasattr(detector, "fit") else detector
    whole = bool(plugins.detector.of(name).facts.get("whole"))
    probabilities = features.classifier.respond(images)[1].softmax(1)
    return score(detect, whole, features.classifier, probabilities, [images]).numpy()


@pytest.mark.parametrize(("ours", "theirs"), THEIRS.items(), ids=list(THEIRS))
def test_scores_are_those_of_openood(ours: str, theirs: str, tmp_path: Path) -> None:
    for split in ("test", "near", "far"):
        expected = RECORDED[f"score/{theirs}/{split}"]
        data = recorded(split)
        values = scores(ours, data.read(range(len(data.labels))).images, tmp_path)
        # (1 - p)^0.1 near p = 1 loses three digits in float32, theirs as ours.
        tolerance = (2e-3 if theirs == "gen" else 1e-4) * expected.std()
        assert np.abs(values - expected).max() < tolerance


def test_odin_is_that_of_openood(tmp_path: Path) -> None:
    """At T = 1000 float32, which theirs are in, has a step of 4e-5 of the scores' spread."""
    spread = np.concatenate([RECORDED[f"score/odin/{split}"] for split in ("test", "near", "far")]).std()
    for split in ("test", "near", "far"):
        expected = RECORDED[f"score/odin/{split}"]
        images = torch.from_numpy(RECORDED[f"in/odin_{split}_img"]) * STD
        values = scores("odin", images, tmp_path, OdinNetwork())
        assert np.abs(values - expected).max() < 1e-4 * spread


@dataclass(frozen=True)
class Fixture(Detection):
    """The recorded features as a suite."""

    name: ClassVar[str] = "fixture"
    version: ClassVar[int] = 1
    dataset: ClassVar[str] = "recorded"

    def conditions(self) -> list[Condition]:
        return [Condition("id", "id"), Condition("near/near", "near"), Condition("far/far", "far")]

    def open(self, condition: Condition, seed: int) -> Dataset:
        return recorded(condition.name.partition("/")[2] or "test")

    def training(self) -> Dataset:
        return recorded("train")

    def validation(self) -> tuple[Dataset, Dataset]:
        return recorded("val"), recorded("oodval")


@pytest.mark.parametrize(
    ("name", "theirs", "chosen"),
    [
        ("react:percentile=tune", "react", {"percentile": 99}),
        ("ash-b:tune", "ash", {"percentile": 70}),
        ("scale:percentile=tune", "scale", {"percentile": 65}),
        ("knn:k=tune", "knn", {"k": 50}),
        ("gen:gamma=tune,top=tune", "gen", {"gamma": 0.5, "top": 10}),
    ],
)
def test_tuning_chooses_as_openood_does(name: str, theirs: str, chosen: dict[str, float], tmp_path: Path) -> None:
    detector = plugins.AXES["detector"].configure(name)
    assert (
        detector.text.endswith("=tune")
        and detector.text != plugins.AXES["detector"].configure(name.partition(":")[0]).text
    )
    classifier = TiledClassifier(Given(), Tiles(100))
    pair = Pair("given", detector.text, classifier, detector.plugin, Weights("given", "0" * 64, ""))
    stages: list[Any] = []

    def look(batch: Batch) -> BatchViews:
        return BatchViews(batch, None, classifier.tiles, 0)

    (ready,) = Fixture().prepare([pair], look, tmp_path, stages.append)
    assert ready.method.chosen == chosen
    assert [s for s in stages if "tuning" in s.name]
    data = recorded("far")
    views = look(data.read(range(len(data.labels))))
    values = ready.method(views, ready)[1].numpy()
    expected = RECORDED[f"score_aps/{theirs}/far"]
    assert np.abs(values - expected).max() < (2e-3 if theirs == "gen" else 1e-4) * expected.std()


def test_a_bank_names_the_new_name_of_an_attribute(tmp_path: Path) -> None:
    features = bank(tmp_path)
    for former, name in {"train": "train_features", "validating": "validation_images"}.items():
        with pytest.raises(AttributeError, match=f"a bank has no '{former}': it is called '{name}'"):
            getattr(features, former)
    assert len(features.train_features.labels) == len(features.train_images.ids) and not hasattr(features, "nothing")


def test_of_equal_settings_the_first_is_chosen_and_one_candidate_needs_no_images() -> None:
    """A pair without settings to tune costs no pass over the validation images."""
    classifier = TiledClassifier(Given(), Tiles(100))
    pair = Pair("given", "test", classifier, None, Weights("given", "0" * 64, ""))
    method = plugins.method.configure("default").plugin

    def fitted(sign: float) -> Trial:
        detect = lambda seen: sign * seen.logits.amax(1)  # noqa: E731
        return Trial(pair, FittedDetector(method, detect, whole=False, rectified=False, chosen={"sign": sign}))

    def look(batch: Batch) -> BatchViews:
        return BatchViews(batch, None, classifier.tiles, 0)

    validation, stages = (recorded("val"), recorded("oodval")), []
    trials = [[fitted(-1.0), fitted(1.0), fitted(2.0)], [fitted(3.0)]]
    chosen = choose(trials, validation, look, 200, stages.append)
    assert [detector.chosen["sign"] for detector in chosen] == [1.0, 3.0]
    assert not trials[1][0].inside and [s.name for s in stages][-1] == "tuning, out of distribution"
    stages.clear()
    choose([trials[1]], validation, look, 200, stages.append)
    assert not stages


def test_every_setting_changes_the_scores(tmp_path: Path) -> None:
    """A setting without effect would be tuned in vain."""
    data = recorded("far")
    images = data.read(range(50)).images
    for entry in plugins.detector.entries():
        if entry.name.startswith("test/") or not entry.sweep or entry.name == "gen-views":
            continue
        network = OdinNetwork() if entry.name == "odin" else None
        x = torch.from_numpy(RECORDED["in/odin_far_img"][:50]) * STD if network else images
        usual = scores(entry.name, x, tmp_path, network)
        other = {"temperature": "2", "top": "3", "dim": "16"}
        for key, candidates in entry.sweep.items():
            value = other.get(key) or next(str(c) for c in candidates if c != getattr(entry.build, key))
            changed = scores(f"{entry.name}:{key}={value}", x, tmp_path, network)
            assert np.abs(changed - usual).max() > 1e-6, f"{entry.name}:{key}"


@pytest.mark.parametrize("name", ["digits/resnet", "digits/vit+diffaug"])
def test_head_of_features_is_the_classifier(name: str) -> None:
    network, _ = find_classifier(name)
    classifier = TiledClassifier(network, Tiles(20))
    images = open_dataset("digits", "test").read(range(30)).images
    features, logits = classifier.respond(images)
    assert features.shape[0] == 30 and features.shape[1] > 10
    assert torch.allclose(logits, classifier(images), atol=1e-5)
    assert (features.min() >= 0) == ("resnet" in name), "a ViT's features are signed"


SPEC = RunSpec(
    suite="openood-digits",
    models=("digits/resnet", "digits/vit+diffaug"),
    methods=("msp", "knn", "react", "de:times=0,100+gen", "de:times=0,100+scale", "de:times=0,100+gen-views"),
    denoiser="digits",
    limit=9,
    tile=10,
)


def run(out: Path, changes: dict[str, Any] | None = None, **options: Any) -> list[RunRecord]:
    job = prepare(replace(SPEC, **(changes or {})), out)
    return [record.load(path) for path in loop.run(job, **options)]


def outcome(records: list[RunRecord]) -> Any:
    return [(r.model.name, r.method, r.samples["sha256"], r.metrics, r.key) for r in records]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    return run(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batch_size_does_not_change_a_bit(tmp_path: Path, undisturbed: list[RunRecord], batch_size: int) -> None:
    changes = {"models": ("digits/vit+diffaug",)}
    expected = [o for o in outcome(undisturbed) if o[0] == "digits/vit+diffaug"]
    assert outcome(run(tmp_path, changes, batch_size=batch_size)) == expected


def test_shards_and_interruptions_do_not_change_a_bit(tmp_path: Path, undisturbed: list[RunRecord]) -> None:
    def stop(tick: Progress) -> None:
        if tick.stage and tick.done > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, report=stop)
    assert run(tmp_path, claims=Shard(1, 2)) == []
    assert outcome(run(tmp_path, claims=Shard(0, 2))) == outcome(undisturbed)


def test_what_is_learnt_is_learnt_once(tmp_path: Path) -> None:
    ticks: list[Progress] = []
    changes = {"models": ("digits/resnet",), "methods": ("knn", "mahalanobis"), "denoiser": None}
    run(tmp_path, changes, report=ticks.append)
    images = [t.done for t in ticks if "training features" in t.stage]
    assert images == sorted(set(images)) and images[-1] == 1197
    ticks.clear()
    run(tmp_path, {**changes, "limit": 4}, report=ticks.append)
    assert ticks and not [t for t in ticks if t.stage]


def test_method_and_detector_combine(undisturbed: list[RunRecord]) -> None:
    """The ensemble's probabilities for gen, the mean score of its views for scale, their disagreement for gen-views."""
    entries = {r.method: r for r in undisturbed if r.model.name == "digits/resnet"}
    network, _ = find_classifier("digits/resnet")
    denoiser, _ = find_denoiser("digits")
    batch = open_dataset("digits-letters", "test").read(range(9))
    views = BatchViews(batch, denoiser, Tiles(20), 0)
    with torch.no_grad():
        features = [network.features(x) for x in views.denoised((0, 100))]
        probabilities = torch.stack([network.head(f).softmax(1) for f in features])
    mean = probabilities.mean(0)

    def entropy(p: Tensor) -> Tensor:
        return (p**0.1 * (1 - p) ** 0.1).sum(-1)

    def energy(f: Tensor) -> Tensor:
        k = f.shape[1] - round(f.shape[1] * 0.85)
        scaled = f * (f.sum(1) / f.sort(1).values[:, -k:].sum(1)).exp()[:, None]
        with torch.no_grad():
            return network.head(scaled).logsumexp(1)

    expected = {
        "de:times=0,100+gen": -entropy(mean),
        "de:times=0,100+scale": torch.stack([energy(f) for f in features]).mean(0),
        "de:times=0,100+gen-views": -(2 * entropy(mean) - entropy(probabilities).mean(0)),
        "msp": probabilities[0].max(1).values,
    }
    for method, values in expected.items():
        rows = entries[method].rows()
        column = rows["score"][rows["condition"] == "near/letters"]
        assert column == pytest.approx(values.numpy(), rel=2e-3 if "gen" in method else 1e-4), method
    assert entries["msp"].denoiser is None and entries["de:times=0,100+scale"].denoiser


def test_records_hold_what_their_metrics_need(undisturbed: list[RunRecord], tmp_path: Path) -> None:
    suite = plugins.suite.configure("openood-digits").plugin
    for entry in undisturbed:
        rows = entry.rows()
        assert ((rows["label"] == -1) == (rows["condition"] != "id")).all()
        again, _ = suite.summarise(rows)
        assert tuple(again) == tuple(entry.metrics)
        inside = rows["score"][rows["condition"] == "id"]
        letters = rows["score"][rows["condition"] == "near/letters"]
        metric = entry.metric("auroc", "near/letters")
        assert metric and metric.value == pytest.approx(ood.auroc(inside, letters))
    (entries,) = boards.boards(undisturbed).values()
    table = leaderboard.ranking(entries)
    assert "auroc near (%)" in table.header and "accuracy id (%)" in table.header
    files = figures.write(entries[:2], tmp_path)
    assert [f.stem.rpartition("-")[2] for f in files[::2]] == ["near", "far", "scores"]
    assert all(f.stat().st_size > 2000 for f in files)
    a, b = (next(r for r in undisturbed if r.model.name == m and r.method == "msp") for m in SPEC.models)
    table = suite.compare(a, b)
    assert [row[0] for row in table.rows][-1] == "far" and "DeLong" in table.caption
    difference = float(table.rows[-1][1].split()[0])
    one, two = a.metric("auroc", "far"), b.metric("auroc", "far")
    assert one and two and difference == pytest.approx(100 * (two.value - one.value), abs=0.006)


FULL_SPECTRUM = "openood-digits:full_spectrum=true"


@pytest.fixture(scope="module")
def full_spectrum(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """The record of the suite that counts shifted digits as digits."""
    changes = {"suite": FULL_SPECTRUM, "models": ("digits/resnet",), "methods": ("msp",), "denoiser": None}
    (entry,) = run(tmp_path_factory.mktemp("full-spectrum"), changes)
    return entry


def test_full_spectrum_counts_shifted_digits_as_digits(full_spectrum: RunRecord) -> None:
    entry = full_spectrum
    rows = entry.rows()
    shifted = np.char.startswith(rows["condition"].astype(str), "csid/")
    assert shifted.sum() == 4 * 9 and (rows["label"][shifted] >= 0).all()
    inside = rows["score"][shifted | (rows["condition"] == "id")]
    metric = entry.metric("auroc", "far/patches")
    assert metric
    assert metric.value == pytest.approx(ood.auroc(inside, rows["score"][rows["condition"] == "far/patches"]))


def test_records_with_other_images_in_distribution_are_not_paired(
    undisturbed: list[RunRecord], full_spectrum: RunRecord
) -> None:
    plain = next(r for r in undisturbed if r.method == "msp")
    with pytest.raises(HarnessError, match="in distribution"):
        plugins.suite.configure(FULL_SPECTRUM).plugin.compare(plain, full_spectrum)


def test_a_method_with_groups_takes_a_detector(tmp_path: Path) -> None:
    """Four consecutive images share one norm there: tiles and batches stay multiples of four."""
    changes = {"models": ("digits/resnet",), "methods": ("dda:steps=20,start=2,norm=batch4+msp",), "tile": 10}
    assert outcome(run(tmp_path / "a", changes)) == outcome(run(tmp_path / "b", changes, batch_size=5))


def test_a_detector_that_looks_at_batch_mates_is_refused() -> None:
    classifier = TiledClassifier(Given(), Tiles(10))
    images = recorded("val").read(range(4)).images
    with pytest.raises(HarnessError, match="beside other images"):
        check_independent(lambda seen: seen.logits.amax(1) - seen.logits.mean(), False, classifier, images)
    with pytest.raises(HarnessError, match="second time"):
        check_independent(lambda seen: torch.rand(len(seen.logits)), False, classifier, images)
    check_independent(lambda seen: seen.logits.amax(1), False, classifier, images)


def test_halves_that_do_not_make_the_model_are_refused() -> None:
    class Auxiliary(Given):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).flip(1)

    class Other(Given):
        def features(self, images: Tensor) -> Tensor:
            raise RuntimeError("these are feature maps")

        def forward(self, images: Tensor) -> Tensor:
            return self.head(images.flatten(1)).tanh()

    images = recorded("val").read(range(4)).images
    with pytest.raises(HarnessError, match="other logits"):
        TiledClassifier(Auxiliary(), Tiles(10)).respond(images)
    assert TiledClassifier(Other(), Tiles(10)).respond(images)[0].shape == (4, 0)


@pytest.mark.parametrize("method, suffix", [("knn", "npy"), ("vim", "safetensors")])
def test_damaged_features_are_named_and_made_anew(method: str, suffix: str, tmp_path: Path) -> None:
    changes = {"models": ("digits/resnet",), "methods": (method,), "denoiser": None}
    (undisturbed,) = run(tmp_path, changes)
    file = next(tmp_path.rglob(f"*.{suffix}"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 64
    file.write_bytes(data)
    assert undisturbed.path
    undisturbed.path.unlink()
    with pytest.warns(Notice, match=f"{file.name} is damaged"):
        (again,) = run(tmp_path, changes)
    assert again.samples["sha256"] == undisturbed.samples["sha256"]


def test_disagreement_needs_several_views(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--tta de"):
        run(tmp_path, {"methods": ("gen-views",), "denoiser": None})


def test_a_network_without_features_is_told_what_it_lacks(tmp_path: Path) -> None:
    @plugins.model("test/flat", dataset="digits")
    def flat() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10), nn.Tanh())

    changes = {"models": ("test/flat",), "denoiser": None}
    for method in ("scale", "knn", "gradnorm"):
        with pytest.raises(Unsuited, match=f"{method} on test/flat: .* features.* none gives .* --detector msp"):
            run(tmp_path, {**changes, "methods": (method,)})
    with pytest.warns(Notice) as notices:
        records = run(tmp_path, {**changes, "methods": ("scale", "msp", "odin", "knn")})
    assert [entry.method for entry in records] == ["msp", "odin"]
    assert sum("left out. Detector" in str(notice.message) for notice in notices) == 2


def test_a_detector_that_fails_on_one_model_is_left_out_there_alone(tmp_path: Path) -> None:
    @plugins.model("test/headless", dataset="digits")
    def headless() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10), nn.Tanh())

    @plugins.model("test/headed", dataset="digits")
    def headed() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    changes = {"models": ("test/headless", "test/headed"), "methods": ("scale:percentile=50", "msp"), "denoiser": None}
    job = prepare(replace(SPEC, **changes), tmp_path)
    with pytest.warns(Notice, match="left out. Detector scale:percentile=50 on test/headless"):
        records = [record.load(path) for path in loop.run(job)]
    assert {(r.model.name, r.method.partition(":")[0]) for r in records} == {
        ("test/headless", "msp"), ("test/headed", "scale"), ("test/headed", "msp"),
    }  # fmt: skip
    assert list(job.unsuited) == [0] and "none gives the model's outputs" in job.unsuited[0]
    note = "Features, where a detector looks at them: the input of 1."
    assert [note in r.notes for r in records] == [r.model.name == "test/headed" for r in records]
    # The same command takes what is there, and says again what it leaves out.
    job = prepare(replace(SPEC, **changes), tmp_path)
    with pytest.warns(Notice, match="left out"):
        assert len(loop.run(job)) == 3
    # A process that computed no part, and only finishes the record, gives it the same note.
    assert [list(recording._features(job, pair)) for pair in job.pairs[1:]] == [[], [note], [note]]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), torch.OutOfMemoryError()])
def test_a_full_disk_or_memory_says_nothing_on_a_detector(error: Exception) -> None:
    classifier = TiledClassifier(Given(), Tiles(100))
    pair = Pair("given", "default+msp", classifier, None, Weights("given", "0" * 64, ""))
    with pytest.raises(HarnessError, match=r"on given failed in .*test_ood_suites") as raised, naming_detector(pair):
        raise error
    assert not isinstance(raised.value, Unsuited)
    with pytest.raises(Unsuited), naming_detector(pair):
        raise IndexError


def test_a_mistake_in_settings_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="leaves none"):
        run(tmp_path, {"models": ("digits/resnet",), "methods": ("msp", "scale:percentile=99.9"), "denoiser": None})


def test_gradnorm_is_the_gradient_of_the_last_layer(tmp_path: Path) -> None:
    """Image by image, as OpenOOD computes it; its loss is the sum over the classes, where the paper has the mean."""
    network, images = Given(), recorded("far").read(range(9)).images
    expected = []
    for image in images:
        network.zero_grad()
        loss = -network(image[None]).log_softmax(1).sum() / 10
        loss.backward()
        expected.append(float(network.last.weight.grad.abs().sum()))
    assert scores("gradnorm", images, tmp_path, network) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["odin", "gradnorm"])
def test_scores_from_gradients_are_the_same_one_by_one(name: str, tmp_path: Path) -> None:
    images = torch.from_numpy(RECORDED["in/odin_far_img"][:12]) * STD
    features = bank(tmp_path, OdinNetwork(), validation_images=Pixels())
    detector = plugins.detector.configure(name).plugin
    detect = detector.fit(features) if hasattr(detector, "fit") else detector
    sizes: list[int] = []

    def counted(seen: Any) -> Tensor:
        sizes.append(len(seen.images))
        return detect(seen)

    probabilities = features.classifier(images).softmax(1)
    together = score(counted, False, features.classifier, probabilities, [images])
    alone = [score(detect, False, features.classifier, probabilities[:1], [images[k : k + 1]]) for k in range(12)]
    assert torch.equal(together, torch.cat(alone)) and sizes == [100], "one call for a whole tile"


class Pixels:
    """The first image of odin's recording, as a data set to fit on."""

    name, sha256, num_classes, labels = "pixels", "0", 10, torch.zeros(1)

    def read(self, indices: Any) -> Batch:
        return Batch(("0",), torch.from_numpy(RECORDED["in/odin_far_img"][:1]) * STD, self.labels)


def test_a_detector_sees_gradients_and_layers_in_the_tile(tmp_path: Path) -> None:
    classifier = TiledClassifier(OdinNetwork(), Tiles(5))
    images = torch.from_numpy(RECORDED["in/odin_far_img"][:7]) * STD

    def detect(seen: Any) -> Tensor:
        values, gradient = seen.gradient(lambda logits: logits.logsumexp(1))
        (last,) = seen.layers("last")
        assert gradient.shape == seen.images.shape and torch.allclose(last, seen.logits, atol=1e-5)
        return values + gradient.abs().sum((1, 2, 3))

    values = score(detect, False, classifier, torch.zeros(7, 10), [images])
    one = images[3:4].clone().requires_grad_()
    energy = classifier.network(one).logsumexp(1)
    (gradient,) = torch.autograd.grad(energy.sum(), one)
    assert float(values[3]) == pytest.approx(float((energy + gradient.abs().sum()).detach()), rel=1e-4)
    for wrong, message in {
        lambda seen: seen.layers("lost")[0]: "Unknown layer 'lost' of the model. Did you mean last",
        lambda seen: seen.gradient(lambda logits: logits.detach().amax(1))[0]: "its gradient cannot be computed",
    }.items():
        with pytest.raises(Unsuited, match=message):
            score(wrong, False, classifier, torch.zeros(7, 10), [images])


def test_a_detector_learns_from_layers_of_the_training_images(tmp_path: Path) -> None:
    features = bank(tmp_path)
    outputs = torch.cat([last for (last,) in features.train_layers("last")])
    expected = torch.cat([features.head(chunk) for chunk in features.train_features.chunks()])
    assert torch.allclose(outputs, expected, atol=1e-4)


def test_a_faulty_detector_is_named_before_anything_is_written(tmp_path: Path) -> None:
    faults: dict[str, tuple[Any, str]] = {
        "wide": (lambda self, seen: seen.features, r"digits/resnet: it returned shape \(10, 192\) for 10 .* \(10,\)"),
        "number": (lambda self, seen: 1.0, "digits/resnet: it returned a float"),
        "typo": (
            lambda self, seen: seen.featurs,
            r"digits/resnet failed in .*ood_suites\.py, line \d+: Attribute",
        ),
        "nan": (lambda self, seen: seen.logits.amax(1) * torch.nan, r"digits/resnet gave NaN .* fix the detector"),
        "mates": (lambda self, seen: seen.logits[:, 0] - seen.logits.mean(), "digits/resnet: it scores .* differently"),
    }
    for name, (call, message) in faults.items():
        plugins.detector(f"test/{name}")(type(name, (), {"__call__": call, "__module__": __name__}))
        with pytest.raises(HarnessError, match=f"Detector test/{name} on {message}"):
            run(tmp_path, {"models": ("digits/resnet",), "methods": (f"test/{name}",), "denoiser": None})
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    "text",
    [
        "knn:k=0", "vim:dim=0", "react:percentile=0", "scale:percentile=nan", "ash-b:percentile=100", "gen:top=0",
        "gen-views:weight=nan", "energy:temperature=inf", "odin:temperature=inf", "odin:noise=inf",
    ],
)  # fmt: skip
def test_settings_are_checked_when_they_are_given(text: str) -> None:
    with pytest.raises(HarnessError, match=text.partition("=")[0].rpartition(":")[2]):
        plugins.detector.configure(text)


def test_too_many_neighbours_are_refused_before_features_are_computed(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"k=1198 .* 1197 training images"):
        run(tmp_path, {"models": ("digits/resnet",), "methods": ("knn:k=1198",), "denoiser": None})
    assert not list(tmp_path.rglob("*.npy"))


def test_a_comparison_says_which_images_both_cover(undisturbed: list[RunRecord], tmp_path: Path) -> None:
    a = next(r for r in undisturbed if r.method == "msp")
    (b,) = run(tmp_path, {"models": (a.model.name,), "methods": ("msp",), "denoiser": None, "limit": 3, "every": 3})
    suite = plugins.suite.configure("openood-digits").plugin
    caption = suite.compare(a, b).caption
    assert "A covers 54 of 2326 images (the first ones), B 18 of 2326 images (every 3rd)" in caption
    assert "covers" not in suite.compare(a, a).caption


def test_features_that_are_no_numbers_stop_the_run(tmp_path: Path) -> None:
    @plugins.model("test/nan", dataset="digits")
    def nan() -> nn.Module:
        class Broken(nn.Module):
            def features(self, images: Tensor) -> Tensor:
                return images.mean((2, 3)).where(images[:, :1, 0, 0] > 2, torch.nan)

            def head(self, features: Tensor) -> Tensor:
                return features.nan_to_num(0.0) @ torch.ones(3, 10)

            def forward(self, images: Tensor) -> Tensor:
                return self.head(self.features(images))

        return Broken()

    for method in ("react", "knn", "mahalanobis", "scale:percentile=50"):
        with pytest.raises(HarnessError, match="NaN"):
            run(tmp_path / method, {"models": ("test/nan",), "methods": (method,), "denoiser": None})


LISTS = {
    "train_cifar10": ("cifar10/train/{c}/{i}.png", 20), "val_cifar10": ("cifar10/test/{c}/v{i}.png", 10),
    "test_cifar10": ("cifar10/test/{c}/{i}.png", 20), "val_tin": ("tin/val/v{i}.png", 8),
    "test_cifar100": ("cifar100/test/apple/{i}.png", 8), "test_tin": ("tin/val/{i}.png", 8),
    "test_mnist": ("mnist/test/{i}.png", 8), "test_svhn": ("svhn/test/{i}.png", 8),
    "test_texture": ("texture/banded/{i}.png", 8), "test_places365": ("places365/field/{i}.png", 1),
    "test_cifar10c": ("cifar10c/fog/{i}.png", 8),
}  # fmt: skip


@pytest.fixture
def openood(tmp_path: Path) -> Path:
    """OpenOOD's layout in small: lists and images."""
    rng = np.random.default_rng(0)
    root = tmp_path / "openood"
    (root / "benchmark_imglist" / "cifar10").mkdir(parents=True)
    for stem, (pattern, count) in LISTS.items():
        lines = []
        for i in range(count):
            path = pattern.format(c=f"class{i % 10}", i=i)
            file = root / "images_classic" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (36, 40, 3), dtype=np.uint8)).save(file)
            lines.append(f"{path} {i % 10 if 'cifar10/' in path or 'cifar10c' in path else -1}")
        (root / "benchmark_imglist" / "cifar10" / f"{stem}.txt").write_text("\n".join(lines) + "\n")
    return root


def from_lists(root: Path, out: Path, settings: str = "", methods: tuple[str, ...] = ("msp", "knn:k=3")) -> Any:
    if "test/small" not in plugins.model:

        @plugins.model("test/small", dataset="cifar10")
        def small() -> nn.Module:
            torch.manual_seed(0)
            network = Given()
            network.features = lambda x: nn.functional.avg_pool2d(x, 4)[:, 0].flatten(1)  # type: ignore[method-assign]
            return network

    suite = f"openood-cifar10:data={root}{settings}"
    return run(out, {"suite": suite, "models": ("test/small",), "methods": methods, "denoiser": None, "limit": 0})


def test_openoods_lists(openood: Path, tmp_path: Path) -> None:
    records = from_lists(openood, tmp_path / "out")
    for entry in records:
        rows = entry.rows()
        assert (rows["label"] >= 0).sum() == 20 and len(rows["label"]) == 20 + 41
        assert entry.metric("auroc", "far/svhn") and entry.metric("auroc", "near/tin")
        one = entry.metric("auroc", "far/places365")
        assert one and one.interval == (0.0, 1.0), "one image says nothing about others"
        assert len(entry.facts["lists"]) == 12
    moved = openood.rename(tmp_path / "elsewhere")
    again = from_lists(moved, tmp_path / "new")
    assert outcome(again) == outcome(records), "where the data lie decides nothing"
    assert again[0].board == records[0].board and "data=" not in names.title(again[0])
    moved.rename(openood)
    full = from_lists(openood, tmp_path / "out", ",full_spectrum=true", ("msp",))[0]
    assert (full.rows()["label"] >= 0).sum() == 28
    # Another list is another leaderboard; one that names an image twice counts it twice.
    file = openood / "benchmark_imglist" / "cifar10" / "test_svhn.txt"
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")
    other = from_lists(openood, tmp_path / "out", methods=("msp",))[0]
    twice = [i for i in other.rows()["id"] if i.startswith("svhn/test/0.png")]
    assert twice == ["svhn/test/0.png", "svhn/test/0.png#2"]
    assert other.facts != records[0].facts and other.board != records[0].board


def test_an_image_is_cropped_as_torchvision_does(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png 3\n")
    data = ImageList("cifar10", tmp_path / "list.txt", tmp_path, 10, Geometry(40, 32, "bilinear"))
    image = Image.fromarray(pixels).resize((int(40 * 71 / 50), 40), Image.Resampling.BILINEAR)
    left, top = round((image.size[0] - 32) / 2), 4
    expected = np.asarray(image.crop((left, top, left + 32, top + 32)))
    assert (data.read([0]).images[0].permute(1, 2, 0).numpy() * 255).round() == pytest.approx(expected)
    assert data.read([0]).labels.tolist() == [3]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: [(r / f"test_{n}.txt").unlink() for n in ("tin", "svhn")], r"lacks test_tin\.txt, test_svhn.*https"),
        (lambda r: (r / "test_svhn.txt").write_text(""), "empty"),
        (lambda r: (r / "test_svhn.txt").write_text("svhn/test/0.png x\n"), "path label"),
        (lambda r: (r / "test_svhn.txt").write_text("cifar10/test/class1/1.png -1\n"), "meant to lie outside"),
        (lambda r: (r / "test_svhn.txt").write_text("new/class1/1.png -1\n"), "meant to lie outside"),
        (lambda r: (r / "test_cifar10.txt").write_text("a.png 10\n"), "must be one of 0 to 9"),
        (lambda r: (r / "test_svhn.txt").write_text("svhn/none.png -1\n"), "not a readable image"),
    ],
)
def test_mistakes_in_the_lists(openood: Path, tmp_path: Path, damage: Any, message: str) -> None:
    damage(openood / "benchmark_imglist" / "cifar10")
    with pytest.raises(HarnessError, match=message):
        from_lists(openood, tmp_path / "out")


def test_a_missing_folder_is_asked_for() -> None:
    for name in ("openood-cifar10", "openood-imagenet"):
        with pytest.raises(HarnessError, match="--data"):
            plugins.suite.configure(name)


def test_pytorch_oods_detectors(tmp_path: Path) -> None:
    """Theirs and ours agree where both have the same detector; the sign is turned."""
    images = recorded("far").read(range(60)).images
    for theirs, ours in {"MaxSoftmax": "msp", "EnergyBased": "energy", "KNN": "knn", "ViM": "vim:dim=32"}.items():
        a, b = (scores(name, images, tmp_path) for name in (f"pytorch-ood/{theirs}", ours))
        # KNN is a distance there, its square here.
        assert np.argsort(a)[::6].tolist() == np.argsort(b)[::6].tolist(), theirs
    (entry,) = run(tmp_path, {"models": ("digits/resnet",), "methods": ("pytorch-ood/EnergyBased",), "denoiser": None})
    assert (
        entry.method == plugins.AXES["detector"].configure("pytorch-ood/EnergyBased").text == "pytorch-ood/EnergyBased"
    )
    for wrong, right in {"MaxSoftmaxx": "MaxSoftmax", "Knnn": "KNN"}.items():
        with pytest.raises(HarnessError, match=f"Did you mean {right}"):
            plugins.detector.configure(f"pytorch-ood/{wrong}")
    with pytest.raises(HarnessError, match="needs 'feature_layers'"):
        scores("pytorch-ood/Gram", images, tmp_path)


def test_openoods_post_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with OpenOOD's interface: setup on loaders of dictionaries, everything sent to a GPU by name."""

    class Distance:
        def setup(self, net: Any, id_loaders: Any, ood_loaders: Any) -> None:
            with torch.no_grad():
                features = [net(batch["data"].cuda(), return_feature=True)[1] for batch in id_loaders["train"]]
            self.mean = torch.cat(features).mean(0).cuda()
            assert sum(len(batch["label"]) for batch in id_loaders["val"]) == 500

        def postprocess(self, net: Any, data: Tensor) -> tuple[Tensor, Tensor]:
            data.requires_grad = True
            logits, features = net(data, return_feature=True)
            weight, bias = net.get_fc()
            assert np.allclose(features.detach().numpy() @ weight.T + bias, logits.detach().numpy(), atol=1e-3)
            return logits.argmax(1), -(features - self.mean).norm(dim=1)

    class Api:
        postprocessors: ClassVar[dict[str, Any]] = {"distance": Distance, "offline": None}

        @staticmethod
        def get_postprocessor(root: str, name: str, data: str) -> Any:
            assert data == "cifar10", "the data set of OpenOOD's with as many classes"
            if name == "offline":
                raise OSError("no network")
            return Distance()

    images = recorded("far").read(range(30)).images
    with pytest.raises(HarnessError, match="pip install git"):
        scores("openood/distance", images, tmp_path)
    monkeypatch.setattr("harness.registry.detectors.openood._api", lambda: (Api, {"cifar10": 10, "imagenet": 1000}))
    mean = torch.from_numpy(RECORDED["in/train_feat"]).mean(0)
    values = scores("openood/distance", images, tmp_path)
    assert values == pytest.approx(-(images.flatten(1) - mean).norm(dim=1).numpy(), rel=1e-4)
    with pytest.raises(HarnessError, match=r"offline\.yml"):
        scores("openood/offline", images, tmp_path)
    with pytest.raises(HarnessError, match="Did you mean distance"):
        scores("openood/distanc", images, tmp_path)


def test_entropy_against_time(tmp_path: Path) -> None:
    changes = {"suite": "entropy-vs-t:times=0,900", "methods": ("default",), "models": ("digits/resnet",)}
    (entry,) = run(tmp_path, changes)
    network, _ = find_classifier("digits/resnet")
    denoiser, _ = find_denoiser("digits")
    batch = open_dataset("digits", "test").read(range(9))
    clean, noisy = BatchViews(batch, denoiser, Tiles(20), 0).denoised((0, 900))
    for time, images in ((0, clean), (900, noisy)):
        with torch.no_grad():
            log = network(images).log_softmax(1)
        expected = -(log.exp() * log).sum(1)
        rows = entry.rows()
        assert rows["entropy"][rows["condition"] == f"t={time}"] == pytest.approx(expected.numpy(), abs=1e-4)
        metric = entry.metric("mean_entropy", f"t={time}")
        assert metric and metric.value == pytest.approx(float(expected.mean()), abs=1e-4) and metric.unit == "nats"
    assert entry.denoiser and entry.cost.denoiser_calls == 9
    with pytest.raises(HarnessError, match="--tta"):
        run(tmp_path, {**changes, "methods": ("de",)})


def test_mistakes_on_the_command_line(tmp_path: Path) -> None:
    for text, message in {
        "scal": "Did you mean scale",
        "scale:percentile=100": "percentile=100",
        "msp:percentile=tune": "percentile",
        "knn:k=0": "k=0",
        "odin:temperature=0": "temperature",
        "d+scale": "test-time method 'd'",
        "openoo/dice": "Available",
        "vim:dim=0": "dim=0",
        "gen:gamma=inf": "gamma=inf",
        "scale:percentile=99.9": "leaves none",
    }.items():
        with pytest.raises(HarnessError, match=message):
            run(tmp_path, {"methods": (text,), "denoiser": None})


def test_names_of_methods_and_detectors_combine() -> None:
    axis = plugins.AXES["detector"]
    texts = {"test-time method": ["de", "default"], "detector": ["knn", "dda+scale:percentile=90"]}
    assert [configured.text for configured in axis.select(texts, [])] == ["dda+scale:percentile=90", "de+knn", "knn"]
    assert axis.configure("dda:scale=1e+1+odin:temperature=1e+3").text == "dda:scale=10+odin"
    assert axis.configure("odin:temperature=1e16").text == "odin:temperature=1e+16"
    again = axis.configure("odin:temperature=1e+16").plugin.inner
    assert again.temperature == 1e16


def test_compare_finds_records_by_plain_names(undisturbed: list[RunRecord]) -> None:
    for text in ("digits/resnet:de+gen", "digits/resnet:de:times=0,100+gen"):
        (entry,) = selection.resolve(text, undisturbed)
        assert entry.method == "de:times=0,100+gen"
    with pytest.raises(HarnessError, match="Unknown record"):
        selection.resolve("digits/resnet:de", undisturbed)
