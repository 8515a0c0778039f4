"""Classifiers for guidance: the objective against its formulas, and the suite that measures them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import outcome
from torch import Tensor, nn

from harness import plugins
from harness.base import noise
from harness.data import ArrayDataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import find_denoiser
from harness.diffusion.schedule import Schedule, cosine
from harness.evaluation import loop
from harness.evaluation.launch.claims import Shard
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.batch import BatchViews
from harness.models.checkpoint import write_checkpoint
from harness.models.classifier import CHANNELS, TimeConditionedClassifier
from harness.models.lookup import find_classifier
from harness.models.tiles import Tiles
from harness.report import leaderboard
from harness.train.build import build
from harness.train.engine.parallel import World
from harness.train.input.labels import labelled
from harness.train.kinds import time_conditioned
from harness.train.kinds.frozen import Frozen
from harness.train.loop import RunMode, train
from harness.train.objectives.time_conditioned import TimeConditioned, divergence
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Batch, HarnessError, NoisyClassifier, RunSpec

ABAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


@pytest.fixture(scope="module")
def digits() -> ArrayDataset:
    """The training digits."""
    data = plugins.dataset["digits"].build("train")
    assert isinstance(data, ArrayDataset)
    return data


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return find_denoiser("digits")[0]


class Linear(nn.Module):
    """The smallest body that looks at everything: its weights are float64 for exact comparisons."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(channels)
        self.weight = nn.Parameter(torch.randn(10, channels * 32 * 32, generator=rng, dtype=torch.float64) / 30)
        self.late = nn.Parameter(torch.randn(10, generator=rng, dtype=torch.float64))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x.flatten(1).double() @ self.weight.T + t[:, None] / 1000 * self.late


def linear(objective: str) -> TimeConditionedClassifier:
    return TimeConditionedClassifier(Linear(CHANNELS[objective]), denoised=objective == "da")


def one(denoiser: Denoiser, network: TimeConditionedClassifier, image: Tensor, t: int, eps: Tensor) -> Tensor:
    """Log probabilities (K,) of one image at a time, from the formulas in float64."""
    x_t = ABAR[t].sqrt() * (2 * image.double() - 1) + (1 - ABAR[t]).sqrt() * eps.double()
    seen = x_t
    if network.denoised:
        with torch.no_grad():
            predicted = denoiser.network(x_t[None].float(), torch.tensor([t])).sample[0].double()
        x0 = ((x_t - (1 - ABAR[t]).sqrt() * predicted) / ABAR[t].sqrt()).clamp(-1, 1)
        seen = torch.cat([x_t, x0])
    return network.body(seen[None], torch.tensor([t]))[0].log_softmax(0)


@pytest.mark.parametrize("objective", ["noisy", "da"])
def test_the_objective_is_what_its_formulas_say(objective: str, digits: ArrayDataset, denoiser: Denoiser) -> None:
    """Cross-entropy on the labelled images at t, KL from the earlier to the later prediction on the others."""
    network, batch = linear(objective), digits.read(range(8))
    with_label = set(batch.ids[:3])
    terms = TimeConditioned(denoiser, objective == "da", labelled=with_label, consistency_radius=150, weight=0.7)(
        network, Step(batch, batch, seed=3, epoch=7)
    )
    ce, kl, gaps = [], [], []
    for image, label, sample in zip(batch.images, batch.labels, batch.ids, strict=True):
        key: Any = {"seed": 3, "samples": [sample], "draw": 7}
        t = int(noise.integers(0, 1000, purpose="guidance-time", **key))
        eps = noise.gaussian((3, 32, 32), purpose="guidance-noise", **key)[0]
        if sample in with_label:
            ce.append(-one(denoiser, network, image, t, eps)[label])
            continue
        near = min(max(t + int(noise.integers(-150, 151, purpose="guidance-shift", **key)), 0), 999)
        early, late = (one(denoiser, network, image, s, eps) for s in sorted((t, near)))
        kl.append((early.exp() * (early - late)).sum())
        gaps.append(near - t)
    assert min(gaps) < 0 < max(gaps), "both orders of the two times are put to the test"
    assert float(terms["ce"].detach()) == pytest.approx(float(torch.stack(ce).detach().mean()), rel=1e-4)
    expected = 0.7 * float(torch.stack(kl).detach().mean())
    assert float(terms["consistency"].detach()) == pytest.approx(expected, rel=1e-3)


def test_the_earlier_prediction_gets_no_gradient() -> None:
    a, b = torch.randn(4, 10, requires_grad=True), torch.randn(4, 10, requires_grad=True)
    t, s = torch.tensor([5, 5, 100, 7]), torch.tensor([9, 0, 200, 3])
    divergence(a, t, b, s).sum().backward()
    assert a.grad is not None and b.grad is not None
    moved = torch.stack([a.grad.abs().sum(1), b.grad.abs().sum(1)]) > 0
    assert moved.tolist() == [[False, True, False, True], [True, False, True, False]]


def test_consistency_vanishes_where_time_changes_nothing(digits: ArrayDataset, denoiser: Denoiser) -> None:
    class Blind(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.arange(10.0).expand(len(x), -1)

    blind, batch = TimeConditionedClassifier(Blind(), denoised=False), digits.read(range(8))
    step, with_label = Step(batch, batch, seed=0, epoch=0), set(batch.ids[:2])
    at_once = TimeConditioned(denoiser, False, labelled=with_label, consistency_radius=100)
    assert float(at_once(blind, step)["consistency"].detach()) == pytest.approx(0, abs=1e-12)
    assert float(at_once(linear("noisy"), step)["consistency"].detach()) > 1e-3
    assert set(TimeConditioned(denoiser, False, labelled=with_label)(blind, step)) == {"ce"}
    with pytest.raises(HarnessError, match="--labels below 1"):
        TimeConditioned(denoiser, False, consistency_radius=10)
    with pytest.raises(HarnessError, match=r"--diffaug-times 0,1201: .*<= 1000"):
        TimeConditioned(denoiser, False, times=(0, 1201))


def test_labels_that_are_not_given_decide_nothing(digits: ArrayDataset, denoiser: Denoiser) -> None:
    batch = digits.read(range(8))
    wrong = torch.where(torch.arange(8) < 3, batch.labels, (batch.labels + 1) % 10)
    objective = TimeConditioned(denoiser, False, labelled=set(batch.ids[:3]), consistency_radius=50)
    terms = [
        {name: float(term.detach()) for name, term in objective(linear("noisy"), Step(b, b, 0, 0)).items()}
        for b in (batch, replace(batch, labels=wrong))
    ]
    assert terms[0] == terms[1]
    none = replace(objective, labelled=frozenset())(linear("noisy"), Step(batch, batch, 0, 0))
    assert float(none["ce"].detach()) == 0 and float(none["consistency"].detach()) > 0


def test_the_denoiser_gets_no_gradient(digits: ArrayDataset) -> None:
    denoiser, _ = find_denoiser("digits")
    denoiser.network.requires_grad_(True)
    network, batch = linear("da"), digits.read(range(4))
    terms = TimeConditioned(denoiser, True, labelled=set(batch.ids[:2]), consistency_radius=100)(
        network, Step(batch, batch, 0, 0)
    )
    torch.stack(list(terms.values())).sum().backward()
    assert network.body.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in denoiser.network.parameters())


def test_a_fraction_of_the_labels(digits: ArrayDataset) -> None:
    def chosen(fraction: float, order: Sequence[int] = range(len(digits.ids)), seed: int = 0) -> frozenset[str]:
        return labelled([digits.ids[i] for i in order], fraction, seed, digits.labels[list(order)])

    fractions = (0.01, 0.1, 0.25, 0.5, 1.0)
    sets = [chosen(fraction) for fraction in fractions]
    assert all(small < large for small, large in pairwise(sets))
    assert sets[-1] == set(digits.ids)
    per_class = np.bincount(digits.labels.numpy())
    place = {name: i for i, name in enumerate(digits.ids)}
    for fraction, names in zip(fractions, sets, strict=True):
        counts = np.bincount([int(digits.labels[place[name]]) for name in names], minlength=10)
        assert np.abs(counts - fraction * per_class).max() <= 0.5
    assert chosen(0.1) == chosen(0.1, list(reversed(range(len(digits.ids))))) != chosen(0.1, seed=1)
    with pytest.raises(HarnessError, match=r"leaves class \d, of \d+ samples, without a label"):
        chosen(0.004)
    for fraction in (0, -0.1, 1.5):
        with pytest.raises(HarnessError, match="--labels"):
            chosen(fraction)


@pytest.fixture(scope="module")
def trained(digits: ArrayDataset, denoiser: Denoiser, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """A DA encoder after a few steps on a few images of low noise, and its losses."""
    folder, losses = tmp_path_factory.mktemp("trained"), []
    torch.manual_seed(0)
    spec = resolve(TrainSpec("encoder", objective="da", diffaug_times=(0, 200), epochs=10, batch_size=8, lr=2e-3))
    eight = ArrayDataset("digits", digits.ids[:8], digits.pixels[:8], digits.labels[:8], 10, digits.geometry)
    task, header = build(spec, eight, World())
    done = train(task, folder, RunMode(report=lambda p: losses.extend(p.losses.values())))
    write_checkpoint(folder / "model.safetensors", done.network, header)
    return folder, losses


def test_training_lowers_the_loss(trained: tuple[Path, list]) -> None:
    _, losses = trained
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_checkpoint_becomes_the_classifier_that_was_trained(trained: tuple[Path, list], digits: ArrayDataset) -> None:
    network, info = find_classifier(str(trained[0]))
    assert isinstance(network, TimeConditionedClassifier) and isinstance(network, NoisyClassifier)
    assert network.denoised and info.details["objective"] == "da"
    images = digits.read(range(3)).images
    x_t, t = torch.randn(3, 3, 32, 32), torch.tensor([0, 500, 999])
    with torch.no_grad():
        logits = network.noisy(x_t, images, t)
        assert torch.equal(logits, network.body(torch.cat([x_t, 2 * images - 1], 1), t))
        assert not torch.allclose(logits, network.noisy(x_t, images, t.flip(0)))
        clean = network.noisy(2 * images - 1, images, torch.zeros(3, dtype=torch.int64))
        assert torch.equal(network(images), clean), "images alone are at t = 0"


def test_a_header_states_a_noise_schedule_that_is_not_the_usual_one(
    trained: tuple[Path, list], denoiser: Denoiser, digits: ArrayDataset, tmp_path: Path
) -> None:
    network, info = find_classifier(str(trained[0]))
    assert isinstance(network, TimeConditionedClassifier)
    assert "schedule" not in info.details and network.noise_schedule == ("linear", 1000)
    spec = resolve(TrainSpec("encoder", objective="da"))
    for schedule, stated in ((cosine(), ("cosine", 1000)), (Schedule(cosine().betas / 2, np.arange(1000)), None)):
        built = time_conditioned.build(spec, digits, Frozen(replace(denoiser, schedule=schedule)), "cpu")
        write_checkpoint(tmp_path / "model.safetensors", network, {**info.details, **built.facts})
        again, _ = find_classifier(str(tmp_path))
        assert isinstance(again, TimeConditionedClassifier) and again.noise_schedule == stated


def test_a_header_without_objective_is_refused(trained: tuple[Path, list], tmp_path: Path) -> None:
    network, info = find_classifier(str(trained[0]))
    write_checkpoint(tmp_path / "model.safetensors", network, {**info.details, "objective": "clean"})
    with pytest.raises(HarnessError, match=r"'clean', which must be one of noisy, da"):
        find_classifier(str(tmp_path))


def test_architecture_facts() -> None:
    entry = plugins.architecture["encoder"]
    assert entry.facts["kind"] == "time-conditioned" and entry.facts["image_size"] == 32
    for channels in CHANNELS.values():
        body = entry.build(num_classes=7, in_channels=channels).eval()
        assert 0.5e6 < sum(p.numel() for p in body.parameters()) < 1e6
        images, t = torch.randn(3, channels, 32, 32), torch.tensor([0, 400, 999])
        with torch.no_grad():
            rows = torch.cat([body(images[i : i + 1], t[i : i + 1]) for i in range(3)])
            assert torch.allclose(body(images, t), rows, atol=1e-5), "rows do not look at one another"
        assert rows.shape == (3, 7)


# The suite

SPEC = RunSpec(
    suite="noisy-accuracy:times=0,600",
    models=("digits/resnet",),
    methods=("default", "denoised"),
    denoiser="digits",
    limit=8,
    tile=2,
)


def run(out: Path, changes: dict[str, Any] | None = None, **options: Any) -> list[RunRecord]:
    job = prepare(replace(SPEC, **(changes or {})), out)
    return [record.load(path) for path in loop.run(job, **options)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, trained: tuple[Path, list]) -> list[RunRecord]:
    """A plain classifier and one that knows the time, with both methods, in one process and one batch."""
    return run(tmp_path_factory.mktemp("small"), {"models": ("digits/resnet", str(trained[0]))})


def test_batches_and_shards_change_nothing(tmp_path: Path, trained: tuple[Path, list], small: list[RunRecord]) -> None:
    models = {"models": ("digits/resnet", str(trained[0]))}
    for size in (1, 7):
        assert outcome(run(tmp_path / str(size), models, batch_size=size)) == outcome(small)
    assert run(tmp_path / "shards", models, claims=Shard(1, 2)) == []
    assert outcome(run(tmp_path / "shards", models, claims=Shard(0, 2))) == outcome(small)


def test_the_denoised_images_are_shared_and_made_on_demand(small: list[RunRecord], tmp_path: Path) -> None:
    assert {r.cost.denoiser_calls for r in small} == {8 * 3}, "one for each image and condition, for all four rows"
    (alone,) = run(tmp_path, {"methods": ("default",)})
    assert alone.cost.denoiser_calls == 0


def test_rows_are_what_the_formulas_say(small: list[RunRecord], trained: tuple[Path, list], denoiser: Denoiser) -> None:
    """Image by image, from the noise of (seed, "denoise", image, time)."""
    data = plugins.dataset["digits"].build("test")
    plain, da = (find_classifier(name)[0] for name in ("digits/resnet", str(trained[0])))
    tables = {(r.model.name == "digits/resnet", r.method): r.rows() for r in small}
    for condition, index in [("uniform", 2), ("uniform", 7), ("t=0", 0), ("t=600", 5)]:
        batch = data.read([index])
        random = int(noise.integers(0, 1000, seed=0, purpose="uniform-time", samples=batch.ids))
        t = random if condition == "uniform" else int(condition[2:])
        eps = noise.gaussian((3, 32, 32), seed=0, purpose="denoise", samples=batch.ids, draw=t)
        x_t = (ABAR[t].sqrt() * (2 * batch.images - 1) + (1 - ABAR[t]).sqrt() * eps).float()
        at = torch.tensor([t])
        with torch.no_grad():
            x0 = denoiser.predict_x0(x_t, at)
            expected = {
                (True, "default"): plain(((x_t + 1) / 2).clamp(0, 1)),
                (True, "denoised"): plain(x0),
                (False, "default"): da.noisy(x_t, x0, at),
                (False, "denoised"): da(x0),
            }
        for row, logits in expected.items():
            rows = tables[row]
            (k,) = np.flatnonzero((rows["id"] == batch.ids[0]) & (rows["condition"] == condition))
            assert rows["time"][k] == t
            assert rows["prediction"][k] == int(logits.argmax())
            assert rows["confidence"][k] == pytest.approx(float(logits.softmax(1).max()), abs=1e-4)


class Oracle(nn.Module):
    """Knows the noise: finds the test image that x_t was made of."""

    denoised = False

    def __init__(self) -> None:
        super().__init__()
        self.denoiser = find_denoiser("digits")[0]
        self.batch: Batch = plugins.dataset["digits"].build("test").read(range(SPEC.limit))

    def forward(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), 10)

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        rows = []
        for x, time in zip(x_t, t, strict=True):
            eps = noise.gaussian((3, 32, 32), seed=0, purpose="denoise", samples=self.batch.ids, draw=int(time))
            diffused = self.denoiser.diffuse(self.batch.images, time.expand(len(self.batch)), eps)
            rows.append(self.batch.labels[(diffused - x).flatten(1).norm(dim=1).argmin()])
        return F.one_hot(torch.stack(rows), 10).float()


def test_an_oracle_is_right_at_every_time(tmp_path: Path) -> None:
    plugins.model("oracle", dataset="digits")(Oracle)
    (entry,) = run(tmp_path, {"models": ("oracle",), "methods": ("default",)})
    assert {m.condition: m.value for m in entry.metrics if m.name == "accuracy"} == {"uniform": 1, "t=0": 1, "t=600": 1}


def test_a_plain_classifier_is_itself_at_time_zero(small: list[RunRecord]) -> None:
    data = plugins.dataset["digits"].build("test").read(range(SPEC.limit))
    network, _ = find_classifier("digits/resnet")
    with torch.no_grad():
        clean = network(data.images).softmax(1).max(1)
    for entry in small:
        if entry.model.name == "digits/resnet":
            rows = entry.rows()
            here = rows["condition"] == "t=0"
            assert rows["prediction"][here].tolist() == clean.indices.tolist()
            assert np.abs(rows["confidence"][here] - clean.values.numpy()).max() < 0.1


def test_what_the_leaderboard_and_the_figure_show(small: list[RunRecord]) -> None:
    entry = small[0]
    assert entry.columns[0] == ("accuracy", "uniform")
    per_time = [entry.metric("accuracy", f"t={t}") for t in (0, 600)]
    mean = entry.metric("mean_accuracy", "mean")
    assert mean and mean.value == pytest.approx(np.mean([m.value for m in per_time if m])), "without the random time"
    assert "accuracy uniform (%)" in leaderboard.ranking(small).header
    suite = plugins.suite.configure(SPEC.suite).plugin
    panels = suite.figure(small).axes
    labels = {(axes.get_title(), line.get_label()): line for axes in panels for line in axes.lines}
    assert len(labels) == 4
    assert labels["default", "digits/resnet"].get_ydata() == pytest.approx([100 * m.value for m in per_time if m])
    rows = suite.compare(small[0], small[1]).rows
    assert [row[0] for row in rows] == ["uniform", "t=0", "t=600", "mean"]


def test_the_view_is_the_one_of_denoised(denoiser: Denoiser) -> None:
    batch = plugins.dataset["digits"].build("test").read(range(5))
    views = BatchViews(batch, denoiser, Tiles(4), seed=2)
    (denoised,) = views.denoised([300])
    assert torch.equal(views.diffused(300).restored(), denoised)
    assert views.diffused(300) is views.diffused(300)
    assert views.calls == 10
    assert len(set(views.diffused(None).times.tolist())) > 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"methods": ("de",)}, "diffuses images itself"),
        ({"methods": ("dda",)}, "diffuses images itself"),
        ({"suite": "digits", "methods": ("denoised",)}, "--tta de:100"),
        ({"suite": "noisy-accuracy:times=0,0"}, "distinct"),
        ({"suite": "noisy-accuracy:times=1000"}, r"1000 lies outside"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_run(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=message):
        prepare(replace(SPEC, **changes), tmp_path)


def test_elsewhere_it_is_a_classifier_at_time_zero(trained: tuple[Path, list], tmp_path: Path) -> None:
    (entry,) = run(tmp_path, {"suite": "digits", "models": (str(trained[0]),), "methods": ("default",)})
    batch = plugins.dataset["digits"].build("test").read(range(SPEC.limit))
    with torch.no_grad():
        expected = find_classifier(str(trained[0]))[0](batch.images).argmax(1)
    assert entry.rows()["prediction"].tolist() == expected.tolist()
