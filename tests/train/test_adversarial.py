"""Adversarial training: its losses against the authors', averaged weights, generated images, the selected epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import RECORDED_FOLDER, save_every_step
from PIL import Image
from torch import Tensor, nn

from harness import plugins
from harness.cli.commands.train import in_use
from harness.cli.next_commands import attacking
from harness.data import ArrayDataset
from harness.train import run as training
from harness.train.engine.average import WarmedAverage
from harness.train.engine.selection import Selection
from harness.train.input.plan import Plan
from harness.train.input.splits import open_heldout, open_training
from harness.train.kinds import classifier
from harness.train.kinds.architecture import normalisation
from harness.train.kinds.attack import attack_of
from harness.train.kinds.frozen import Frozen
from harness.train.loop import TrainingProgress
from harness.train.objectives import adversarial
from harness.train.objectives.adversarial import Trades, TrainingAttack
from harness.train.objectives.classification import Classification, Clean
from harness.train.objectives.joint import JointForward, ReadOnlyNetwork
from harness.train.resolve import resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Batch, HarnessError, ThreatModel

LOSSES = {
    # Loss and norm of its gradient by the weights, in float64: the authors' code on the recorded network and images.
    "pgd": (0.07304402382669023, 0.6357011538296269),
    "trades": (0.9590722618141195, 0.9784400689965904),
    "trades, l2": (1.2668934289483516, 1.8273677468668748),
    "trades:original": (0.1542580609593867, 1.0695410097574345),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "pgd": {"adversarial": "pgd"},
    "trades": {"adversarial": "trades", "smoothing": 0.1},
    "trades, l2": {"adversarial": "trades", "smoothing": 0.1, "attack_norm": "l2", "attack_eps": "0.5"},
    "trades:original": {"adversarial": "trades:original"},
}


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    with np.load(RECORDED_FOLDER / "trades.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def step(recorded: dict[str, Tensor]) -> Step:
    batch = Batch(tuple(map(str, range(16))), recorded["images"].double() / 255, recorded["labels"])
    return Step(batch, batch, seed=0, epoch=0)


@pytest.fixture
def network(recorded: dict[str, Tensor]) -> nn.Module:
    body = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.SiLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.SiLU(),
        nn.Flatten(), nn.Linear(384, 10),
    ).double()  # fmt: skip
    body.load_state_dict({name[2:]: w.double() for name, w in recorded.items() if name.startswith("w/")})
    return body


@pytest.fixture
def normed() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 10))
    return nn.Sequential(*layers).double()


@pytest.fixture
def tiny() -> None:
    """An architecture with batch statistics that trains in no time, for whoever names it."""

    @plugins.architecture("tiny-normed", image_size=32)
    def build(num_classes: int) -> nn.Module:
        pooled = (nn.AvgPool2d(4), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        return nn.Sequential(*pooled, nn.Linear(144, num_classes))


@pytest.mark.parametrize("form", LOSSES)
def test_losses_and_their_gradients_are_those_of_the_authors(
    form: str, recorded: dict[str, Tensor], step: Step, network: nn.Module, few: ArrayDataset, monkeypatch: Any
) -> None:
    """From the recorded starts: uniform ones are given as the normal noise that they come from."""
    spec = resolve(TrainSpec("resnet", **SETTINGS[form]))
    eps = attack_of(spec).threat.eps
    uniform = torch.special.ndtri((recorded["uniform"].double() / eps + 1) / 2)
    start = uniform if form in ("pgd", "trades") else recorded["normal"].double()
    monkeypatch.setattr(adversarial, "gaussian", lambda step, images: start)
    objective = Classification(classifier.terms(spec, few, Frozen(), "cpu"))
    losses = objective(JointForward(network), step)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    norm = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).norm()
    assert float(total.detach()) == pytest.approx(LOSSES[form][0], rel=0, abs=1e-12)
    assert float(norm) == pytest.approx(LOSSES[form][1], rel=1e-9)
    if form == "trades":
        attacked = objective.terms[1].images(step, ReadOnlyNetwork(network))
        torch.testing.assert_close(attacked, recorded["wang_x_adv"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm, eps", [("linf", 8 / 255), ("l2", 0.5)])
def test_starts_lie_in_the_ball_and_fill_it(norm: str, eps: float) -> None:
    attack = TrainingAttack(ThreatModel(norm, eps), eps / 4)
    starts = attack.in_ball(torch.randn(200, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    if norm == "linf":
        assert float(starts.abs().max()) <= eps and float(starts.std()) == pytest.approx(eps / 3**0.5, rel=0.02)
    else:
        torch.testing.assert_close(starts.flatten(1).norm(dim=1), torch.full((200,), eps))


def test_an_attack_in_training_mode_takes_batch_statistics_and_tracks_none(normed: nn.Module, step: Step) -> None:
    before = {name: tensor.clone() for name, tensor in normed.state_dict().items()}
    normed.train()
    normed[4].p = 0.0
    current = ReadOnlyNetwork(normed).in_training()
    logits, images = current(step.augmented.images), step.augmented.images
    conv = F.conv2d(images, normed[0].weight, normed[0].bias)
    hidden = F.batch_norm(conv, None, None, normed[1].weight, normed[1].bias, training=True)
    torch.testing.assert_close(logits, normed[5](hidden.relu().flatten(1)).detach())
    assert not torch.allclose(logits, ReadOnlyNetwork(normed)(images))
    current.gradient(images, lambda z: z.logsumexp(1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in normed.state_dict().items())
    assert normed.training and normed[1].track_running_stats and normed[1].training


def test_trades_shows_clean_and_attacked_images_in_two_passes(normed: nn.Module, step: Step) -> None:
    """Both with their own batch statistics, both tracked, in one call of the wrapped network."""
    normed[4].p = 0.0
    term = Trades(TrainingAttack(ThreatModel("linf", 0.1), 0.05, 2), beta=3.0, original=True)
    joint = JointForward(normed).train()
    calls: list[int] = []
    joint.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    attacked = term.images(step, ReadOnlyNetwork(joint))
    twin = nn.Sequential(*normed)
    twin.load_state_dict(normed.state_dict())
    losses = Classification([Clean(), term])(joint, step)
    statistics = normed[1].running_mean.clone()
    normed[1].reset_running_stats()
    clean, other = normed(step.augmented.images), normed(attacked)
    torch.testing.assert_close(normed[1].running_mean, statistics)
    expected = F.kl_div(other.log_softmax(1), clean.softmax(1), reduction="batchmean")
    torch.testing.assert_close(losses["adversarial"], 3 * expected)
    assert 16 in calls and set(calls) == {16}


def test_the_divergence_has_a_finite_gradient_where_a_probability_underflows() -> None:
    natural = torch.tensor([[0.0, -2e3, 1.0]], requires_grad=True)
    adversarial.divergence(torch.tensor([[1.0, 0.0, 2.0]]), natural).sum().backward()
    assert natural.grad is not None and natural.grad.isfinite().all()


def test_the_warmed_average_follows_its_formula() -> None:
    plan = Plan(images=40, name="d", seed=0, batch_size=10, epochs=3)  # four steps an epoch
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = WarmedAverage(network, 0.3, warmup=1, plan=plan)
    expected = 0.0
    for number in range(12):
        nn.init.constant_(network[0].weight, float(number))
        network[1].running_mean.fill_(float(number))
        average.update(network, number)
        since = number - 4
        tau = 0.0 if since < 0 else min(0.3, (1 + since) / (10 + since))
        expected = tau * expected + (1 - tau) * number
        assert float(average.module[0].weight.detach()) == pytest.approx(expected, rel=1e-6)
        assert float(average.module[1].running_mean) == max(4 * ((number + 1) // 4) - 1, 0)
    assert average.tau(4) == 0.1 and average.tau(11) == 0.3


def test_generated_images_are_a_fixed_share_of_every_batch() -> None:
    plan = Plan(images=50, name="d", seed=0, batch_size=16, epochs=2, extra=30, fraction=0.7)
    assert (plan.per_epoch, plan.steps) == (4, 8)
    batches = [plan.samples(number)[2] for number in range(8)]
    assert [sum(index >= 50 for index, _ in batch) for batch in batches] == [11] * 8
    assert all(0 <= index < 80 for batch in batches for index, _ in batch)
    for epoch in (batches[:4], batches[4:]):  # repetitions tell draws of one image apart
        drawn = [sample for batch in epoch for sample in batch]
        assert len(set(drawn)) == len(drawn) == 64
        assert len({index for index, _ in drawn if index < 50}) == 20
    assert batches[0] != batches[4]
    whole = replace(plan, passes=2, world=2)
    shares = [[replace(whole, rank=rank).samples(turn)[2] for rank in (0, 1)] for turn in (0, 1)]
    assert [*shares[0][0], *shares[0][1], *shares[1][0], *shares[1][1]] == batches[0]
    longer = Plan(images=20, name="d", seed=0, batch_size=16, epochs=1, extra=5, fraction=0.1)
    drawn = [sample for number in range(2) for sample in longer.samples(number)[2]]
    assert len(set(drawn)) == 32 and {index for index, turn in drawn if index < 20} == set(range(20))


@pytest.fixture
def generated(tmp_path: Path, few: ArrayDataset) -> Path:
    """A folder of images as `harness generate` writes them: three of each of the ten classes."""
    for label in range(10):
        folder = tmp_path / "generated" / str(label)
        folder.mkdir(parents=True)
        for k in range(3):
            Image.fromarray(few.pixels[k].permute(1, 2, 0).numpy()).save(folder / f"{k}.png")
    return tmp_path / "generated"


def test_a_killed_adversarial_training_ends_like_an_undisturbed_one(
    tiny: None, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_every_step(monkeypatch)
    spec = TrainSpec(
        "tiny-normed", limit=40, epochs=4, batch_size=12, warmup=1, ema=0.9, ema_form="wang", adversarial="trades",
        attack_steps=2, data_extra=(str(generated),), extra_as="fraction", extra_fraction=0.5, select="pgd-2",
        select_images=10,
    )  # fmt: skip

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 8:
            raise KeyboardInterrupt

    undisturbed = training.run(spec, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        training.run(spec, tmp_path / "killed", stop)
    resumed = training.run(spec, tmp_path / "killed")
    assert resumed["sha256"] == undisturbed["sha256"] and resumed["selection"] == undisturbed["selection"]
    chosen, card = undisturbed["selection"], json.loads((tmp_path / "killed" / "card.json").read_text())
    assert (card["data"]["images"], card["steps"], chosen["images"], len(chosen["history"])) == (60, 12, 10, 4)
    shares = [share for _, share in chosen["history"]]
    last_best = max(range(4), key=lambda k: (shares[k], k))
    assert chosen["epoch"] == last_best + 1 and chosen["robust_accuracy"]["value"] == shares[last_best]
    assert card["name"] == "digits-tiny-normed+trades+attack-steps-2+limit-40"
    assert "--adversarial trades --attack-eps 8/255 --attack-steps 2 --attack-step 2/255 --beta 5.0" in card["command"]


class Scripted(nn.Module):
    """A network that is right on as many of ten images as its one number says, whatever the attack does."""

    def __init__(self) -> None:
        super().__init__()
        self.right = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        wrong = (torch.arange(len(images)) >= self.right).double()
        return torch.stack([1 - wrong, wrong], 1) + 0 * images.flatten(1).sum(1, keepdim=True)


def test_the_best_epoch_is_kept_and_of_equal_ones_the_later(few: ArrayDataset) -> None:
    ten = ArrayDataset("d", few.ids[:10], few.pixels[:10], torch.zeros(10, dtype=torch.int64), 2, few.geometry)
    choice = Selection(ten, TrainingAttack(ThreatModel(), 2 / 255, 1), "pgd-1", seed=0)
    network = Scripted()
    for epoch, right in enumerate([4, 7, 7, 5], 1):
        nn.init.constant_(network.right, right)
        choice.look(network, 10 * epoch, epoch)
    assert float(choice.weights["right"]) == 7 and choice.facts()["step"] == 30
    assert choice.facts()["robust_accuracy"]["value"] == 0.7
    again = Selection(ten, choice.attack, "pgd-1", seed=0)
    again.load_state_dict(choice.state_dict())
    assert again.facts() == choice.facts()


def test_held_out_images_are_balanced_and_not_trained_on() -> None:
    spec = TrainSpec("resnet", adversarial="pgd", select="pgd-40")
    heldout, rest = open_heldout(spec), open_training(spec)
    assert heldout is not None and not set(heldout.ids) & set(rest.ids)
    assert (len(heldout.ids), len(rest.ids)) == (119, 1078)
    counts = torch.bincount(heldout.labels)
    assert int(counts.max() - counts.min()) <= 1


PGD: dict[str, Any] = {"adversarial": "pgd"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({**PGD, "attack_eps": "8"}, "--attack-eps: eps=8 is larger.*8/255"),
    ({**PGD, "attack_eps": "8/0"}, "--attack-eps: '8/0' is no number"),
    ({**PGD, "attack_eps": "nan"}, "--attack-eps: 'nan' is not finite"),
    ({**PGD, "attack_step": "-1/255"}, "--attack-step -1/255 must be above 0"),
    ({**PGD, "attack_norm": "l1"}, "--attack-norm 'l1' must be one of linf, l2"),
    ({"adversarial": "fgsm"}, "--adversarial 'fgsm' must be one of pgd, trades"),
    ({"attack_eps": "8/255"}, "--attack-eps means nothing without --adversarial"),
    ({**PGD, "beta": 5.0}, "--beta weighs the KL of TRADES"),
    ({**PGD, "augmix": True}, "--augmix compares views with the clean image"),
    ({**PGD, "loss": "bce"}, "--loss bce trains sigmoids"),
    ({**PGD, "select": "apgd"}, "give pgd and a number of steps, such as pgd-40"),
    ({"select": "pgd-40"}, "--select means nothing without --adversarial"),
    ({**PGD, "select_images": 5}, "--select-images means nothing without --select"),
    ({"data_extra": ("x",), "extra_as": "fraction"}, "need one another"),
    ({"data_extra": ("x",), "extra_fraction": 0.5}, "need one another"),
    ({**PGD, "select": "pgd-40", "data_extra": ("x",)}, "would train on their copies"),
    ({"ema_form": "wang"}, "--ema-form means nothing without --ema"),
]


@pytest.mark.parametrize("settings, message", REFUSED)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        resolve(TrainSpec("resnet", **settings))


def test_defaults_are_those_of_the_authors() -> None:
    def of(**settings: Any) -> tuple[str, str, float | None]:
        spec = resolve(TrainSpec("resnet", **settings))
        assert resolve(spec) == spec
        return spec.attack_eps, spec.attack_step, spec.beta

    assert of(adversarial="pgd") == ("8/255", "2/255", None)
    assert of(adversarial="pgd", attack_norm="l2") == ("128/255", "15/255", None)
    assert of(adversarial="trades", attack_eps="4/255") == ("4/255", "1/255", 5.0)
    assert of(adversarial="trades", attack_norm="l2", attack_steps=20) == ("128/255", "12.8/255", 5.0)
    assert of(adversarial="trades:original") == ("0.031", "0.007", 6.0)
    assert resolve(TrainSpec("resnet")).settings.keys().isdisjoint({"attack_eps", "beta", "select", "ema_form"})


def test_trainings_of_other_attacks_have_other_names() -> None:
    def name(**settings: Any) -> str:
        return resolve(TrainSpec("resnet", **settings)).name

    assert (
        name(adversarial="pgd")
        == name(adversarial="pgd", attack_eps="8/255", attack_step="2/255")
        == "digits-resnet+pgd"
    )
    assert name(adversarial="trades:original", attack_eps="0.031", beta=6.0) == "digits-resnet+trades-original"
    assert name(adversarial="pgd", attack_eps="16/255") == "digits-resnet+pgd+attack-eps-16-255"
    other = {"attack_norm": "l2", "attack_steps": 7, "attack_step": "0.1", "beta": 2.5}
    words = "attack-norm-l2+attack-steps-7+attack-step-0.1+beta-2.5"
    assert name(adversarial="trades", **other) == f"digits-resnet+trades+{words}"


def test_a_training_ends_with_the_command_that_attacks_its_result_at_its_eps() -> None:
    def command(**settings: Any) -> str:
        return attacking(resolve(TrainSpec("resnet", **settings)), Path("runs/x"))

    start, eps = "harness run --suite digits-adversarial:", "norm=l2,eps=0.5"
    assert command(adversarial="pgd") == f"{start}eps=8/255 --model runs/x"
    assert command(adversarial="trades", attack_norm="l2", attack_eps="0.5") == f"{start}{eps} --model runs/x"
    assert plugins.suite.configure(f"digits-adversarial:{eps}").text == "digits-adversarial:norm=l2"
    assert command() == ""


def test_the_wide_resnet_has_the_published_size_and_sees_images_as_they_are() -> None:
    with torch.device("meta"):
        whole = plugins.architecture["wrn/28-10"].build(num_classes=10)
    assert sum(p.numel() for p in whole.parameters()) == 36_479_194  # 36.5M: Zagoruyko & Komodakis, table 5
    small = plugins.architecture["wrn/10-1"].build(num_classes=3).eval()
    images = torch.rand(2, 3, 32, 32)
    assert small.forward_features(images).shape == (2, 64, 8, 8)
    pooled = small.forward_head(small.forward_features(images), pre_logits=True)
    torch.testing.assert_close(small.get_classifier()(pooled), small(images))
    assert normalisation(small) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    for name in ("wrn/27-10", "wrn/28"):
        with pytest.raises(HarnessError, match="a depth of 6 n"):
            plugins.architecture[name].build(num_classes=10)


def test_the_plan_of_a_training_names_defaults_of_its_attack_and_alignment_and_no_others() -> None:
    attacked = in_use(resolve(TrainSpec("resnet", adversarial="pgd", align="dra")))
    assert (attacked["attack_norm"], attacked["attack_steps"], attacked["align_weight"]) == ("linf", 10, 0.5)
    assert not {"beta", "select", "select_images", "ema_form"} & attacked.keys()
    plain = resolve(TrainSpec("resnet"))
    assert in_use(plain) == plain.settings
