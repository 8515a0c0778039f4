"""The suite gradient-alignment: exact classifiers have cosine 1, controls do not, and no bit depends on the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import harness, outcome
from torch import Tensor, nn

from harness import plugins
from harness.base.errors import Notice
from harness.data import Subset, open_dataset
from harness.diffusion.analysis.gaussian_classes import GaussianClasses
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import cosine, linear
from harness.evaluation import loop
from harness.evaluation.launch.claims import Shard
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.metrics.intervals import Undefined
from harness.models.published.locate import WeightFiles
from harness.suites.bases.gradients import targets
from harness.suites.bases.gradients.measures import PRIMARY, mean_of
from harness.suites.bases.gradients.randomised import randomised
from harness.types import HarnessError, RunSpec, Weights

TARGET = "target=denoiser:test-conditional"
SPEC = RunSpec(
    suite=f"gradient-alignment:times=300,600,{TARGET},judge=test-judge",
    models=("test-plain", "test-noisy"),
    methods=("default",),
    denoiser="test-conditional",
    limit=5,
    tile=2,
    gradient_tile=2,
)


class ByClass(nn.Module):
    """A small class-conditional noise prediction of ten digits and of none."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 5, padding=2)
        self.class_embedding = nn.Embedding(classes + 1, 3)

    def forward(self, x: Tensor, t: Tensor, return_dict: bool, class_labels: Tensor) -> tuple[Tensor]:
        return ((self.convolution(x) + self.class_embedding(class_labels)[:, :, None, None]).tanh(),)


class Plain(nn.Module):
    """A small classifier of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 10))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class Noisy(Plain):
    """The same as a classifier of diffused images."""

    denoised = False

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        return self(x_t)


class Posterior(nn.Module):
    """The exact posterior of the Gaussian classes at every time, in float64 inside."""

    denoised = False

    def __init__(self) -> None:
        super().__init__()
        training = open_dataset("digits", "train")
        batch = training.read(range(len(training.ids)))
        classes = GaussianClasses.fit((2 * batch.images - 1).double(), batch.labels, 10)
        self.means, self.axes = torch.from_numpy(classes.means), torch.from_numpy(classes.axes)
        self.spread, self.prior = torch.from_numpy(classes.spread), torch.from_numpy(classes.log_prior)
        self.floor = classes.floor
        self.alpha_bar = torch.from_numpy(linear().alpha_bar)

    def forward(self, images: Tensor) -> Tensor:
        return self.noisy(2 * images - 1, None, torch.zeros(len(images), dtype=torch.int64))

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        abar = self.alpha_bar[t][:, None, None]
        offset = x_t.double().flatten(1)[:, None] - abar.sqrt() * self.means
        flat = abar * self.floor + 1 - abar
        along = offset @ self.axes
        distance = (offset**2 / flat).sum(2) + (along**2 * (1 / (flat + abar * self.spread) - 1 / flat)).sum(2)
        return (self.prior - distance / 2).float()


def shuffled() -> tuple[Denoiser, Weights]:
    """The network of test-conditional with its classes in another order, and their names."""
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    network = seeded(ByClass, 5)
    table = network.class_embedding.weight.data
    table[:10] = table[order]
    weights = Weights("shuffled", "1" * 64, "a test", {"classes": [str(k) for k in order]})
    return Denoiser(network, linear(), 10), weights


def seeded(build: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    return build()


@pytest.fixture(scope="module", autouse=True)
def small_plugins() -> Iterator[None]:
    for number, (name, build) in enumerate([("plain", Plain), ("noisy", Noisy), ("judge", Plain)]):
        plugins.model(f"test-{name}", dataset="digits")(lambda b=build, n=number: seeded(b, n))
    plugins.model("test-random", dataset="digits")(lambda: randomised(seeded(Plain, 0), 0))
    plugins.model("test-posterior", dataset="digits")(Posterior)
    plugins.model("test-three")(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)))
    for name, classes, schedule in [("conditional", 10, linear()), ("few", 7, linear()), ("other", 10, cosine())]:
        built = (
            Denoiser(seeded(lambda c=classes: ByClass(c), 5), schedule, classes),
            Weights(name, f"{classes:064d}", "a test"),
        )
        plugins.denoiser(f"test-{name}")(lambda b=built: b)
    plugins.denoiser("test-shuffled")(shuffled)
    unconditional = Denoiser(nn.Identity(), linear()), Weights("unconditional", "0" * 64, "a test")
    plugins.denoiser("test-unconditional")(lambda: unconditional)
    yield


def run(out: Path, changes: dict[str, Any] | None = None, **options: Any) -> list[RunRecord]:
    job = prepare(replace(SPEC, **(changes or {})), out)
    return [record.load(path) for path in loop.run(job, **options)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alignment")


@pytest.fixture(scope="module")
def small(folder: Path) -> list[RunRecord]:
    return run(folder)


def test_batches_shards_and_company_change_nothing(tmp_path: Path, small: list[RunRecord]) -> None:
    assert outcome(run(tmp_path / "one", batch_size=1)) == outcome(small)
    assert outcome(run(tmp_path / "alone", {"models": ("test-plain",)})) == outcome(small[:1])
    assert run(tmp_path / "shards", claims=Shard(1, 2)) == []
    assert outcome(run(tmp_path / "shards", batch_size=3, claims=Shard(0, 2))) == outcome(small)


def test_the_rows_of_gradients_depend_on_their_tile(tmp_path: Path, small: list[RunRecord]) -> None:
    (other,) = run(tmp_path, {"models": ("test-plain",), "gradient_tile": 3})
    assert other.key != small[0].key and other.spec.gradient_tile == 3


def test_the_exact_posterior_has_cosine_one(tmp_path: Path) -> None:
    suite = "gradient-alignment:times=300,600,kinds=raw,judge=test-judge"
    (entry,) = run(tmp_path, {"suite": suite, "models": ("test-posterior",), "limit": 4})
    rows = entry.rows()
    assert rows["cosine_score"] == pytest.approx(np.ones(8), abs=1e-6)
    assert rows["cosine_wrong"].max() < 0.5, "another class, another direction"
    assert rows["cosine_mean"].max() < 0.9


def test_the_control_is_the_row_of_the_same_architecture_with_random_weights(
    tmp_path: Path, small: list[RunRecord]
) -> None:
    (control,) = run(tmp_path, {"models": ("test-random",)})
    rows = small[0].rows()
    for name in PRIMARY:
        assert np.array_equal(rows[f"{name}_random"], control.rows()[name])
        assert not np.array_equal(rows[f"{name}_random"], rows[name])
    cosines = rows["cosine_score_random"][rows["condition"] == "raw/t=600"]
    assert 0 < np.abs(cosines).mean() < 0.15


def test_a_target_s_classes_are_matched_by_name(tmp_path: Path, small: list[RunRecord]) -> None:
    suite = SPEC.suite.replace(TARGET, "target=denoiser:test-shuffled")
    (entry,) = run(tmp_path, {"suite": suite, "models": ("test-plain",)})
    assert np.array_equal(entry.rows()["cosine_score"], small[0].rows()["cosine_score"])


def test_the_training_images_enter_the_key() -> None:
    suite = plugins.suite.configure(SPEC.suite).plugin
    assert suite.facts()["training"] == open_dataset("digits", "train").sha256


def test_means_without_vanishing_gradients() -> None:
    rows = {"cosine_score": np.array([0.1, 0.9, 0.3, 0.8]), "norm": np.array([1e-2, 1e-4, 1e-3, 1e-2])}
    metric = mean_of(rows, np.array([True, True, True, False]), "cosine_score_nonvanishing", "total/t=300")
    assert (metric.value, metric.n) == (pytest.approx(0.2), 2)
    with pytest.raises(Undefined, match="at least two images, and here are 1"):
        mean_of(rows, np.array([True, True, False, False]), "cosine_score_nonvanishing", "total/t=300")


def test_a_classifier_without_a_denoised_image_has_no_partial_gradient(small: list[RunRecord]) -> None:
    plain, noisy = small
    assert plain.metric("cosine_score", "partial/t=300") and noisy.metric("cosine_score", "partial/t=300") is None
    assert any("No partial gradient: this classifier takes no denoised image" in note for note in noisy.notes)
    raw, total = (noisy.metric("cosine_score", f"{kind}/t=300") for kind in ("raw", "total"))
    assert raw and total and raw.value == total.value
    suite = plugins.suite.configure(noisy.suite).plugin
    with pytest.raises(Undefined):
        suite.contributions(noisy.rows(), "cosine_score", "partial/t=300")


def test_contributions_add_up_to_the_metrics(small: list[RunRecord]) -> None:
    suite, rows = plugins.suite.configure(SPEC.suite).plugin, small[0].rows()
    assert small[0].columns == (("cosine_score", "total/t=300"), ("cosine_mean", "total/t=300"))
    for metric in small[0].metrics:
        (sample,) = suite.contributions(rows, metric.name, metric.condition)
        assert sample.values.mean() == pytest.approx(metric.value, abs=1e-12)


def test_records_are_compared_and_drawn(small: list[RunRecord]) -> None:
    suite = plugins.suite.configure(SPEC.suite).plugin
    table = suite.compare(*small)
    (row,) = [row for row in table.data if (row["condition"], row["measure"]) == ("total/t=300", "cosine_score")]
    both = [entry.rows() for entry in small]
    cells = both[0]["condition"] == "total/t=300"
    assert row["difference"] == pytest.approx((both[1]["cosine_score"] - both[0]["cosine_score"])[cells].mean())
    assert row["low"] < row["difference"] < row["high"] and row["n"] == 5
    assert not [row for row in table.data if row["condition"].startswith("partial")], "only one of them has it"
    drawn = suite.figure(small)
    assert list(drawn) == ["score", "mean"] and len(drawn["score"].axes) >= 3
    with pytest.raises(HarnessError, match=r"cannot be paired|different targets"):
        suite.compare(small[0], replace(small[1], suite=f"{small[1].suite},step=2"))


@pytest.mark.usefixtures("small")
def test_records_are_verified(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = harness(monkeypatch, capsys, "results", "verify", str(folder))
    assert code == 0, text


def test_weights_named_by_file_serve_judge_and_target(tmp_path: Path) -> None:
    """Both are found under --weights NAME=FILE, and their hashes are facts."""

    @plugins.model("filed-judge")
    def judge(weight_files: WeightFiles) -> tuple[nn.Module, Weights]:
        return Plain(), Weights("filed-judge", "a" * 64, weight_files.by_name["filed-judge"].name)

    @plugins.denoiser("filed-target")
    def target(weight_files: WeightFiles) -> tuple[Denoiser, Weights]:
        found = plugins.denoiser["test-conditional"].build()
        return found[0], Weights("filed-target", "b" * 64, weight_files.by_name["filed-target"].name)

    files = WeightFiles(dict.fromkeys(("filed-judge", "filed-target"), tmp_path / "any"))
    (tmp_path / "any").touch()
    suite = SPEC.suite.replace("test-judge", "filed-judge").replace(TARGET, "target=denoiser:filed-target")
    facts = prepare(replace(SPEC, suite=suite), tmp_path / "out", weight_files=files).suite.facts()
    assert (facts["judge"], facts["target"]) == ("a" * 64, "b" * 64)


def test_the_judge_does_not_judge_itself(tmp_path: Path) -> None:
    with pytest.warns(Notice, match="test-judge would judge its own gradients"):
        (entry,) = run(tmp_path, {"models": ("test-judge", "test-plain"), "limit": 2})
    assert entry.model.name == "test-plain"
    with pytest.raises(HarnessError, match=r"Name another judge: --suite gradient-alignment:judge=NAME"):
        run(tmp_path / "alone", {"models": ("test-judge",)})


def test_a_judge_of_other_classes_is_refused(tmp_path: Path) -> None:
    for judge, message in [("test-three", "has 3 classes, and the data have 10"), ("cifar10/resnet", "airplane")]:
        suite = f"gradient-alignment:judge={judge},{TARGET}"
        with pytest.raises(HarnessError, match=message):
            run(tmp_path, {"suite": suite, "models": ("test-plain",), "limit": 2})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("times=300,300", "must be distinct"),
        ("times=1000", "1000 lies outside this denoiser's schedule"),
        ("kinds=raw,full", "must be some of raw, partial, total"),
        ("step=0", "must be a positive number"),
        ("target=mixture", "must be gaussian or denoiser:NAME"),
        ("target=denoiser:test-unconditional", "must predict with a class and without"),
        ("target=denoiser:test-few", "takes one of 7 classes, and 'digits' has 10"),
        ("target=denoiser:test-other", "another noise schedule"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_the_run(settings: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=message):
        prepare(replace(SPEC, suite=f"gradient-alignment:judge=test-judge,{settings}"), tmp_path)


def test_means_of_classes_are_made_of_pieces_and_need_an_image_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    training = open_dataset("digits", "train")
    monkeypatch.setattr(targets, "PIECE", 77)
    batch = training.read(range(len(training.ids)))
    means = [(2 * batch.images[batch.labels == k].double() - 1).mean(0) for k in range(10)]
    assert np.allclose(targets.class_means(training), np.stack(means), rtol=0, atol=1e-12)
    without: Any = Subset(training, tuple(np.flatnonzero(batch.labels.numpy() != 3).tolist()))
    with pytest.raises(HarnessError, match="has no training image of class 3"):
        targets.class_means(without)


def test_methods_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="differentiates the classifier itself; leave out --tta"):
        prepare(replace(SPEC, methods=("denoised",)), tmp_path)


def test_random_weights_are_those_of_the_seed() -> None:
    network = seeded(Plain, 0)
    network.token = nn.Parameter(torch.ones(500))
    state = torch.random.get_rng_state()
    one, same, other = (randomised(network, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, values in network.state_dict().items():
        assert torch.equal(one.state_dict()[name], same.state_dict()[name])
        assert not torch.equal(one.state_dict()[name], other.state_dict()[name])
        assert not torch.equal(one.state_dict()[name], values), name
    assert one.token.detach().std() == pytest.approx(0.02, rel=0.2)
