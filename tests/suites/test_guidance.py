"""Suite `guidance` on tiny networks: pairs of guides and classifiers, the same bits anyhow, metrics from the table."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import harness, outcome
from matplotlib.text import Text
from small_denoisers import gaussian_data
from torch import Tensor, nn

from harness import generate, plugins
from harness.api.requests import requests
from harness.api.rerun.records import rerun_record
from harness.api.rerun.verdict import IDENTICAL
from harness.base.files import file_sha256
from harness.data import open_dataset
from harness.diffusion.denoiser import Denoiser
from harness.evaluation import loop, part_in_progress
from harness.evaluation.estimate import estimate
from harness.evaluation.launch.claims import Shard
from harness.evaluation.loop import Progress
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.exchange import record_checks
from harness.exchange.inputs import DataAtHand
from harness.exchange.subject import Examined
from harness.exchange.verify import OK, examine
from harness.generation.requested import RequestedSamples
from harness.generation.score import extractors
from harness.generation.score.extractors import find_extractor
from harness.generation.score.features import features_of
from harness.generation.score.images import of_dataset, open_set
from harness.generation.score.scoring import ScoreSpec, score
from harness.metrics.generation.moments import frechet_distance, moments
from harness.models.published.locate import WeightFiles
from harness.report.leaderboard import spell_calls
from harness.suites.bases.generated.scoring import FEATURES
from harness.suites.bases.guided import GuidedGeneration
from harness.types import NO_CLASSIFIER, Geometry, HarnessError, RunSpec, Unsuited, Weights

SUITE = "guidance:samples=14,steps=ddim4,judge=tiny/judge,extractor=tiny/other"
GUIDES = ("none", "classifier:scale=20", "denoised:scale=5,interval=200,800")
SPEC = RunSpec(suite=SUITE, models=(NO_CLASSIFIER, "tiny/da", "tiny/plain"), methods=GUIDES, denoiser="tiny", tile=4)


class Tiny(nn.Module):
    """A random classifier of three features."""

    def __init__(self, seed: int, width: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.inner, self.outer = nn.Linear(12, width), nn.Linear(width, 10)

    def features(self, images: Tensor) -> Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
        return self.inner(4 * pooled - 2).tanh()

    def head(self, features: Tensor) -> Tensor:
        return self.outer(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class TinyNoisy(Tiny):
    """The same, which knows the time and looks at the denoised image."""

    denoised = True

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        assert x0_hat is not None
        return self((x_t + 1) / 4 + x0_hat / 2)


class ByClass(nn.Module):
    """A conditional noise prediction, in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.class_embedding = nn.Embedding(11, 1)

    def forward(self, x: Tensor, t: Tensor, return_dict: bool, class_labels: Tensor) -> tuple[Tensor]:
        return (x * (0.9 - class_labels[:, None, None, None] / 50),)


@pytest.fixture(autouse=True)
def tiny(forgotten: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(GuidedGeneration, "part", 4)
    for seed, name in enumerate(("judge", "other", "plain")):
        plugins.model(f"tiny/{name}")(lambda seed=seed: Tiny(seed))
    plugins.model("tiny/da", noisy=True)(lambda: TinyNoisy(7))
    plugins.model("tiny/wide")(lambda: Tiny(8, width=20))
    plugins.denoiser("tiny")(lambda: (gaussian_data(0.5), Weights("tiny", "0" * 64, "plugin")))
    conditional = Denoiser(ByClass(), gaussian_data(0.5).schedule, null_label=10)
    plugins.denoiser("tiny-conditional")(lambda: (conditional, Weights("tiny-conditional", "1" * 64, "plugin")))


def run(out: Path, spec: RunSpec = SPEC, **options: Any) -> list[RunRecord]:
    return [record.load(path) for path in loop.run(prepare(spec, out), **options)]


def planned(**changes: Any) -> RunSpec:
    settings = {**vars(SPEC), "suite": [SUITE], "models": [], "every": None, "device": "cpu", **changes}
    guides = settings.pop("methods")
    (request,) = requests(settings, {}, {plugins.guide.kind: guides}, False, WeightFiles())
    return request.spec


UNDISTURBED: list[RunRecord] = []
"""Records of `SPEC`, run once in this process."""


@pytest.fixture
def undisturbed(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    if not UNDISTURBED:
        UNDISTURBED.extend(run(tmp_path_factory.mktemp("undisturbed")))
    return UNDISTURBED


def test_rows_are_classifiers_under_guides_and_one_without_a_classifier(undisturbed: list[RunRecord]) -> None:
    rows = [(r.model.name, r.method) for r in undisturbed]
    assert rows == [
        (NO_CLASSIFIER, "none"),
        ("tiny/da", "classifier:scale=20"),
        ("tiny/da", "denoised:scale=5,interval=200,800"),
        ("tiny/plain", "denoised:scale=5,interval=200,800"),
    ]
    assert {r.status for r in undisturbed} == {"complete"}
    assert undisturbed[0].coverage == "14 of 14 images"
    images = [r.rows(*FEATURES)["judge_features"] for r in undisturbed]
    assert images[0].shape == (14, 3) and images[0].dtype == np.float16
    assert all((images[0] != other).any() for other in images[1:]), "every guide changes the images"
    assert (undisturbed[0].rows()["label"] == np.arange(14) % 10).all()


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 7}])
def test_batch_size_does_not_change_a_bit(
    tmp_path: Path, undisturbed: list[RunRecord], options: dict[str, Any]
) -> None:
    assert outcome(run(tmp_path / "other", **options)) == outcome(undisturbed)


def test_order_shards_and_a_stop_do_not_change_a_bit(
    tmp_path: Path, undisturbed: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    backwards = replace(SPEC, models=SPEC.models[::-1], methods=SPEC.methods[::-1])
    assert outcome(run(tmp_path / "backwards", backwards)) == outcome(undisturbed)
    assert run(tmp_path / "shards", claims=Shard(1, 2)) == []
    assert outcome(run(tmp_path / "shards", claims=Shard(0, 2))) == outcome(undisturbed)
    monkeypatch.setattr(part_in_progress, "KEEP_EVERY", 0.0)
    ticks: list[Progress] = []

    def stop(tick: Progress) -> None:
        ticks.append(tick)
        if tick.computed >= 5.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", batch_size=4, report=stop)
    assert ticks[-1].done == 6, "two of four rows of the second batch"
    again = run(tmp_path / "stopped", batch_size=4, report=ticks.append)
    assert ticks[-1].computed == 14 - 6, "rows that were done are not sampled again"
    assert outcome(again) == outcome(undisturbed)
    assert [r.cost.denoiser_calls for r in again] == [r.cost.denoiser_calls for r in undisturbed]


def test_a_smaller_number_of_samples_begins_with_the_same_ones(tmp_path: Path, undisturbed: list[RunRecord]) -> None:
    few = run(tmp_path / "few", replace(SPEC, limit=5, models=("tiny/da",), methods=("classifier:scale=20",)))[0]
    assert (few.status, few.coverage) == ("partial", "5 of 14 images (the first ones)")
    whole = undisturbed[1].rows()
    for name, values in few.rows().items():
        assert (values == whole[name][:5]).all()


def test_metrics_follow_from_the_table_and_each_has_an_interval(undisturbed: list[RunRecord]) -> None:
    for entry in undisturbed:
        suite = plugins.suite.configure(entry.suite).plugin
        metrics, notes = suite.summarise(entry.rows())
        assert list(metrics) == list(entry.metrics) and set(notes) <= set(entry.notes)
        assert all(m.interval[0] <= m.value <= m.interval[1] and m.n >= 14 for m in metrics)
        assert not list(suite.row_faults(entry.rows()))
    names = {m.name for m in undisturbed[0].metrics}
    own = ["fd", "fd_infinity", "kid", "inception_score", "precision", "recall", "density", "coverage", "memorised"]
    assert names >= {f"{name}[tiny/{judge}]" for name in own for judge in ("judge", "other")}
    assert {"accuracy", "log_probability"} <= names
    assert all(undisturbed[0].metric(*column) for column in undisturbed[0].columns)
    text = " ".join(undisturbed[0].notes)
    assert "By tiny/judge, 600 real test images beside the training images have: fd 0.0" in text
    assert "are expected to have: density 1, coverage" in text


def test_a_metric_that_needs_more_samples_is_left_out_with_a_note(undisturbed: list[RunRecord]) -> None:
    suite = plugins.suite.configure(SUITE).plugin
    few = max(suite.judges.needed(extractor) for extractor in suite.judges.both)
    metrics, notes = suite.summarise({name: values[:few] for name, values in undisturbed[0].rows().items()})
    names = {metric.name for metric in metrics}
    assert "fd[tiny/judge]" in names and "fd_infinity[tiny/judge]" not in names
    assert any(note.startswith(f"No fd_infinity[tiny/judge]: Frechet distance at infinity: {few}") for note in notes)


def test_a_record_is_verified_and_repeated(tmp_path: Path, undisturbed: list[RunRecord]) -> None:
    entry = undisturbed[1]
    assert entry.path
    verdict = examine(entry.path, DataAtHand())
    assert verdict.outcome == OK, verdict
    assert rerun_record(entry, tmp_path / "again", WeightFiles()).outcome == IDENTICAL


def test_edited_rows_are_noticed(undisturbed: list[RunRecord]) -> None:
    rows = undisturbed[1].rows()
    suite = plugins.suite.configure(SUITE).plugin
    flipped = {**rows, "prediction": np.where(rows["log_probability"] < np.log(0.1), rows["label"], -1)}
    assert "below one in the number of classes" in " ".join(suite.row_faults(flipped))
    assert "above 0" in " ".join(suite.row_faults({**rows, "log_probability": rows["log_probability"] * 0 + 1}))


def test_the_key_holds_the_settings_of_the_sampler_and_the_judges(tmp_path: Path) -> None:
    def key(**settings: str) -> str:
        text = ",".join(f"{name}={value}" for name, value in settings.items())
        spec = RunSpec(f"{SUITE},{text}" if text else SUITE, (NO_CLASSIFIER,), ("none",), "tiny", tile=4)
        job = prepare(spec, tmp_path)
        return job.key(job.pairs[0])

    ancestral = {"sampler": "ancestral"}
    keys = [key(), key(eta="0.5"), key(**ancestral), key(**ancestral, variance="fixed_large")]
    text = plugins.suite.configure(f"{SUITE},sampler=ancestral,eta=1").text
    assert "eta" not in text, "the default of eta is nothing that a user chose"
    assert len(set(keys)) == len(keys)
    first = prepare(SPEC, tmp_path).key(prepare(SPEC, tmp_path).pairs[0])
    plugins.model("tiny/judge2")(lambda: Tiny(9))
    other = SUITE.replace("judge=tiny/judge", "judge=tiny/judge2")
    job = prepare(RunSpec(other, (NO_CLASSIFIER,), ("none",), "tiny", tile=4), tmp_path)
    assert first == keys[0] != job.key(job.pairs[0])
    assert job.suite.facts()["judge"].startswith("tiny/judge2 ")


def test_weights_named_by_file_serve_judge_and_extractor_and_are_recorded_by_hash(tmp_path: Path) -> None:
    def filed(name: str) -> Any:
        def build(weight_files: WeightFiles) -> tuple[nn.Module, Weights]:
            path = weight_files.find(name)
            if path is None:
                raise HarnessError(f"No weights of {name!r} here.")
            return Tiny(int(path.read_text())), Weights(name, file_sha256(path), path.name)

        return build

    for name in ("filed-judge", "filed-extractor"):
        plugins.model(name)(filed(name))
    suite = SUITE.replace("tiny/judge", "filed-judge").replace("tiny/other", "filed-extractor")
    spec = RunSpec(suite, (NO_CLASSIFIER,), ("none",), "tiny", tile=4)
    keys = []
    for seed in ("3", "4"):
        files = {"filed-judge": tmp_path / f"judge{seed}", "filed-extractor": tmp_path / "extractor"}
        for path in files.values():
            path.write_text(seed if "judge" in path.name else "5")
        job = prepare(spec, tmp_path / "out", weight_files=WeightFiles(files))
        facts = job.suite.facts()
        for role, name in (("judge", "filed-judge"), ("extractor", "filed-extractor")):
            assert facts[role] == f"{name} {file_sha256(files[name])[:16]}"
        keys.append(job.key(job.pairs[0]))
    assert keys[0] != keys[1]
    with pytest.raises(HarnessError, match="No weights of 'filed-judge' here"):
        prepare(spec, tmp_path / "out")


def test_guides_that_ask_no_classifier_are_paired_with_none_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(methods=["none", "cfg"]).models == (NO_CLASSIFIER,)
    assert planned(methods=["none"], models=["tiny/da"]).models == (NO_CLASSIFIER,)
    assert planned(methods=["none", "classifier"], models=["tiny/da"]).models == (NO_CLASSIFIER, "tiny/da")
    assert planned(methods=["classifier"], models=["tiny/da"]).models == ("tiny/da",)
    assert planned(methods=["classifier"], models=[NO_CLASSIFIER]).models == ()
    printed = capsys.readouterr()
    assert not printed.out + printed.err, "nothing is left out that belongs together"


def test_time_conditioned_classifiers_are_in_no_line_up_of_plain_images() -> None:
    plugins.model("digits/test-noisy", dataset="digits", noisy=True)(lambda: TinyNoisy(7))
    plain = planned(suite=["digits"], methods=[]).models
    assert "digits/vit" in plain and "digits/test-noisy" not in plain and NO_CLASSIFIER not in plain
    assert set(plugins.suite.configure("guidance").plugin.models) >= {"digits/encoder+noisy", "digits/encoder+da"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("tiny/judge",), "methods": ("denoised",)}, "tiny/judge is the judge and would guide.*judge=NAME"),
        ({"models": ("tiny/plain",), "methods": ("classifier",)}, "tiny/plain knows no diffusion time"),
        ({"models": ("none",), "methods": ("cfg",)}, "cfg needs a denoiser that predicts with and without a class"),
        ({"models": (), "methods": ("classifier",)}, "--model none, which is no classifier. Name one"),
        ({"methods": ("none",), "models": ("none",), "suite": SUITE + ",eta=2"}, "eta=2 must lie between 0 and 1"),
        ({"suite": SUITE + ",sampler=ancestral,eta=0"}, "eta=0 is for the sampler ddim, not for ancestral"),
        ({"suite": SUITE + ",variance=fixed_large"}, "variance=fixed_large is for the sampler ancestral, not for ddim"),
        ({"models": ("none",), "methods": ("none:scale=4",)}, "never steers: scale and interval decide nothing"),
        ({"models": ("none",), "methods": ("cfg:conditional=true",)}, "cfg always tells the class"),
        (
            {"models": ("tiny/da",), "methods": ("classifier:interval=751,999",)},
            "its interval holds none of .* 4 times",
        ),
        ({"every": 4}, "--every 4: .* meets 5 of them alone. Take --every 7"),
        ({"suite": SUITE.replace("ddim4", "ddim999")}, "steps=ddim999: no whole stride gives 999"),
        ({"suite": SUITE.replace("tiny/other", "tiny/wide")}, "samples=14: too few .* 20 features of tiny/wide.* 21"),
        ({"suite": SUITE.replace("tiny/other", "tiny/judge")}, "judge and extractor are both tiny/judge"),
        ({"suite": SUITE.replace("tiny/judge", "inception:weights=a.pth")}, "does not know the classes of digits"),
        ({"methods": ("classifier:scale=nan",)}, "nan"),
        ({"models": ("none",), "suite": "digits", "methods": ("default",)}, "--model none, which is no classifier"),
    ],
)
def test_what_cannot_work_is_refused_before_any_sampling(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        prepare(replace(SPEC, **changes), tmp_path)


class StandIn(Tiny):
    """In the place of Inception: `dimension` features, and logits of classes of its own."""

    def __init__(self, dimension: int) -> None:
        super().__init__(3, dimension)
        self.dimension = dimension

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


@pytest.fixture
def inception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of as many features as the file's name says; the file called 3.pth is the published one."""

    def network(weights: Path, device: str) -> tuple[StandIn, str]:
        return StandIn(int(weights.stem)), ("6726825d" if weights.stem == "3" else "01234567") + "0" * 56

    monkeypatch.setattr(extractors, "inception_network", network)
    monkeypatch.setattr(extractors, "version", lambda library: "1")


@pytest.mark.usefixtures("inception")
def test_the_distance_by_the_user_s_inception_is_fid_where_the_file_is_the_published_one(tmp_path: Path) -> None:
    own = ("precision", "recall", "density", "coverage", "memorised", "inception_score", "kid")
    for features, name, distance in ((3, "inception", "fid"), (4, "inception-01234567", "fd[inception-01234567]")):
        suite = SUITE.replace("tiny/other", f"inception:weights={features}.pth")
        (entry,) = run(tmp_path, replace(SPEC, suite=suite, models=(NO_CLASSIFIER,), methods=("none",)))
        names = {metric.name for metric in entry.metrics}
        assert names >= {distance, distance.replace("fid", "fid_infinity"), *(f"{each}[{name}]" for each in own)}
        assert "fd[tiny/judge]" in names and (distance == "fid" or "fid" not in names)
        assert (distance, "generated") in entry.columns and entry.metric(distance)
        assert entry.rows(*FEATURES)["extractor_features"].shape == (14, features)


@pytest.mark.usefixtures("inception")
def test_too_few_samples_for_inception_are_refused_with_the_number_that_is_needed(tmp_path: Path) -> None:
    suite = SUITE.replace("tiny/other", "inception:weights=2048.pth").replace("samples=14", "samples=600")
    message = "samples=600 and 1197 training images: too few .* 2048 features of inception.* at least 2049"
    with pytest.raises(HarnessError, match=message):
        prepare(replace(SPEC, suite=suite), tmp_path)


@pytest.mark.usefixtures("inception")
def test_a_reference_archive_gives_fid_its_statistics_and_all_other_metrics_its_images(tmp_path: Path) -> None:
    """Its folder is in no key; the hash of its content is."""
    rng = np.random.default_rng(3)
    target = moments(rng.normal(size=(60, 3)))
    pixels = open_dataset("digits", "test").read(range(40)).images
    arrays = {"arr_0": (pixels * 255).round().byte().permute(0, 2, 3, 1).numpy()}
    suite = SUITE.replace("tiny/other", "inception:weights=3.pth")
    spec = replace(SPEC, models=(NO_CLASSIFIER,), methods=("none",))
    entries = {}
    for place, more in (("a", {}), ("b", {}), ("both", {"mu": target.mean, "sigma": target.covariance})):
        (tmp_path / place).mkdir()
        file = tmp_path / place / "reference.npz"
        np.savez(file, **arrays, **more)
        (entries[place],) = run(tmp_path, replace(spec, suite=f"{suite},reference={file}"))
    (entries["train"],) = run(tmp_path, replace(spec, suite=suite))
    assert entries["a"].key == entries["b"].key and len({entry.key for entry in entries.values()}) == 3
    assert entries["a"].board == entries["b"].board != entries["both"].board
    assert entries["both"].facts["reference"].startswith("40 reference images ")
    assert "statistics" in entries["both"].facts["reference"] and "statistics" not in entries["a"].facts["reference"]
    features = entries["both"].rows(*FEATURES)["extractor_features"]
    expected = frechet_distance(moments(features.astype(np.float64)), target)
    assert entries["both"].metric("fid").value == pytest.approx(expected, rel=1e-9)  # type: ignore[union-attr]
    for name in ("fd[tiny/judge]", "kid[tiny/judge]", "kid[inception]"):
        a, both, train = (entries[place].metric(name).value for place in ("a", "both", "train"))  # type: ignore[union-attr]
        assert a == both != train, name
    assert entries["a"].metric("fid") != entries["both"].metric("fid")
    suite_of_both = plugins.suite.configure(entries["both"].suite).plugin
    assert any("real test images beside the reference images have: fid " in note for note in entries["both"].notes)
    paired = {row["metric"]: row["difference"] for row in suite_of_both.compare(entries["both"], entries["both"]).data}
    assert paired["precision[inception]"] == 0


@pytest.mark.usefixtures("inception")
def test_statistics_alone_serve_fid_and_the_training_images_all_other_metrics(tmp_path: Path) -> None:
    target = moments(np.random.default_rng(3).normal(size=(60, 3)))
    file = tmp_path / "statistics.npz"
    np.savez(file, mu=target.mean, sigma=target.covariance)
    spec = replace(SPEC, models=(NO_CLASSIFIER,), methods=("none",))
    suite = SUITE.replace("tiny/other", "inception:weights=3.pth") + f",reference={file}"
    (entry,) = run(tmp_path, replace(spec, suite=suite))
    (train,) = run(tmp_path, replace(spec, suite=SUITE.replace("tiny/other", "inception:weights=3.pth")))
    same = {metric.name for metric in entry.metrics if metric == train.metric(metric.name)}
    assert {metric.name for metric in entry.metrics} - same == {"fid", "fid_infinity"}
    assert entry.facts["reference"].startswith(train.facts["reference"] + ", statistics ")


@pytest.mark.usefixtures("inception")
@pytest.mark.parametrize(
    "arrays, extractor, message",
    [
        ({}, "tiny/other", "No file at reference="),
        ({"mu": np.zeros(3), "sigma": np.eye(3)}, "tiny/other", "statistics of Inception features alone"),
        ({"mu": np.zeros(4), "sigma": np.eye(4)}, "inception:weights=3.pth", "mu has 4 dimensions, inception has 3"),
        ({"arr_0": np.zeros((9, 8, 8, 3), np.uint8)}, "tiny/other", "images of 8 x 8 pixels, the samples have 32 x 32"),
        ({"arr_0": np.zeros((4, 32, 32, 3), np.uint8)}, "tiny/other", "4 reference images: too few"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused_before_any_sampling(
    tmp_path: Path, arrays: dict[str, np.ndarray], extractor: str, message: str
) -> None:
    file = tmp_path / "reference.npz"
    if arrays:
        np.savez(file, **arrays)
    with pytest.raises(HarnessError, match=message):
        prepare(replace(SPEC, suite=SUITE.replace("tiny/other", extractor) + f",reference={file}"), tmp_path)


def test_scoring_the_samples_of_the_same_guide_gives_the_numbers_of_the_suite(
    tmp_path: Path, undisturbed: list[RunRecord]
) -> None:
    """Those of the suite are of features in float16: of rounded ones they are the same to the bit."""
    entry = undisturbed[1]
    settings: dict[str, Any] = {"steps": "ddim4", "eta": 1.0, "tile": 4, "device": "cpu", "progress": False}
    generate("classifier:scale=20", model="tiny/da", denoiser="tiny", samples=14, out=tmp_path, **settings)
    judges = ("tiny/judge", "tiny/other")
    scored = score(ScoreSpec(str(tmp_path / "samples.npz"), extractors=judges, judge="tiny/judge"))
    assert scored.judge
    metrics = [*scored.judge.metrics, *(row.metric for scores in scored.extractors for row in scores.rows)]
    assert {(m.name, m.n, m.unit) for m in metrics} == {(m.name, m.n, m.unit) for m in entry.metrics}
    for metric in metrics:
        expected = entry.metric(metric.name)
        assert expected
        values, own = (expected.value, *expected.interval), (metric.value, *metric.interval)
        assert own == pytest.approx(values, rel=2e-3, abs=2e-3), metric.name
    samples = open_set(tmp_path / "samples.npz").images
    assert samples
    for name, column in zip(judges, FEATURES, strict=True):
        extractor = find_extractor(name, samples)
        rounded = features_of(samples, extractor).astype(np.float16)
        assert np.array_equal(rounded, entry.rows(column)[column])
        reference = features_of(of_dataset(open_dataset("digits", "train"), "digits"), extractor).astype(np.float16)
        for metric in extractor.compared(rounded, reference).metrics():
            assert metric == entry.metric(metric.name)


def test_a_pair_that_does_not_fit_beside_ones_that_do_is_passed_over(tmp_path: Path) -> None:
    """tiny/plain has another guide, and `classifier` another model; `cfg` has none, which a notice says."""
    with pytest.warns(UserWarning, match="left out. --guide cfg needs a denoiser") as notices:
        job = prepare(replace(SPEC, methods=(*GUIDES, "cfg")), tmp_path)
    assert len(notices) == 1
    assert ("tiny/plain", GUIDES[1]) not in {(pair.model, pair.method_name) for pair in job.pairs}
    assert issubclass(Unsuited, HarnessError)


def test_costs_are_counted_before_and_after(tmp_path: Path) -> None:
    conditional = replace(SPEC, denoiser="tiny-conditional", methods=("none", "cfg:scale=2", "classifier"))
    job = prepare(replace(conditional, models=(NO_CLASSIFIER, "tiny/da")), tmp_path)
    guess = estimate(job)
    assert guess.denoiser_calls == 14 * 4 * (1 + 2 + 1)
    assert guess.classifier_calls == guess.classifier_gradients == guess.denoiser_gradients == 14 * 4
    assert guess.judge_calls == 14 * 2 * 3, "judge and extractor look at each image once"
    assert guess.seconds > 0
    assert job.denoiser
    rows: list[int] = []
    job.denoiser.network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    began = time.perf_counter()
    records = [record.load(path) for path in loop.run(job)]
    elapsed = time.perf_counter() - began
    assert sum(rows) * 14 == guess.denoiser_calls * 16, "counted at the network; the last of four tiles is padded"
    costs = [r.cost for r in records]
    assert [cost.denoiser_calls for cost in costs] == [14 * 4, 14 * 8, 14 * 4], "each row has its own"
    assert {cost.pairs for cost in costs} == {1}
    assert sum(cost.seconds for cost in costs) <= elapsed + 0.02, "and its own seconds"
    assert [cost.method_calls_per_image for cost in costs] == [4, 8, 4]
    assert [cost.denoiser_gradients_per_image for cost in costs] == [0, 0, 4]
    assert [(cost.classifier_calls_per_image, cost.classifier_gradients_per_image) for cost in costs] == [
        (0, 0), (0, 0), (4, 4),
    ]  # fmt: skip
    assert [spell_calls(cost) for cost in costs] == ["4 / image", "8 / image", "4 + 4 back / image"]
    assert examine(records[2].path or Path(), DataAtHand()).outcome == OK
    more = replace(records[2], cost=replace(costs[2], denoiser_gradients_per_image=5, classifier_calls_per_image=5))
    said = list(record_checks.cost(Examined(tmp_path / "record.json", {}, more, DataAtHand())))
    assert len(said) == 2 and "makes 5 backward passes of the denoiser per image by the record, 4 by" in said[0]
    some = prepare(replace(SPEC, methods=("denoised:interval=200,800",), models=("tiny/da",)), tmp_path)
    assert estimate(some).at_most


def test_two_rows_are_compared_on_the_same_noise(undisturbed: list[RunRecord]) -> None:
    suite = plugins.suite.configure(SUITE).plugin
    table = suite.compare(undisturbed[0], undisturbed[1])
    differences = {row["metric"].partition(",")[0]: row["difference"] for row in table.data}
    for name in ("accuracy", "log_probability", "fd[tiny/judge]", "precision[tiny/other]"):
        a, b = (entry.metric(name).value for entry in undisturbed[:2])  # type: ignore[union-attr]
        assert differences[name.replace("_", " ")] == pytest.approx(b - a, rel=1e-5)
    a, b = (entry.metric("density[tiny/judge]").value for entry in undisturbed[:2])  # type: ignore[union-attr]
    assert a == b
    assert "density[tiny/judge]" not in differences, "no sample's density differs: no spread, no test"
    assert {row["n"] for row in table.data} == {14}
    same = suite.compare(undisturbed[0], undisturbed[0])
    assert same.data and all(row["difference"] == 0 and row["p"] == 1 for row in same.data)
    assert "log probability" not in {row["metric"] for row in same.data}, "no spread, no test"


def test_contributions_are_the_means_and_the_figure_has_a_line_per_classifier(undisturbed: list[RunRecord]) -> None:
    suite = plugins.suite.configure(SUITE).plugin
    entry = undisturbed[1]
    for metric in ("accuracy", "log_probability"):
        (sample,) = suite.contributions(entry.rows(), metric, "generated")
        assert sample.values.mean() == pytest.approx(entry.metric(metric).value, rel=1e-6)  # type: ignore[union-attr]
    drawn = suite.figure(undisturbed)
    assert set(drawn) == {"judge-accuracy", "coverage"}
    texts = {text.get_text() for text in drawn["coverage"].findobj(Text)}
    assert texts >= {"guidance scale", "coverage (%)", "tiny/da", "tiny/plain"}


def test_requests_are_balanced_and_read_in_any_order() -> None:
    data = RequestedSamples("digits", 23, 10, Geometry(None, 8, "bilinear"))
    assert data.labels.bincount().tolist() == [3, 3, 3, *[2] * 7]
    batch = data.read([20, 3])
    assert batch.ids == ("sample/000020", "sample/000003") and batch.labels.tolist() == [0, 3]
    assert torch.equal(data.read([3]).images[0], batch.images[1])
    assert data.sha256 != RequestedSamples("digits", 24, 10, Geometry(None, 8, "bilinear")).sha256


def test_a_stride_without_a_common_factor_meets_all_classes_alike(tmp_path: Path) -> None:
    job = prepare(replace(SPEC, suite=SUITE.replace("samples=14", "samples=60"), every=3), tmp_path)
    labels = torch.cat([part.data.read(part.indices).labels for part in job.parts])
    assert labels.bincount().tolist() == [2] * 10


def test_the_judge_as_guide_stops_the_command_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--suite", SUITE, "--denoiser", "tiny", "--model", "tiny/judge", "--guide", "denoised"]
    code, printed = harness(monkeypatch, capsys, *arguments, "--out", str(tmp_path))
    assert code == 2 and "tiny/judge is the judge and would guide, too" in printed and "Traceback" not in printed
    assert not list(tmp_path.rglob("*.json"))


def test_the_command_of_a_row_makes_it_and_the_board_shows_it(
    tmp_path: Path,
    undisturbed: list[RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["run", "--suite", SUITE, "--denoiser", "tiny", "--model", "tiny/da", "--tile", "4", "--device", "cpu"]
    guides = ["--guide", "none", "--guide", "classifier:scale=20"]
    code, printed = harness(monkeypatch, capsys, *arguments, *guides, "--out", str(tmp_path))
    assert code == 0 and "left out" not in printed
    records = [record.load(file) for file in sorted(tmp_path.rglob("*.json"))]
    assert outcome(records) == outcome(undisturbed[:2])
    code, printed = harness(monkeypatch, capsys, "leaderboard", "--results", str(tmp_path), "--suite", "guidance")
    assert code == 0 and "real test images" in printed and "classifier:scale=20" in printed
