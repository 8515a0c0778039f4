"""The trainer: formulas, resume, and what it writes about itself."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT, save_every_step
from PIL import Image
from torch import nn

from harness import cli, plugins
from harness.base import files, noise
from harness.base.errors import Notice
from harness.base.files import file_sha256
from harness.data import ArrayDataset
from harness.diffusion.lookup import find_denoiser
from harness.models.checkpoint import write_checkpoint
from harness.models.lookup import find_classifier
from harness.train import run as training
from harness.train.build import build
from harness.train.engine.optimize import learning_rate
from harness.train.engine.parallel import World
from harness.train.engine.state import State
from harness.train.loop import RunMode, Trained, TrainingProgress, train
from harness.train.objectives.classification import Classification, Clean
from harness.train.objectives.denoising import NoisePrediction
from harness.train.objectives.diffaug import DiffAug
from harness.train.objectives.joint import ReadOnlyNetwork
from harness.train.objectives.reverse import Reverse
from harness.train.resolve import default_denoiser, resolve
from harness.train.spec import TrainSpec
from harness.train.step import Step
from harness.types import Dataset, HarnessError, Weights

CARDS = ROOT / "registry" / "checkpoints"


def spec(**changes: Any) -> TrainSpec:
    return resolve(TrainSpec(**{"model": "vit", "epochs": 3, "batch_size": 8, "lr": 1e-3, "warmup": 1, **changes}))


def go(
    settings: TrainSpec,
    data: Dataset,
    out: Path,
    stop_at: int = 0,
    report: Callable[[TrainingProgress], None] | None = None,
) -> Trained:
    """Train; killed after `stop_at` steps, if that is given."""

    def stopping(progress: TrainingProgress) -> None:
        if report:
            report(progress)
        if stop_at and progress.step == stop_at:
            raise KeyboardInterrupt

    out.mkdir(exist_ok=True)
    torch.manual_seed(0)
    return train(build(settings, data, World())[0], out, RunMode(report=stopping))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"diffaug": True, "diffusion": "digits"},
        {"model": "unet", "ema": 0.9},
        {
            "model": "resnet",
            "augmix": True,
            "deepaugment": "autoencoder",
            "diffaug": True,
            "dtype": "bfloat16",
            "accumulate": 2,
        },
    ],
)
def test_a_killed_training_ends_like_an_undisturbed_one(
    settings: dict[str, Any], few: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of the second epoch, after the warm-up; what the kill interrupted is done again."""
    save_every_step(monkeypatch)
    twelve = ArrayDataset("digits", few.ids[:12], few.pixels[:12], few.labels[:12], 10, few.geometry)
    short = spec(epochs=2, batch_size=4, **settings)
    undisturbed = go(short, twelve, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        go(short, twelve, tmp_path / "killed", stop_at=5)
    starts: list[int] = []
    resumed = go(short, twelve, tmp_path / "killed", report=lambda progress: starts.append(progress.start))
    assert undisturbed.steps == resumed.steps == 6 and set(starts) == {4}
    for (name, a), b in zip(
        undisturbed.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


@pytest.fixture(scope="module")
def finished(few: ArrayDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """The folder and the outcome of a training of one epoch, with a line of its log for every second step."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.train.engine.log.EVERY", 2)
        return folder, go(spec(epochs=1), few, folder)


@pytest.fixture
def folder(finished: tuple[Path, Trained], tmp_path: Path) -> Path:
    """A copy of the folder of the finished training."""
    return Path(shutil.copytree(finished[0], tmp_path / "finished"))


def test_state_of_another_run_is_refused(few: ArrayDataset, folder: Path) -> None:
    with pytest.raises(HarnessError, match="lr"):
        go(spec(epochs=1, lr=1e-2), few, folder)
    with pytest.raises(HarnessError, match=r"inputs \(data_sha256\)"):
        go(spec(epochs=1), replace(few, labels=few.labels.flip(0)), folder)


def test_a_large_state_is_saved_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("harness.train.engine.state.time.monotonic", lambda: clock[0])
    network = nn.Linear(2, 2)
    state = State(tmp_path / "state.pt", {}, network, torch.optim.SGD(network.parameters()), None)

    def slow(*given: Any) -> None:
        clock[0] += 1.0

    monkeypatch.setattr("harness.train.engine.state.torch.save", slow)
    saved = []
    for second in range(1, 131):
        before = clock[0] = max(clock[0], float(second))
        state.save_sometimes(second, {})
        saved += [second] if clock[0] > before else []
    assert saved == [11, 63, 115], "a save of one second every fifty"


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4  # among the weights
    file.write_bytes(data)


def at_step(number: int) -> Callable[[Path], None]:
    """Another number of steps, by a program that knows nothing of the hash."""

    def edit(file: Path) -> None:
        torch.save({**torch.load(file, weights_only=True), "step": number}, file)

    return edit


@pytest.mark.parametrize(
    "damage",
    [flip, at_step(-5), at_step(10**12), lambda file: os.truncate(file, 5000), lambda file: file.write_bytes(b"")],
)
def test_a_damaged_state_is_named_and_training_starts_over(
    damage: Callable[[Path], object], finished: tuple[Path, Trained], few: ArrayDataset, folder: Path
) -> None:
    steps: list[int] = []
    done = finished[1]
    damage(folder / "state.pt")
    damaged = (folder / "state.pt").read_bytes()
    with pytest.warns(Notice, match=rf"{folder}/state.pt is damaged .* anew"):
        again = go(spec(epochs=1), few, folder, report=lambda progress: steps.append(progress.start))
    assert set(steps) == {0}
    assert all(torch.equal(a, b) for a, b in zip(done.network.parameters(), again.network.parameters(), strict=True))
    assert (folder / "state.damaged").read_bytes() == damaged
    assert go(spec(epochs=1), few, folder).steps == 5, "and leaves a good state"


@pytest.mark.parametrize("line", ["[1]", '{"a": 1}', '{"step": "2"}', '{"step": 1}', '{"step": true}', "[" * 100_000])
def test_a_log_is_kept_up_to_a_line_that_is_none(
    line: str, few: ArrayDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.train.engine.log.EVERY", 2)
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(text)["step"] for text in lines] == [2, 4, 5]
    (folder / "log.jsonl").write_text("\n".join([lines[0], line, *lines[1:]]))
    go(spec(epochs=1), few, folder)
    assert (folder / "log.jsonl").read_text().splitlines() == lines[:1]


def test_a_folder_takes_one_training_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is forgotten when its process dies, whatever it leaves."""
    monkeypatch.setattr("harness.base.files.PATIENCE", 0.1)
    program = "import sys, pathlib, harness.base.files as f\nwith f.locked(pathlib.Path(sys.argv[1])): print(), input()"
    other = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout and other.stdout.readline()
    with pytest.raises(HarnessError, match=rf"Another process is at work in {tmp_path}.*--out"):
        training.run(TrainSpec("resnet"), tmp_path, lambda _: pytest.fail("it trained"))
    other.kill()
    other.wait()
    assert (tmp_path / ".lock").exists()
    with files.locked(tmp_path):
        pass


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes beyond `size` bytes fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_last_state(few: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_every_step(monkeypatch)
    state, seen = tmp_path / "state.pt", []

    def note(progress: TrainingProgress) -> None:
        seen.append((progress.start, progress.step))

    with pytest.raises(KeyboardInterrupt):
        go(spec(), few, tmp_path, stop_at=3, report=note)
    saved = state.read_bytes()
    with pytest.raises(HarnessError, match="Cannot write"), file_size_limit(1_000_000):
        go(spec(), few, tmp_path, report=note)
    assert state.read_bytes() == saved and {p.name for p in tmp_path.iterdir()} == {"state.pt", "log.jsonl"}
    go(spec(), few, tmp_path, report=note)
    assert seen == [*[(0, step) for step in range(4)], (2, 2), (2, 3), *[(2, step) for step in range(2, 16)]]


def test_what_cannot_be_written_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="Cannot write"):
        training.run(TrainSpec("resnet"), tmp_path / "file" / "out", lambda _: pytest.fail("it trained"))


def test_diffaug_takes_the_denoiser_of_its_data_set() -> None:
    assert resolve(TrainSpec("resnet", diffaug=True)).diffusion == "digits"
    sized = TrainSpec("resnet", dataset="folder", diffaug=True, diffusion="digits", epochs=1, batch_size=8)
    assert resolve(sized).diffusion == "digits"
    with pytest.raises(HarnessError, match=r"'folder', and none is registered.*--diffusion"):
        resolve(TrainSpec("resnet", dataset="folder", diffaug=True))


def test_diffaug_refuses_a_denoiser_that_does_not_fit(
    few: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser, _ = find_denoiser("digits")
    entries = plugins.architecture._entries
    large = replace(entries["unet"], facts={**entries["unet"].facts, "image_size": 64})
    monkeypatch.setitem(entries, "large", large)
    header = {"kind": "denoiser", "architecture": "large", "arguments": {}, "schedule": "linear", "steps": 1000}
    write_checkpoint(tmp_path / "large.safetensors", denoiser.network, header)
    (tmp_path / "any").touch()
    assert (tmp_path / "large.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode
    with pytest.raises(HarnessError, match=r"large.*64 pixels, 'digits' has 32"):
        build(spec(diffaug=True, diffusion=str(tmp_path / "large.safetensors")), few, World())
    broken = replace(denoiser, network=torch.nn.Linear(3, 3))
    monkeypatch.setattr(
        "harness.train.kinds.frozen.find_denoiser", lambda name, files: (broken, Weights(name, "", "plugin"))
    )
    with pytest.raises(HarnessError, match="'digits' fails on images of 32 pixels"):
        build(spec(diffaug=True, diffusion="digits"), few, World())


@pytest.mark.parametrize("card", sorted(CARDS.glob("*.json")), ids=lambda path: path.stem)
def test_the_command_of_a_shipped_card_means_its_settings(card: Path) -> None:
    """Older cards have the older spelling of ``--architecture``."""
    values = json.loads(card.read_text())
    spec = TrainSpec(**values["spec"])
    assert spec.command() == values["command"].replace(" --model ", " --architecture ")
    assert resolve(spec) == spec


class Tiny(torch.nn.Module):
    """The smallest network that predicts noise."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        return (self.layer(x),)


def harness(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code, stopped.value.code


def test_any_denoiser_architecture_can_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins.architecture, "_entries", dict(plugins.architecture._entries))
    plugins.architecture("tiny", kind="denoiser", image_size=32)(Tiny)
    assert default_denoiser() == "unet"
    settings = ["--epochs", "1", "--batch-size", "399", "--lr", "0.001", "--device", "cpu"]
    mine = tmp_path / "mine.py"
    mine.write_text("")
    harness(monkeypatch, "train", "--model", "tiny", *settings, "--out", str(tmp_path), "--plugin", str(mine))
    shown = " ".join(capsys.readouterr().out.split())
    assert f"--denoiser {tmp_path}" in shown and "RMSE" in shown
    assert json.loads((tmp_path / "card.json").read_text())["command"] == " ".join(
        ["harness", "train", "--architecture", "tiny", *settings, "--plugin", str(mine)]
    )
    assert isinstance(find_denoiser(str(tmp_path))[0].network, Tiny)
    with pytest.raises(HarnessError, match=r"tiny.*--epochs"):
        resolve(TrainSpec("tiny"))
    plugins.architecture("other", kind="denoiser", default=True, image_size=32)(Tiny)
    with pytest.raises(HarnessError, match=r"other, unet.*--architecture"):
        default_denoiser()


def test_a_classifier_is_no_denoiser(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match="2"):
        harness(monkeypatch, "train", "--model", "resnet", "--denoiser")
    assert "that architecture makes a classifier" in " ".join(capsys.readouterr().err.split())


def test_a_folder_s_test_split_has_no_classes_of_its_own(tmp_path: Path) -> None:
    read = plugins.dataset["folder"].build
    with pytest.raises(HarnessError, match="must hold train/CLASS"):
        read("train", tmp_path)
    for place in ("train/cat", "train/dog", "train/.hidden", "test/cat", "test/dog", "test/owl"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (40, 32)).save(tmp_path / place / "1.png")
    with pytest.raises(HarnessError, match=r"1 of its 3 classes in the split 'test' are none of the 2 of .*'owl'"):
        read("test", tmp_path)
    (tmp_path / "test/owl").rename(tmp_path / "owl")
    assert read("test", tmp_path).num_classes == 2


def test_diffaug_is_cross_entropy_on_the_one_step_denoised_image(few: ArrayDataset) -> None:
    """Losses and gradients of a softmax regression from the paper's formulas, in float64 and image by image."""
    denoiser, _ = find_denoiser("digits")
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).double()
    batch = few.read(range(6))
    double = replace(batch, images=batch.images.double())
    objective = Classification([Clean(), DiffAug(Reverse(denoiser), times=(0, 400))])
    terms = objective(network, Step(batch, double, seed=3, epoch=7))
    torch.stack(list(terms.values())).sum().backward()
    losses: dict[str, list[float]] = {"ce": [], "diffaug": []}
    gradient = torch.zeros(10, 3 * 32 * 32, dtype=torch.float64)
    for image, label, sample in zip(double.images, batch.labels, batch.ids, strict=True):
        key: dict[str, Any] = {"seed": 3, "samples": [sample], "draw": 7}
        t = int(noise.integers(0, 400, purpose="diffaug-time", **key))
        eps = noise.gaussian((3, 32, 32), purpose="diffaug-noise", **key).double()
        abar = float(torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[t])
        x_t = abar**0.5 * (2 * image[None] - 1) + (1 - abar) ** 0.5 * eps
        with torch.no_grad():
            predicted = denoiser.network(x_t.float(), torch.tensor([t])).sample.double()
            x0 = (((x_t - (1 - abar) ** 0.5 * predicted) / abar**0.5).clamp(-1, 1) + 1) / 2
            for name, x in (("ce", image.flatten()), ("diffaug", x0.flatten())):
                p = network(x[None]).softmax(1)[0]
                losses[name].append(-float(p[label].log()))
                gradient += torch.outer(p - F.one_hot(label, 10), x) / 6
    for name, each in losses.items():
        assert float(terms[name].detach()) == pytest.approx(sum(each) / 6, rel=1e-5), name
    torch.testing.assert_close(network[1].weight.grad, gradient, rtol=1e-5, atol=1e-6)


def test_diffaug_times_are_uniform_over_the_schedule() -> None:
    samples = [f"s{i}" for i in range(4000)]
    t = noise.integers(0, 1000, seed=0, purpose="diffaug-time", samples=samples).double()
    assert int(t.min()) >= 0 and int(t.max()) <= 999
    assert abs(float(t.mean()) - 499.5) < 4 * 288.7 / 4000**0.5
    assert abs(float(t.std()) - 288.7) < 10


def test_the_denoiser_gets_no_gradient_from_diffaug(few: ArrayDataset) -> None:
    denoiser, _ = find_denoiser("digits")
    denoiser.network.requires_grad_(True)
    step = Step(few.read([0, 1]), few.read([0, 1]), 0, 0)
    images = DiffAug(Reverse(denoiser)).images(step, ReadOnlyNetwork(torch.nn.Identity()))
    assert not images.requires_grad
    assert float(images.min()) >= 0 and float(images.max()) <= 1


def test_noise_prediction_is_zero_for_the_true_noise(few: ArrayDataset) -> None:
    denoiser, _ = find_denoiser("digits")
    batch = few.read(range(4))
    eps = noise.gaussian((3, 32, 32), seed=1, purpose="ddpm-noise", samples=batch.ids, draw=2)
    step = Step(batch, batch, seed=1, epoch=2)

    class Oracle(torch.nn.Module):
        def __init__(self, shift: float) -> None:
            super().__init__()
            self.shift = shift

        def forward(self, x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
            return (eps + self.shift,)

    assert float(NoisePrediction(denoiser)(Oracle(0.0), step)["mse"]) == 0
    assert float(NoisePrediction(denoiser)(Oracle(0.5), step)["mse"]) == pytest.approx(0.25)


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    rates = [learning_rate(spec(epochs=50, warmup=5), e / 10) for e in range(501)]
    assert rates[0] < 0.01 and rates[-1] == pytest.approx(0, abs=1e-12)
    assert max(rates) == pytest.approx(1, abs=0.01) and rates.index(max(rates)) in (49, 50)


def test_a_trained_checkpoint_and_its_card(tmp_path: Path) -> None:
    done = training.run(TrainSpec("resnet", epochs=1, batch_size=399, seed=5), tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card == json.loads(json.dumps(done))
    assert card["steps"] == 3 and card["spec"]["seed"] == 5
    assert card["sha256"] == file_sha256(tmp_path / "model.safetensors")
    assert card["command"] == (
        "harness train --architecture resnet --epochs 1 --batch-size 399 --lr 0.002 --weight-decay 0.05 --warmup 0 "
        "--seed 5 --device cpu"
    )
    network, info = find_classifier(str(tmp_path))
    assert info.sha256 == card["sha256"]
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    low, high = card["clean_accuracy"]["interval"]
    assert 0 <= low <= card["clean_accuracy"]["value"] <= high <= 1
