"""The certification suite: votes, resumes, shards, and that certificates hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import certification, evaluate, leaderboard, noise, plots, plugins, record, weights
from harness.attack import smooth_pgd
from harness.data import open_dataset
from harness.evaluate import Tick
from harness.record import RunRecord
from harness.types import HarnessError, RunSpec

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
    job = evaluate.prepare(replace(SPEC, **(changes or {})), out)
    return [record.load(path) for path in evaluate.run(job, **options)]


def outcome(records: list[RunRecord]) -> Any:
    calls = [r.cost.denoiser_calls for r in records]
    return [(r.model.name, r.method, r.samples["sha256"], r.metrics, r.key) for r in records], calls


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    return certify(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_does_not_change_a_vote(tmp_path: Path, undisturbed: list[RunRecord], batch_size: int) -> None:
    assert outcome(certify(tmp_path, batch_size=batch_size)) == outcome(undisturbed)


def test_shards_make_the_record_of_one_process(tmp_path: Path, undisturbed: list[RunRecord]) -> None:
    assert certify(tmp_path, shard=(1, 2)) == []
    assert outcome(certify(tmp_path, shard=(0, 2))) == outcome(undisturbed)


SEQUENTIAL = {
    "suite": "certify:sigma=0.5,n=300,n0=20,radii=0.25,0.5",
    "models": ("digits/resnet", "digits/resnet+diffaug"),
    "methods": ("gaussian",),
    "denoiser": None,
}


@pytest.mark.parametrize("changes", [{"methods": ("denoise",)}, SEQUENTIAL], ids=["fixed", "sequential"])
def test_a_run_resumes_in_the_middle_of_an_image(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every interim state in turn, and gone on: the same votes, and no draw is paid for twice."""
    monkeypatch.setattr("harness.suites.certify.LOOK", 10)
    undisturbed = certify(tmp_path / "undisturbed", changes)
    monkeypatch.setattr(evaluate, "KEEP_EVERY", 0.0)
    tmp_path, stops = tmp_path / "disturbed", 0
    while True:
        ticks: list[Tick] = []

        def stop(tick: Tick, ticks: list[Tick] = ticks, first: bool = not stops) -> None:
            assert tick.computed <= tick.done and (first or tick.computed < tick.done), (
                "what is resumed is not computed"
            )
            ticks += [tick] if tick.computed else []
            if len(ticks) == 4:
                raise KeyboardInterrupt

        try:
            found = certify(tmp_path, changes, report=stop, batch_size=(4, 1, 3)[stops % 3])
            break
        except KeyboardInterrupt:
            stops += 1
            assert list(tmp_path.rglob("*.interim")) or stops > 1
    assert stops > 5
    assert outcome(found) == outcome(undisturbed)


def test_a_model_added_to_an_interrupted_run_shares_what_is_left(
    tmp_path: Path, undisturbed: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both classifiers end with the votes of an undisturbed run, the newcomer's first draws made again for it."""
    monkeypatch.setattr(evaluate, "KEEP_EVERY", 0.0)
    alone = {"models": ("digits/resnet+diffaug",), "methods": ("gaussian",), "denoiser": None}

    def stop(tick: Tick) -> None:
        if 0.5 < tick.done % 4 < 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certify(tmp_path, alone, report=stop, batch_size=4)
    assert list(tmp_path.rglob("*.interim"))
    found = certify(tmp_path, {**alone, "models": SPEC.models})
    expected = {r.key: r.samples["sha256"] for r in undisturbed if r.method == "gaussian"}
    assert {r.key: r.samples["sha256"] for r in found} == expected


def test_votes_are_those_of_a_plain_loop(undisturbed: list[RunRecord]) -> None:
    """Carlini et al. (2023), algorithm 1, by hand: x_t at the first time as noisy as sigma, one step back, classify."""
    network, _ = weights.find_classifier("digits/resnet")
    denoiser, _ = weights.find_denoiser("digits")
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
    suite = plugins.suite.configure(SPEC.suite)[1]
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
    changes = {"suite": "certify:sigma=0.5,n=500,n0=100,radii=0.25,0.75", "models": ("digits/resnet+diffaug",)}
    changes |= {"methods": ("gaussian",), "denoiser": None, "limit": 6, "tile": 100}
    (quick,) = certify(tmp_path / "a", changes)
    (whole,) = certify(tmp_path / "b", {**changes, "suite": "certify:sigma=0.5,n=500,n0=100"})
    few, all_ = quick.rows(), whole.rows()
    assert (few["selection"] == all_["selection"]).all()
    assert (few["estimation"] <= all_["estimation"]).all()
    assert set(few["radius"]) <= {0.0, 0.25, 0.75}
    reached = np.select([all_["radius"] >= 0.75, all_["radius"] >= 0.25], [0.75, 0.25], 0.0)
    assert (few["radius"] == reached).sum() >= 5
    share = quick.metric("share_of_draws")
    assert share and share.value < 0.8
    assert quick.metric("average_certified_radius") is None
    again = certify(tmp_path / "c", changes, batch_size=1)
    assert outcome(again) == outcome([quick])


def test_voting_takes_the_most_frequent_class_of_several_samples(tmp_path: Path) -> None:
    changes = {"suite": "certify:sigma=0.5,n=20,n0=20", "models": ("digits/resnet+diffaug",), "limit": 2}
    (voted,) = certify(tmp_path, {**changes, "methods": ("denoise-vote:votes=3,steps=2",)})
    assert voted.cost.method_calls_per_image == 40 * 3 * 2
    assert voted.cost.denoiser_calls == 2 * 40 * 3 * 2
    assert voted.rows()["estimation"].sum(1).tolist() == [20, 20]
    (once,) = certify(tmp_path, {**changes, "methods": ("denoise-vote:votes=1,steps=1",)})
    (plain,) = certify(tmp_path, {**changes, "methods": ("denoise",)})
    assert (once.rows()["estimation"] == plain.rows()["estimation"]).all(), "one sample of one step is the denoiser"


@pytest.mark.parametrize(("smoother", "images", "draws"), [("gaussian", 8, 16), ("denoise", 5, 8)])
def test_no_certified_image_is_broken_within_its_radius(tmp_path: Path, smoother: str, images: int, draws: int) -> None:
    """PGD with expectation over the noise at 95 % of the radius: the vote of fresh draws stays with the certificate.

    Through the denoiser the gradient is exact: one step back is differentiable.
    """
    sigma, time = 0.25, 145
    changes = {"suite": "certify:sigma=0.25,n=200", "models": ("digits/resnet+diffaug",), "methods": (smoother,)}
    denoiser = weights.find_denoiser("digits")[0]
    denoiser.network.requires_grad_(False)
    (entry,) = certify(tmp_path, {**changes, "limit": images, "every": 5, "tile": 100})
    rows = entry.rows()
    certified = np.flatnonzero(rows["radius"] > 0)
    assert len(certified) >= 4
    network, _ = weights.find_classifier("digits/resnet+diffaug")
    network.requires_grad_(False)
    batch = open_dataset("digits", "test").read([5 * int(i) for i in certified])
    labels, radius = torch.from_numpy(rows["prediction"][certified]), torch.from_numpy(rows["radius"][certified])

    def noisy(images: Tensor, step: int, count: int) -> Tensor:
        eps = torch.randn(count, *images.shape, generator=torch.Generator().manual_seed(step)).flatten(0, 1)
        x = images.repeat(count, 1, 1, 1)
        if smoother == "gaussian":
            seen = x + sigma * eps
        else:
            t = torch.full((len(x),), time)
            seen = denoiser.predict_x0(denoiser.diffuse(x, t, eps), t)
        return network(seen).unflatten(0, (count, len(images)))

    attacked = smooth_pgd(lambda x, step: noisy(x, step, draws), batch.images, labels, 0.95 * radius, steps=8)
    moved = (attacked - batch.images).flatten(1).norm(dim=1)
    assert (moved <= 0.95 * radius + 1e-5).all() and (moved > 0.5 * radius).any()
    with torch.no_grad():
        before = noisy(batch.images, 1000, 200).softmax(-1).mean(0).gather(1, labels[:, None])
        after = noisy(attacked, 1000, 200)
    assert (after.softmax(-1).mean(0).gather(1, labels[:, None]) < before).float().mean() > 0.7, "the attack bites"
    votes = torch.nn.functional.one_hot(after.argmax(-1), 10).sum(0)
    assert (votes.argmax(1) == labels).all()


def test_the_same_class_serves_other_data(tmp_path: Path) -> None:
    from harness.suites.certify import Certification

    @plugins.suite("test/certify-train")
    @dataclass(frozen=True)
    class Train(Certification):
        name: ClassVar[str] = "test/certify-train"
        dataset: ClassVar[str] = "digits"

        def clean(self) -> Any:
            return open_dataset("digits", "train")

    assert plugins.suite.configure("test/certify-train")[1].n == 10_000
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
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        plugins.suite.configure(f"certify:{settings}")


def test_a_noise_level_beyond_the_schedule_is_refused_before_the_run(tmp_path: Path) -> None:
    spec = replace(SPEC, suite="certify:sigma=0.25,100,n=30,n0=10", methods=("denoise",))
    with pytest.raises(HarnessError, match="sigma"):
        evaluate.prepare(spec, tmp_path)
    with pytest.raises(HarnessError, match="--smooth gaussian"):
        evaluate.prepare(replace(SPEC, denoiser=None), tmp_path)


def test_table_and_figure(undisturbed: list[RunRecord], tmp_path: Path) -> None:
    (entries,) = leaderboard.boards(undisturbed).values()
    table = leaderboard.ranking(entries)
    assert "average certified radius sigma=0.5 (l2)" in table.header
    assert "certified accuracy sigma=1 r=1 (%)" in table.header
    files = plots.write(entries, tmp_path)
    assert [f.suffix for f in files] == [".png", ".svg"]
    assert all(file.stat().st_size > 5000 for file in files)
