"""The certification suite: votes, resumes, shards, and that certificates hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from smoothed_attack import smooth_pgd
from torch import Tensor, nn

from harness import plugins
from harness.base import noise
from harness.data import open_dataset
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import find_denoiser
from harness.diffusion.schedule import linear
from harness.evaluation import estimate, loop, part_in_progress
from harness.evaluation.launch.claims import Shard
from harness.evaluation.loop import Progress
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.batch import BatchViews
from harness.metrics import certification
from harness.models.lookup import find_classifier
from harness.models.tiles import Tiles
from harness.report import boards, leaderboard
from harness.report.figures import draw as figures
from harness.types import Batch, BatchTask, Classifier, Columns, HarnessError, Noise, Pair, RunSpec, Weights

SPEC = RunSpec(
    suite="certify:sigma=0.5,1.0,n=60,n0=20",
    models=("digits/resnet", "digits/resnet+diffaug"),
    methods=("denoise", "gaussian"),
    denoiser="digits",
    limit=5,
    every=7,
    tile=20,
)


def certify(out: Path, changes: dict[str, Any] | None = None, **options: Any) -> list[RunRecord]:
    job = prepare(replace(SPEC, **(changes or {})), out)
    return [record.load(path) for path in loop.run(job, **options)]


def outcome(records: list[RunRecord]) -> Any:
    calls = [r.cost.denoiser_calls for r in records]
    return [(r.model.name, r.method, r.samples["sha256"], r.metrics, r.key) for r in records], calls


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    return certify(tmp_path_factory.mktemp("undisturbed"))


def test_batch_size_does_not_change_a_vote(tmp_path: Path, undisturbed: list[RunRecord]) -> None:
    assert outcome(certify(tmp_path, batch_size=3)) == outcome(undisturbed)


def test_shards_make_the_record_of_one_process(tmp_path: Path, undisturbed: list[RunRecord]) -> None:
    assert certify(tmp_path, claims=Shard(1, 2)) == []
    assert outcome(certify(tmp_path, claims=Shard(0, 2))) == outcome(undisturbed)


SEQUENTIAL = {
    "suite": "certify:sigma=0.5,n=200,n0=20,radii=0.25,0.5",
    "models": ("digits/resnet", "digits/resnet+diffaug"),
    "methods": ("gaussian",),
    "denoiser": None,
}


FIXED = {"suite": "certify:sigma=0.5,n=60,n0=20", "methods": ("denoise",)}
VOTED = {
    "suite": "certify:sigma=0.5,n=20,n0=20",
    "models": ("digits/resnet", "digits/resnet+diffaug"),
    "methods": ("denoise-vote:votes=2,steps=2",),
    "limit": 4,
}
"""So dear per draw that images take their rounds one by one."""


@pytest.mark.parametrize("changes", [FIXED, SEQUENTIAL, VOTED], ids=["fixed", "sequential", "voted"])
def test_a_run_resumes_in_the_middle_of_an_image(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every interim state in turn, and gone on: the same votes, and no draw is paid for twice."""
    monkeypatch.setattr("harness.suites.bases.certification.LOOK", 10)
    undisturbed = certify(tmp_path / "undisturbed", changes)
    monkeypatch.setattr(part_in_progress, "KEEP_EVERY", 0.0)
    tmp_path, stops = tmp_path / "disturbed", 0
    while True:
        ticks: list[Progress] = []

        def stop(tick: Progress, ticks: list[Progress] = ticks, first: bool = not stops) -> None:
            assert tick.computed <= tick.done and (first or tick.computed < tick.done), (
                "what is resumed is not computed"
            )
            ticks += [tick] if tick.computed else []
            if len(ticks) == 7:
                raise KeyboardInterrupt

        try:
            records = certify(tmp_path, changes, report=stop, batch_size=(4, 1, 3)[stops % 3])
            break
        except KeyboardInterrupt:
            stops += 1
            assert list(tmp_path.rglob("*.interim")) or stops > 1
    assert stops > 2
    assert outcome(records) == outcome(undisturbed)


def test_a_model_added_to_an_interrupted_run_shares_what_is_left(
    tmp_path: Path, undisturbed: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both classifiers end with the votes of an undisturbed run, the newcomer's first draws made again for it."""
    monkeypatch.setattr(part_in_progress, "KEEP_EVERY", 0.0)
    alone = {"models": ("digits/resnet+diffaug",), "methods": ("gaussian",), "denoiser": None}

    def stop(tick: Progress) -> None:
        if 0.5 < tick.done % 4 < 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certify(tmp_path, alone, report=stop, batch_size=4)
    assert list(tmp_path.rglob("*.interim"))
    records = certify(tmp_path, {**alone, "models": SPEC.models})
    expected = {r.key: r.samples["sha256"] for r in undisturbed if r.method == "gaussian"}
    assert {r.key: r.samples["sha256"] for r in records} == expected


def test_votes_are_those_of_a_plain_loop(undisturbed: list[RunRecord]) -> None:
    """Carlini et al. (2023), algorithm 1, by hand: x_t at the first time as noisy as sigma, one step back, classify."""
    network, _ = find_classifier("digits/resnet")
    denoiser, _ = find_denoiser("digits")
    entries = {r.method: r.rows() for r in undisturbed if r.model.name == "digits/resnet"}
    batch = open_dataset("digits", "test").read([7])
    for method, rows in entries.items():
        votes = np.zeros((2, 10), dtype=int)
        for draw in range(80):
            eps = noise.gaussian((3, 32, 32), seed=0, purpose="smooth/0.5/image", samples=batch.ids, draw=draw)
            x = batch.images + 0.5 * eps
            if method == "denoise":
                abar = float(denoiser.schedule.alpha_bar[259])
                x_t = abar**0.5 * (2 * batch.images - 1) + (1 - abar) ** 0.5 * eps
                with torch.no_grad():
                    predicted = denoiser.network(x_t, torch.tensor([259])).sample
                x = (((x_t - (1 - abar) ** 0.5 * predicted) / abar**0.5).clamp(-1, 1) + 1) / 2
            with torch.no_grad():
                votes[int(draw >= 20), int(network(x).argmax())] += 1
        row = (rows["id"] == batch.ids[0]) & (rows["condition"] == "sigma=0.5")
        # One vote may flip between two classes of nearly equal logits: rounding differs between batches of 1 and 20.
        assert np.abs(rows["selection"][row][0] - votes[0]).sum() <= 2
        assert np.abs(rows["estimation"][row][0] - votes[1]).sum() <= 2


def test_records_hold_all_that_a_certificate_needs(undisturbed: list[RunRecord]) -> None:
    """Counts in, certificates out, at the alpha of the record and at any other."""
    suite = plugins.suite.configure(SPEC.suite).plugin
    for entry in undisturbed:
        rows = entry.rows()
        assert (rows["selection"].sum(1) == 20).all() and (rows["estimation"].sum(1) == 60).all()
        for sigma in (0.5, 1.0):
            here = rows["condition"] == f"sigma={sigma:g}"
            again = certification.certify(rows["selection"][here], rows["estimation"][here], 0.001, sigma)
            assert (again[0] == rows["prediction"][here]).all() and (again[1] == rows["radius"][here]).all()
            loose = certification.certify(rows["selection"][here], rows["estimation"][here], 0.05, sigma)
            assert (loose[1] >= again[1]).all()
        assert rows["radius"].dtype == np.float64
        metrics, _ = suite.summarise(rows)
        assert tuple(metrics) == entry.metrics
        assert entry.metric("certified_accuracy", "best sigma r=0.5")
        best = max(m.value for s in ("0.5", "1") if (m := entry.metric("certified_accuracy", f"sigma={s} r=0.5")))
        assert entry.metric("certified_accuracy", "best sigma r=0.5").value == best  # type: ignore[union-attr]
        bound = entry.metric("certified_accuracy_bound", "sigma=0.5 r=0")
        plain = entry.metric("certified_accuracy", "sigma=0.5 r=0")
        assert bound and plain and bound.value <= plain.value


def test_classifiers_share_every_denoised_draw(undisturbed: list[RunRecord], tmp_path: Path) -> None:
    alone = certify(tmp_path, {"models": ("digits/resnet",), "methods": ("denoise",)})
    assert alone[0].cost.denoiser_calls == 5 * 2 * 80 == undisturbed[0].cost.denoiser_calls
    by_method = {r.method: r for r in undisturbed if r.model.name == "digits/resnet"}
    assert alone[0].samples["sha256"] == by_method["denoise"].samples["sha256"]
    assert by_method["gaussian"].denoiser is None


def test_sequential_certification_stops_and_claims_no_more(tmp_path: Path) -> None:
    """On the same draws: never a claim beyond the fixed-N certificate by more than alpha allows, with fewer draws."""
    changes = {"suite": "certify:sigma=0.5,n=300,n0=100,radii=0.25,0.75", "models": ("digits/resnet+diffaug",)}
    changes |= {"methods": ("gaussian",), "denoiser": None, "limit": 6, "tile": 100}
    (quick,) = certify(tmp_path / "a", changes)
    (fixed,) = certify(tmp_path / "b", {**changes, "suite": "certify:sigma=0.5,n=300,n0=100"})
    few, all_ = quick.rows(), fixed.rows()
    assert (few["selection"] == all_["selection"]).all()
    assert (few["estimation"] <= all_["estimation"]).all()
    assert set(few["radius"]) <= {0.0, 0.25, 0.75}
    reached = np.select([all_["radius"] >= 0.75, all_["radius"] >= 0.25], [0.75, 0.25], 0.0)
    assert (few["radius"] == reached).sum() >= 5
    share = quick.metric("share_of_draws")
    assert share and share.value < 0.8
    assert quick.metric("average_certified_radius") is None
    assert quick.cost.at_most and not fixed.cost.at_most
    again = certify(tmp_path / "c", changes, batch_size=1)
    assert outcome(again) == outcome([quick])
    far = plugins.suite.configure("certify:sigma=0.5,n=300,n0=100,radii=0.25,0.75,1,1.25").plugin
    assert not quick.notes and far.summarise(few)[1] == ["sigma=0.5: 300 draws at alpha=0.001 cannot certify 1, 1.25."]


def test_voting_takes_the_most_frequent_class_of_several_samples(tmp_path: Path) -> None:
    changes = {"suite": "certify:sigma=0.5,n=20,n0=20", "models": ("digits/resnet+diffaug",), "limit": 2}
    (voted,) = certify(tmp_path, {**changes, "methods": ("denoise-vote:votes=3,steps=2",)})
    assert voted.cost.method_calls_per_image == 40 * 3 * 2
    assert voted.cost.denoiser_calls == 2 * 40 * 3 * 2
    assert voted.rows()["estimation"].sum(1).tolist() == [20, 20]
    (once,) = certify(tmp_path, {**changes, "methods": ("denoise-vote:votes=1,steps=1",)})
    (plain,) = certify(tmp_path, {**changes, "methods": ("denoise",)})
    assert (once.rows()["estimation"] == plain.rows()["estimation"]).all(), "one sample of one step is the denoiser"


def under_noise(
    smoother: str, sigma: float, denoiser: Denoiser | None, images: Tensor, draws: int, seed: int
) -> Tensor:
    """Images (draws B, 3, H, W) that a registered smoother makes of (B, 3, H, W) under fresh draws of noise."""
    eps = torch.randn(draws * len(images), *images.shape[1:], generator=torch.Generator().manual_seed(seed))
    procedure = plugins.smoother.configure(smoother).plugin
    return procedure(images.repeat(draws, 1, 1, 1), sigma, denoiser, lambda _: eps, 0)


def certificates(settings: str, smoother: str, classifier: Classifier, images: Tensor, denoiser: Any = None) -> Columns:
    """The suite's columns for images of its first noise level."""
    suite = plugins.suite.configure(f"certify:{settings}").plugin
    batch = Batch(tuple(str(k) for k in range(len(images))), images, torch.zeros(len(images), dtype=torch.int64))
    procedure = plugins.smoother.configure(smoother).plugin
    pair = Pair("test", smoother, classifier, procedure, Weights("test", "", ""))
    views = BatchViews(batch, denoiser, Tiles(500), seed=0)
    *_, last = suite.observe(BatchTask(suite.conditions()[0], views, batch.labels, [pair], [None]))
    return last.columns[0]


class Shrinking(nn.Module):
    """A noise prediction that keeps the denoised image linear in x_t, and far from where it is clipped."""

    def forward(self, x: Tensor, t: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (1.6 * x,)


@pytest.mark.parametrize("smoother", ["gaussian", "denoise"])
def test_a_linear_classifier_is_certified_up_to_its_boundary_and_broken_beyond(smoother: str) -> None:
    """For two classes on both sides of a plane, sigma Phi^-1(p) is exactly the distance to the plane.

    The attack finds the boundary: 5 % before it the vote stays, 5 % behind it is lost. Denoising adds the noise
    of the first time with at least sigma, which makes its radii smaller by the ratio of the two.
    """
    sigma, denoiser = 0.25, Denoiser(Shrinking(), linear()) if smoother == "denoise" else None
    normal = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    normal /= normal.norm()
    distance = sigma * torch.tensor([1.0, 1.5, 2.0])
    images = 0.5 + distance[:, None, None, None] * normal
    labels = torch.zeros(len(images), dtype=torch.int64)

    def classifier(x: Tensor) -> Tensor:
        side = 10 * ((x - 0.5) * normal).flatten(1).sum(1)
        return torch.stack([side, -side], 1)

    def logits(x: Tensor, step: int, draws: int = 16) -> Tensor:
        return classifier(under_noise(smoother, sigma, denoiser, x, draws, step)).unflatten(0, (draws, len(x)))

    abar = float(linear().alpha_bar[linear().time_of(sigma)])
    exact = distance.double() * (sigma / (0.5 * (1 / abar - 1) ** 0.5) if denoiser else 1)
    radius = certificates(f"sigma={sigma},n=2000", smoother, classifier, images, denoiser)["radius"]
    assert (radius <= exact).all() and (radius > 0.85 * exact).all()
    for share, holds in ((0.95, True), (1.05, False)):
        attacked = smooth_pgd(logits, images, labels, share * distance, steps=8)
        assert (attacked - images).flatten(1).norm(dim=1) == pytest.approx(share * distance, rel=1e-3)
        votes = logits(attacked, 1000, 10_000).argmax(-1)
        assert ((votes == labels).double().mean(0) > 0.5).tolist() == [holds] * 3


@pytest.mark.parametrize("smoother", ["gaussian", "denoise"])
def test_pgd_runs_through_the_smoothers_and_breaks_no_digit(tmp_path: Path, smoother: str) -> None:
    """A smoke test: the gradient is exact, also through one step back, and the attack bites.

    Certificates of digits are too small beside their true radii for PGD to come near; the linear test above has power.
    """
    sigma = 0.25
    changes = {"suite": "certify:sigma=0.25,n=100", "models": ("digits/resnet+diffaug",), "methods": (smoother,)}
    denoiser = find_denoiser("digits")[0]
    denoiser.network.requires_grad_(False)
    (entry,) = certify(tmp_path, {**changes, "limit": 4, "every": 5, "tile": 100})
    rows = entry.rows()
    certified = np.flatnonzero(rows["radius"] > 0)
    assert len(certified) >= 3
    network, _ = find_classifier("digits/resnet+diffaug")
    network.requires_grad_(False)
    batch = open_dataset("digits", "test").read([5 * int(i) for i in certified])
    labels, radius = torch.from_numpy(rows["prediction"][certified]), torch.from_numpy(rows["radius"][certified])

    def noisy(images: Tensor, step: int, count: int) -> Tensor:
        return network(under_noise(smoother, sigma, denoiser, images, count, step)).unflatten(0, (count, len(images)))

    attacked = smooth_pgd(lambda x, step: noisy(x, step, 8), batch.images, labels, 0.95 * radius, steps=5)
    moved = (attacked - batch.images).flatten(1).norm(dim=1)
    assert (moved <= 0.95 * radius + 1e-5).all() and (moved > 0.5 * radius).any()
    with torch.no_grad():
        before = noisy(batch.images, 1000, 50).softmax(-1).mean(0).gather(1, labels[:, None])
        after = noisy(attacked, 1000, 50)
    assert (after.softmax(-1).mean(0).gather(1, labels[:, None]) < before).float().mean() > 0.7, "the attack bites"
    votes = torch.nn.functional.one_hot(after.argmax(-1), 10).sum(0)
    assert (votes.argmax(1) == labels).all()


def test_one_class_and_as_many_draws_to_select_as_to_estimate() -> None:
    columns = certificates(
        "sigma=0.5,n=120,n0=120", "gaussian", lambda x: torch.zeros(len(x), 1), torch.rand(2, 3, 4, 4)
    )
    assert columns["selection"].tolist() == columns["estimation"].tolist() == [[120], [120]]
    assert columns["prediction"].tolist() == [0, 0]
    assert columns["radius"].tolist() == [certification.largest_radius(120, 0.001, 0.5)] * 2
    rows = {name: column.numpy() for name, column in columns.items()}
    rows |= {"condition": np.full(2, "sigma=0.5"), "label": np.zeros(2, int)}
    metrics, _ = plugins.suite.configure("certify:sigma=0.5,n=120,n0=120").plugin.summarise(rows)
    assert {m.name: m.value for m in metrics}["smoothed_accuracy"] == 1


def test_a_smoother_need_not_be_hashable(tmp_path: Path) -> None:
    @plugins.smoother("test/mutable")
    @dataclass
    class Mutable:
        votes: ClassVar[int] = 1
        calls: ClassVar[int] = 0
        factor: float = 1.0

        def __call__(self, images: Tensor, sigma: float, denoiser: Any, noise: Noise, vote: int) -> Tensor:
            return images + self.factor * sigma * noise("image")

    changes = {"suite": "certify:sigma=0.5,n=20,n0=20", "models": ("digits/resnet",), "denoiser": None, "limit": 1}
    names = ("test/mutable", "test/mutable:factor=0.5", "gaussian")
    once, half, plain = certify(tmp_path, {**changes, "methods": names})
    assert (once.rows()["estimation"] == plain.rows()["estimation"]).all()
    assert half.method == "test/mutable:factor=0.5"


def test_an_interim_state_that_does_not_fit_is_refused_before_any_draw() -> None:
    """As one that was left under other rounds of draws."""
    seen: list[Tensor] = []

    def classifier(x: Tensor) -> Tensor:
        seen.append(x)
        return torch.zeros(len(x), 10)

    suite, procedure = (
        plugins.suite.configure("certify:sigma=0.5,n=300").plugin,
        plugins.smoother.configure("gaussian").plugin,
    )
    batch = Batch(("a", "b"), torch.rand(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64))
    pair = Pair("test", "gaussian", classifier, procedure, Weights("test", "", ""))
    votes = torch.zeros(2, 10, dtype=torch.int32)
    columns = {"selection": votes.index_fill(1, torch.tensor([0]), 70), "estimation": votes}
    with pytest.raises(HarnessError, match="--fresh"):
        views = BatchViews(batch, None, Tiles(100), seed=0)
        next(suite.observe(BatchTask(suite.conditions()[0], views, batch.labels, [pair], [columns])))
    assert len(seen) == 1, "only to learn how many classes there are"


@pytest.mark.parametrize(("tile", "rows"), [(100, 6.0), (64, (448 + 256) / 100)])
def test_a_dry_run_bills_tiles_that_draws_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: int, rows: float
) -> None:
    """Parts of four and of two images, 100 draws at a time; a second per image in each network and to read."""
    monkeypatch.setattr(estimate, "seconds_of", lambda *_: float(tile))
    for models in (("digits/resnet",), ("digits/resnet", "digits/vit")):
        changes = {"suite": "certify:sigma=0.5,n=1000", "models": models, "methods": ("denoise",)}
        job = prepare(replace(SPEC, **{**changes, "limit": 6, "tile": tile}), tmp_path)
        guess = estimate.estimate(job)
        assert guess.denoiser_calls == 6 * 1100, "one for all classifiers"
        assert guess.classifier_calls == 6 * 1100 * len(models)
        assert guess.seconds == pytest.approx(rows * (1100 * (1 + len(models)) + 1))
        assert not guess.at_most
    shift = prepare(RunSpec("digits", ("digits/resnet",), ("default",), limit=6, tile=tile), tmp_path)
    assert estimate.estimate(shift).seconds == pytest.approx(tile * (1 + 1)), "six images in a tile of their own"


def test_only_certificates_of_one_kind_are_compared(undisturbed: list[RunRecord]) -> None:
    a, b = (r for r in undisturbed if r.method == "gaussian")
    suite = plugins.suite.configure(a.suite).plugin
    table = suite.compare(a, replace(b, suite="certify:sigma=0.5,1,n=60,n0=20"))
    assert "Certified accuracy at radius 0." in table.caption
    at_zero = [r.metric("certified_accuracy", "sigma=0.5 r=0") for r in (a, b)]
    assert table.rows[0][1].startswith(f"{100 * (at_zero[1].value - at_zero[0].value):+.1f} ")  # type: ignore[union-attr]
    for settings in ("n=61,n0=20", "n=60,n0=21", "n=60,n0=20,alpha=0.01", "n=40,n0=20,radii=0,1"):
        with pytest.raises(HarnessError, match="cannot be paired: sigma, n, n0, alpha and radii"):
            suite.compare(a, replace(b, suite=f"certify:sigma=0.5,1,{settings}"))


def test_the_same_class_serves_other_data(tmp_path: Path) -> None:
    from harness.suites.bases.certification import Certification

    @plugins.suite("test/certify-train")
    @dataclass(frozen=True)
    class Train(Certification):
        name: ClassVar[str] = "test/certify-train"
        dataset: ClassVar[str] = "digits"

        def clean(self) -> Any:
            return open_dataset("digits", "train")

    assert plugins.suite.configure("test/certify-train").plugin.n == 10_000
    changes = {"suite": "test/certify-train:sigma=0.25,n=30,n0=10", "methods": ("gaussian",), "denoiser": None}
    assert len(certify(tmp_path, changes)[0].rows()["id"]) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("alpha=0", "alpha=0 .* between 0 and 1"),
        ("n=50", "n=50 .* n0=100"),
        ("n0=0", "n0=0"),
        ("sigma=0", "sigma=0"),
        ("sigma=-0.5,0.5", "sigma=-0.5"),
        ("sigma=0.5,0.5", "different"),
        ("radii=1,0.5", "rising"),
        ("sigma=x", "sigma='x'"),
        ("radii=0.3333333,0.3333334", "read the same in six digits.* change radii"),
        ("sigma=0.2500001", "read the same in six digits.* change sigma"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        plugins.suite.configure(f"certify:{settings}")


def test_a_noise_level_beyond_the_schedule_is_refused_before_the_run(tmp_path: Path) -> None:
    spec = replace(SPEC, suite="certify:sigma=0.25,100,n=30,n0=10", methods=("denoise",))
    with pytest.raises(HarnessError, match="sigma"):
        prepare(spec, tmp_path)
    with pytest.raises(HarnessError, match="--smooth gaussian"):
        prepare(replace(SPEC, denoiser=None), tmp_path)


def test_table_and_figure(undisturbed: list[RunRecord], tmp_path: Path) -> None:
    (entries,) = boards.boards(undisturbed).values()
    table = leaderboard.ranking(entries)
    assert "average certified radius sigma=0.5 (l2)" in table.header
    assert "certified accuracy sigma=1 r=1 (%)" in table.header
    denoised = [replace(r, cost=replace(r.cost, at_most=True)) for r in entries]
    for board, most in ((entries, ""), (denoised, "≤ ")):
        assert {row[-1] for row in leaderboard.ranking(board).rows} == {f"{most}80 / image", "0 / image"}
    files = figures.write(entries, tmp_path)
    assert [f.suffix for f in files] == [".png", ".svg"]
    assert all(file.stat().st_size > 5000 for file in files)
