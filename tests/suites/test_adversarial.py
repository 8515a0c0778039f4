"""The adversarial suites: survivors, verdicts, metrics and kept images; the same numbers however a run is cut."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from helpers import harness, outcome
from torch import Tensor, nn

from harness import plugins
from harness.api.rerun.rescore import rescore
from harness.base.errors import Notice
from harness.data import open_dataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import linear
from harness.evaluation import loop, part_in_progress
from harness.evaluation.attacked.flags import LOOKED_AT
from harness.evaluation.attacked.judging import JUDGED, attacker
from harness.evaluation.estimate import estimate
from harness.evaluation.kept import images as kept
from harness.evaluation.launch.claims import Shard
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.batch import BatchViews
from harness.evaluation.views.gradients import MethodClassifier
from harness.exchange.inputs import DataAtHand
from harness.exchange.verify import OK, examine
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier, Tiles
from harness.registry.attacks.pgd import PGD
from harness.report import boards, leaderboard, record_page
from harness.suites.bases.adversarial import flagging, measures, timing
from harness.suites.bases.adversarial.cost import counted, passes
from harness.types import GradientClassifier, HarnessError, Noise, RunSpec, ThreatModel, Weights

EPS = "digits-adversarial:eps=4/255,0.05"
SPEC = RunSpec(
    suite=EPS, models=("test-means",), methods=("test-two",), every=45, tile=4, gradient_tile=2, keep_images=True
)
"""Fourteen digits."""


class Means(nn.Module):
    """The nearest mean of the training digits, shrunk to 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        batch = open_dataset("digits", "train").read(range(400))
        small = self._small(batch.images)
        self.means = torch.stack([small[batch.labels == k].mean(0) for k in range(10)])

    def _small(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self._small(images) @ self.means.T - (self.means**2).sum(1) / 2


class Quantised(Means):
    """The same behind a rounding of the image, which has no gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images * 15).round() / 15)


class TinyUnet(nn.Module):
    """A noise prediction that takes a tenth of every pixel for noise."""

    def forward(self, x: Tensor, t: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (0.1 * x,)


@dataclass(frozen=True)
class Two:
    """A weak attack, and a stronger one on what it leaves."""

    note: ClassVar[str] = "A note of the attack."

    @property
    def members(self) -> list[tuple[str, PGD]]:
        return [("weak", PGD(steps=1, random_start=False)), ("strong", PGD(steps=4))]


@dataclass(frozen=True)
class Largest:
    """Every pixel by a multiple of eps, whatever the threat model; towards grey."""

    times: float = 1.0
    minimal: bool = False

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        return images + self.times * threat.eps * (0.5 - images).sign()


@dataclass(frozen=True)
class OneTime:
    """The classifier on one denoising, whose noise changes its answers."""

    def __call__(self, views: Any, classifier: Any) -> Tensor:
        (view,) = views.denoised((400,))
        return classifier(view).softmax(1)  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def registered(forgotten: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flagging, "QUERIES", 5)
    network = Means().eval()
    plugins.model("test-means", dataset="digits")(lambda: (network, Weights("means", "0" * 64, "a test")))
    plugins.attack("test-two")(Two)
    plugins.attack("test-largest")(Largest)
    plugins.method("test-one-time", denoiser=True)(OneTime)
    plugins.denoiser("test-tiny")(lambda: (Denoiser(TinyUnet(), linear()), Weights("tiny", "1" * 64, "a test")))
    yield


def run(out: Path, changes: dict[str, Any] | None = None, **options: Any) -> list[RunRecord]:
    return [record.load(path) for path in loop.run(prepare(replace(SPEC, **(changes or {})), out), **options)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture
def small(folder: Path) -> RunRecord:
    """The record of an undisturbed run of `SPEC`, made once."""
    return run(folder)[0]


def test_batches_shards_and_tiles_of_a_call_change_no_bit(small: RunRecord, tmp_path: Path) -> None:
    (one,) = run(tmp_path / "one", batch_size=1)
    run(tmp_path / "shards", claims=Shard(0, 2), batch_size=5)
    (other,) = run(tmp_path / "shards", claims=Shard(1, 2))
    assert outcome([one]) == outcome([other]) == outcome([small])
    assert one.images == small.images, "kept images are the same bytes"


def test_an_interrupted_run_goes_on_after_the_last_call_of_an_attack(
    small: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_in_progress, "KEEP_EVERY", -1.0)
    attacked: list[int] = []
    attack = PGD.__call__

    def counted(self: PGD, images: Tensor, labels: Tensor, classifier: Any, *rest: Any) -> Tensor:
        if self.steps == 1 and isinstance(classifier, TiledClassifier) and len(images) < LOOKED_AT:
            attacked.append(len(images))
        return attack(self, images, labels, classifier, *rest)

    monkeypatch.setattr(PGD, "__call__", counted)

    def stop(tick: loop.Progress) -> None:
        if 0.3 < tick.done < 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, report=stop)
    begun = sum(attacked)
    (resumed,) = run(tmp_path)
    assert outcome([resumed]) == outcome([small])
    right = small.rows()["fallen"] != -2
    assert 0 < begun < sum(attacked) == right.sum(), "no image is attacked twice"


def test_an_image_that_fell_at_a_smaller_eps_has_fallen_at_every_larger_one(small: RunRecord) -> None:
    rows = small.rows()
    first, second = "linf 4/255", "linf 0.05"
    assert list(dict.fromkeys(rows["condition"])) == [first, second]
    luck = {name: values.copy() for name, values in rows.items()}
    at_first, at_second = rows["condition"] == first, rows["condition"] == second
    luck["fallen"][at_second & (rows["fallen"] >= 0)] = -1
    lucky = dict(measures.levels(luck, [first, second]))
    fallen = rows["fallen"][at_first] != -1
    assert fallen.any() and (lucky[second].final == ~fallen).all()
    assert (lucky[second].final <= lucky[first].final).all()
    number = rows["fallen"][at_first]
    after = [(number == -1) | (number > k) for k in range(2)]
    assert (lucky[second].shares[:, 1:] == np.column_stack(after)).all(), "each fell to the member that it fell to"
    values = {
        (m.name, m.condition): m.value for m in measures.metrics(luck, plugins.suite.configure(EPS).plugin.threats)[0]
    }
    assert values["robust_after", f"{second}, attack 2"] == values["robust_accuracy", second]


def test_a_stochastic_row_takes_all_its_members_from_the_eps_with_the_fewest_right_draws() -> None:
    rows = {
        "id": np.array(["a", "b"] * 2),
        "condition": np.repeat(["linf 1/255", "linf 2/255"], 2),
        "right": np.array([[9, 8, 3], [9, 9, 9], [9, 9, 6], [9, 4, 2]]),
        "chosen": np.array([2, 9, 5, 1]),
        "distance": np.array([0.003, -1, -1, 0.006]),
    }
    level = dict(measures.levels(rows, ["linf 1/255", "linf 2/255"]))["linf 2/255"]
    assert (10 * level.shares).round().tolist() == [[9, 8, 3], [9, 4, 2]]
    assert level.final.tolist() == [0.3, 0.2] and level.distance.tolist() == [0.003, 0.006]


def test_metrics_are_counts_of_the_sample_table(small: RunRecord) -> None:
    rows = small.rows()
    here = rows["condition"] == "linf 0.05"
    robust, clean = (rows["fallen"] == -1)[here], (rows["prediction"] == rows["label"])[here]
    values = {(m.name, m.condition): m for m in small.metrics}
    assert values["accuracy", "clean"].value == pytest.approx(clean.mean())
    assert values["robust_accuracy", "linf 0.05"].value == pytest.approx(robust.mean())
    after = [values["robust_after", f"linf 0.05, attack {k}"].value for k in (1, 2)]
    weak = (rows["fallen"] == 0)[here]
    assert after == pytest.approx([(clean & ~weak).mean(), robust.mean()])
    assert 0 < robust.sum() < clean.sum() and weak.any() and (rows["fallen"] == 1).any(), "both attacks fell some"
    assert {"Attacks in turn: 1 weak, 2 strong.", "A note of the attack."} <= set(small.notes)
    assert small.facts == {"threat model": "linf 4/255, linf 0.05"}


def test_kept_images_lie_within_eps_of_their_image_and_fool_the_network(small: RunRecord) -> None:
    """With numpy and torch alone, from the file and the data."""
    assert small.path
    stored = np.load(small.path.with_name(small.images["file"]))
    data = open_dataset("digits", "test")
    clean = data.read([data.ids.index(name) for name in stored["id"]]).images
    images = torch.from_numpy(stored["image"])
    eps = torch.tensor([{"linf 4/255": 4 / 255, "linf 0.05": 0.05}[name] for name in stored["condition"]])
    assert ((images - clean).abs().amax((1, 2, 3)) <= eps + 1e-6).all() and 0 <= images.min() <= images.max() <= 1
    rows = small.rows()
    assert (Means()(images).argmax(1).numpy() == rows["adversarial"]).all()
    fell = rows["fallen"] >= 0
    assert (rows["adversarial"] != rows["label"])[fell].all() and fell.any()
    norms = (images.double() - clean.double()).abs().amax((1, 2, 3)).float().numpy()
    assert (norms == rows["distance"])[fell].all()


def test_a_command_scores_kept_images_again_and_finds_a_forged_one(
    small: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert small.path
    code, text = harness(monkeypatch, capsys, "results", "rescore", str(small.path))
    assert code == 0 and "identical. 28 images lie in [0, 1] and within their eps" in text, text
    stored = dict(np.load(small.path.with_name(small.images["file"])))
    stored["image"] = np.clip(stored["image"] + np.float32(0.2), 0, 1)
    (tmp_path / small.path.name).write_bytes(small.path.read_bytes())
    table = small.path.with_suffix(".parquet")
    (tmp_path / table.name).write_bytes(table.read_bytes())
    np.savez(tmp_path / small.images["file"], **stored)
    moved = replace(small, path=tmp_path / small.path.name)
    with pytest.raises(HarnessError, match=r"other images than its record names .* --keep-images"):
        rescore(moved, tmp_path / "b", WeightFiles())
    forged = replace(moved, images={**small.images, "sha256": kept.file_sha256(tmp_path / small.images["file"])})
    verdict = rescore(forged, tmp_path / "c", WeightFiles())
    assert not verdict.agrees and any("lie beyond their eps" in reason for reason in verdict.reasons)
    stored["image"][0, 0, 0, 0] = np.nan
    np.savez(tmp_path / small.images["file"], **stored)
    forged = replace(moved, images={**small.images, "sha256": kept.file_sha256(tmp_path / small.images["file"])})
    with pytest.raises(HarnessError, match="holds 1 images with values that are no numbers"):
        rescore(forged, tmp_path / "e", WeightFiles())
    with pytest.raises(HarnessError, match="--keep-images"):
        rescore(replace(small, images={}), tmp_path / "d", WeightFiles())


def test_scoring_again_finds_forged_clean_errors_distances_and_losses(
    small: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who computes every hash again, with the images as they are."""
    rows = small.rows()
    fell = rows["fallen"] >= 0
    edits: dict[str, dict[str, Any]] = {
        "classified otherwise without an attack": {
            "fallen": np.where(fell, -2, rows["fallen"]).astype(np.int16),
            "prediction": np.where(fell, rows["adversarial"], rows["prediction"]),
            "distance": np.where(fell, 0, rows["distance"]).astype(np.float32),
        },
        "lie at another distance": {"distance": np.where(fell, rows["distance"] / 2, rows["distance"])},
        "have another loss": {"loss": rows["loss"] + np.float32(0.01)},
    }
    assert fell.any()
    for number, (words, edit) in enumerate(edits.items()):
        monkeypatch.setattr(RunRecord, "rows", lambda self, *names, edit=edit: {**rows, **edit})
        verdict = rescore(small, tmp_path / str(number), WeightFiles())
        assert not verdict.agrees and words in " ".join(verdict.reasons), verdict.reasons


def test_an_attack_that_fails_is_named_with_its_classifier(tmp_path: Path) -> None:
    """A step that is detached, and a gradient that is no number."""
    cut: dict[str, tuple[Any, str]] = {
        "detached": (lambda z: z.detach(), "does not depend on the images"),
        "nan": (lambda z: z + (z - z).sqrt(), "is NaN or infinite for 20 of 20 images"),
    }
    for name, (after, words) in cut.items():
        network = Means().eval()
        network.register_forward_hook(lambda module, images, z, after=after: after(z))
        plugins.model(f"test-{name}", dataset="digits")(lambda network=network: (network, Weights("x", "2" * 64, "")))
        with pytest.raises(HarnessError, match=rf"The attack .+ on test-{name}: .*{words}"):
            run(tmp_path, {"models": (f"test-{name}",), "every": 200})


def test_images_change_no_number_and_no_key(small: RunRecord, tmp_path: Path) -> None:
    (plain,) = run(tmp_path, {"keep_images": False})
    assert (plain.key, plain.samples["sha256"], plain.metrics) == (small.key, small.samples["sha256"], small.metrics)
    assert not plain.images and not list(tmp_path.rglob("*.npz"))
    (again,) = run(tmp_path)
    assert again.images == small.images, "a record without images is made anew"
    with pytest.raises(HarnessError, match="digits makes no images to keep"):
        prepare(replace(SPEC, suite="digits", methods=("default",)), tmp_path)


def test_a_record_passes_verification_and_an_edit_of_its_columns_does_not(small: RunRecord) -> None:
    assert small.path
    assert examine(small.path, DataAtHand()).outcome == OK
    suite = plugins.suite.configure(EPS).plugin
    rows = small.rows()
    assert not list(suite.row_faults(rows))
    for name, value in (("fallen", 5), ("distance", 0.3), ("adversarial", None), ("loss", -1.0)):
        edited = {key: values.copy() for key, values in rows.items()}
        fell = rows["fallen"] >= 0
        edited[name][fell] = rows["label"][fell] if value is None else value
        assert list(suite.row_faults(edited)), name


def test_rows_of_other_attacks_never_rank_beside_the_complete_one(small: RunRecord) -> None:
    suite = plugins.suite.configure(EPS).plugin
    axis = plugins.AXES["attack"]
    asides = {text: suite.aside(axis.configure(text).plugin, text) for text in ("test-two", "test-one-time+pgd")}
    asides["draws"] = suite.aside(axis.configure("test-one-time+pgd:draws=2").plugin, "")
    assert asides == {
        "test-two": "attack test-two",
        "test-one-time+pgd": "attack pgd in known noise",
        "draws": "attack pgd:draws=2 in unseen noise",
    }
    complete = replace(small, aside="")
    assert small.aside == "attack test-two" and len(boards.boards([small, complete])) == 2


def test_images_outside_of_the_threat_model_stop_the_run_or_count_as_distance_alone(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"test-largest\S* on test-means left the threat model linf 4/255"):
        run(tmp_path, {"methods": ("test-largest:times=2",)})
    once = {"suite": "digits-adversarial", "methods": ("test-largest:times=25,minimal=true",), "keep_images": False}
    rows = run(tmp_path, once)[0].rows()
    assert set(rows["fallen"]) <= {-1, -2}, "none lies within eps"
    known = rows["distance"] > 0
    assert known.any() and rows["distance"][known] == pytest.approx(25 * 4 / 255, abs=1e-5)


def test_a_stochastic_classifier_is_judged_on_draws_that_no_attack_saw(tmp_path: Path) -> None:
    changes = {
        "suite": "digits-adversarial",
        "methods": ("test-one-time+pgd:steps=2,draws=1", "test-one-time+pgd:steps=2"),
        "denoiser": "test-tiny",
        "every": 75,
    }
    unseen, known = run(tmp_path, changes)
    rows = unseen.rows("right", "chosen")
    assert rows["right"].shape == (8, 2) and "right" not in known.rows()
    assert (rows["right"][:, 0] % 10 > 0).any(), "noise decides some clean answers"
    values = {m.name: m.value for m in unseen.metrics if m.condition == "linf 4/255"}
    assert values["robust_accuracy"] == pytest.approx(rows["right"][:, 1].mean() / 10)
    assert values["robust_worst"] <= values["robust_accuracy"]
    assert known.aside.endswith("known noise") and unseen.aside.endswith("unseen noise")
    for entry in (unseen, known):
        assert rescore(entry, tmp_path / entry.key, WeightFiles()).agrees


def test_two_classifiers_are_compared_on_the_same_images(small: RunRecord, tmp_path: Path) -> None:
    (weaker,) = run(tmp_path, {"methods": ("pgd:steps=1",)})
    table = plugins.suite.configure(EPS).plugin.compare(weaker, small)
    rows_a, rows_b = weaker.rows(), small.rows()
    cells = rows_a["condition"] == "linf 4/255"
    robust_a, robust_b = ((rows["fallen"] == -1)[cells] for rows in (rows_a, rows_b))
    first = table.data[0]
    assert (first["condition"], first["n"]) == ("linf 4/255", 14)
    assert first["difference"] == pytest.approx(robust_b.mean() - robust_a.mean())
    assert [row["condition"] for row in table.data] == ["linf 4/255", "linf 0.05", "mean"]
    assert "The attacks differ: pgd:steps=1 on A, test-two on B." in table.caption
    other = replace(small, suite="digits-adversarial", spec=replace(small.spec, suite="digits-adversarial"))
    with pytest.raises(HarnessError):
        plugins.suite.configure(EPS).plugin.compare(weaker, other)


def test_eps_is_written_as_a_fraction_and_refused_on_the_wrong_scale() -> None:
    configured = plugins.suite.configure("digits-adversarial:eps=0.0625,8/255")
    assert configured.text == "digits-adversarial:eps=8/255,0.0625"
    assert list(configured.plugin.threats) == ["linf 8/255", "linf 0.0625"]
    assert plugins.suite.configure("digits-adversarial:eps=4/255").text == "digits-adversarial"
    assert list(plugins.suite.configure("cifar10-adversarial:norm=l2").plugin.threats) == ["l2 0.5"]
    wrong = {
        "eps=8": "eps=8/255",
        "norm=l1": "linf, l2",
        "eps=1/0": "such as 0.5,8/255",
        "eps=0.1,0.1": "each eps once",
    }
    for settings, words in wrong.items():
        with pytest.raises(HarnessError, match=words):
            plugins.suite.configure(f"digits-adversarial:{settings}")
    suite = plugins.suite.configure("digits-adversarial:norm=l2,eps=128").plugin
    with pytest.raises(HarnessError, match=r"eps=128 is more than 55.43.*eps=128/255"):
        suite.tally([], torch.zeros(1, 3, 32, 32), 10)


def test_the_cost_is_counted_beforehand_as_an_upper_limit(tmp_path: Path) -> None:
    job = prepare(SPEC, tmp_path)
    once = {"weak": 1, "strong": 4}
    # A gradient, of the start as well, is a forward pass and a backward one; each member is judged.
    gradients = sum(steps + 1 for steps in once.values())
    result = estimate(job)
    assert result.at_most and result.classifier_calls == 28 * (gradients + len(once) + 1)
    assert (result.classifier_gradients, result.denoiser_calls) == (28 * gradients, 0)
    assert 0 < result.seconds < 60
    image, threat = torch.rand(1, 3, 8, 8), ThreatModel("linf", 0.1)
    assert passes(Largest(), image, 10, threat) == (0, 0)
    assert passes(PGD(steps=3, draws=2), image, 10, threat) == (8, 8)


def test_a_raised_flag_stands_beside_the_number_and_the_figures_in_the_record(tmp_path: Path) -> None:
    plugins.model("test-quantised", dataset="digits")(lambda: (Quantised().eval(), Weights("q", "2" * 64, "a test")))
    changes = {"models": ("test-quantised",), "methods": ("pgd:steps=1",), "keep_images": False, "every": 75}
    (entry,) = run(tmp_path, changes)
    raised = [note for note in entry.notes if note.startswith("Flag: ")]
    assert any("the gradient vanishes in float32 on 100%" in note for note in raised), entry.notes
    assert any(note.startswith("Flags measured on ") for note in entry.notes)
    table = leaderboard.ranking([entry])
    assert all("⚑" in cell for cell in table.rows[0][3:5]) and "⚑" not in table.rows[0][5]
    assert "⚑ marks robust accuracy" in table.caption and "gradient vanishes" in table.caption
    assert "Flags measured" not in table.caption
    assert [sum("⚑" in cell for cell in row) for row in record_page.metrics(entry).rows] == [0, 1, 1]
    assert entry.path and examine(entry.path, DataAtHand()).outcome == OK
    rows = {name: values.copy() for name, values in entry.rows().items()}
    rows["flag_zero_gradients"][1] = 0
    assert list(plugins.suite.configure(EPS).plugin.row_faults(rows))


def test_time_is_that_of_all_passes_through_each_form_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass of a tile takes a second here, a gradient ten."""
    monkeypatch.setattr(timing, "seconds", lambda call: 10.0 if "gradient" in call.__code__.co_names else 1.0)
    changes = {"methods": ("test-one-time+adaptive:steps=3,draws=2",), "denoiser": "test-tiny", "every": 300}
    job = prepare(replace(SPEC, **{**changes, "suite": "digits-adversarial"}), tmp_path)
    suite: Any = job.suite
    (pair,) = job.pairs
    per_image, once = suite.attack_seconds(pair, lambda batch: BatchViews(batch, job.denoiser, job.tiles, 0))
    transfer, bpda, eot, judge = 101 * 10 + 3, 6 * 10, 6 * 10, 2 * 10 * 4
    assert per_image == pytest.approx((transfer + bpda + eot + judge) / 2), "two images a tile"
    looks = (1 + 3 + 5 + 3) * 10 + 2
    assert once == pytest.approx(63 * 10 + looks + eot + 2 * eot + transfer), "one tile, and pgd-eot of twice the steps"


def test_progress_tells_that_flags_are_measured(tmp_path: Path) -> None:
    seen: list[loop.Progress] = []
    run(tmp_path, {"keep_images": False, "every": 75}, report=seen.append)
    flags = [tick for tick in seen if tick.stage]
    assert {tick.stage for tick in flags} == {"flags of test-means, test-two"}
    shares = [tick.done / tick.total for tick in flags]
    assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares) and sum(0.2 < s < 0.9 for s in shares) > 9
    assert seen.index(flags[-1]) < next(place for place, tick in enumerate(seen) if not tick.stage)


def test_an_attack_on_noise_that_a_plain_classifier_lacks_says_what_to_take() -> None:
    suite = plugins.suite.configure("digits-adversarial").plugin
    axis = plugins.AXES["attack"]
    with pytest.warns(Notice, match=r"rand averages 20 draws .* Take --attack autoattack"):
        suite.check([axis.configure("autoattack:version=rand").plugin], None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        suite.check([axis.configure(text).plugin for text in ("autoattack", "pgd", "test-one-time+pgd:draws=5")], None)


def test_flags_that_an_interrupted_run_stored_are_not_measured_again(small: RunRecord) -> None:
    rows = small.rows()
    stored = {name: torch.from_numpy(rows[name].copy()) for name in flagging.COLUMNS}
    for column in stored.values():
        column[0] = 0  # an image that it had not begun
    again = flagging.columns(None, stored, len(rows["id"]))  # type: ignore[arg-type]
    assert all(np.array_equal(again[name].numpy()[1:], rows[name][1:], equal_nan=True) for name in flagging.COLUMNS)


def test_draws_that_judge_are_refused_to_attacks() -> None:
    seen = MethodClassifier(OneTime(), TiledClassifier(Means(), Tiles(2)), None, Tiles(2), 0, ("a",))
    assert attacker(seen).drawn(JUDGED - 1).draw == JUDGED - 1 and seen.drawn(JUDGED).draw == JUDGED
    with pytest.raises(HarnessError, match="draws from 1,048,576 on judge"):
        attacker(seen).of([0]).drawn(3).drawn(JUDGED)
    many = plugins.AXES["attack"].configure("test-one-time+pgd:steps=2000,draws=600").plugin
    with pytest.raises(HarnessError, match="fewer steps, restarts or draws"):
        plugins.suite.configure("digits-adversarial").plugin.tally([many], torch.zeros(1, 3, 32, 32), 10)


def test_calls_that_attacks_state_are_those_that_they_make() -> None:
    image, threat = torch.rand(1, 3, 8, 8), ThreatModel("linf", 0.1)
    texts = ("apgd-ce:steps=5,restarts=2", "apgd-dlr:steps=5", "apgd-t:steps=5,targets=2", "fab-t:steps=5,targets=2")
    for text in (*texts, "square:queries=9,restarts=2"):
        attack = plugins.attack.configure(text).plugin
        forward, backward = counted(attack, image, 10, threat)
        stated = attack.calls(threat)
        assert stated[1] == backward and 0 <= stated[0] - forward <= 4, text


def test_a_list_of_validation_images_is_taken_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_dataset("digits", "test")
    file = tmp_path / "ids.txt"
    file.write_text(f"n01440764/{data.ids[7]}.JPEG\nn01440764/{data.ids[3]}.JPEG\n")
    build = plugins.suite["imagenet-adversarial"].build
    monkeypatch.setattr(build, "test_images", lambda self: data)
    suite = build(ids=str(file))
    (condition,) = suite.conditions()
    assert suite.open(condition, 0).ids == (data.ids[3], data.ids[7])
    assert (condition.name, condition.size, suite.every, build().every) == ("linf 4/255", 2, 1, 10)
    file.write_text("n01440764/ILSVRC2012_val_00000293.JPEG\n")
    with pytest.raises(HarnessError, match=r"names 'ILSVRC2012_val_00000293', which is not among the 600 images"):
        build(ids=str(file)).open(condition, 0)
    file.write_text("\n \n")
    with pytest.raises(HarnessError, match=r"ids.txt names no image\. Write one published name a line"):
        build(ids=str(file)).conditions()
    file.write_text("a/x.JPEG\na/y.JPEG\na/x.JPEG\n")
    with pytest.raises(HarnessError, match=r"names 'x' more than once, as 1 of its 2 images\. Keep one line"):
        build(ids=str(file)).conditions()


def test_flags_of_a_list_are_measured_on_its_first_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_dataset("digits", "test")
    build = plugins.suite["imagenet-adversarial"].build
    monkeypatch.setattr(build, "test_images", lambda self: data)
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(data.ids[:40]))
    (pair,) = prepare(replace(SPEC, suite="digits-adversarial"), tmp_path).pairs
    for suite, positions in ((build(ids=str(file)), range(20)), (build(), range(0, 200, 10))):
        (flagged,) = suite.prepare([pair], lambda batch: None, tmp_path, lambda stage: None)
        method = flagged.method
        assert flagging.looked_at(pair, method.data, method.every) == positions


def test_records_name_what_they_are_replayed_from(small: RunRecord) -> None:
    assert small.path
    values = json.loads(small.path.read_text())
    assert values["spec"]["gradient_tile"] == 2 and values["suite"] == EPS and values["aside"] == "attack test-two"
