"""``harness generate`` as users type it, and its like from Python."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, harness

import harness as package
from harness import plugins
from harness.api.generation.generate import specification
from harness.models.lookup import bundled
from harness.types import HarnessError

BASE = ("generate", "--dataset", "tiny", "--steps", "ddim5", "--samples", "6", "--tile", "4", "--device", "cpu")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The option that registers the tiny networks; results go to a temporary folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "plugin" / "tiny_generation.py"
    file.parent.mkdir()
    shutil.copy(ROOT / "tests" / "tiny_generation.py", file)
    return ["--plugin", str(file)]


def test_a_command_leaves_samples_a_grid_and_a_card_and_computes_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: list[str], tmp_path: Path
) -> None:
    code, printed = harness(monkeypatch, capsys, *BASE, *tiny)
    assert code == 0 and "--guide classifier:scale=2 --model tiny/noisy --denoiser tiny" in printed
    (folder,) = (tmp_path / "runs" / "generate").iterdir()
    assert f"6 samples in runs/generate/{folder.name}: samples.npz, grid.png, card.json. 30 denoiser calls" in printed
    card = json.loads((folder / "card.json").read_text())
    assert card["calls"] == {"denoiser": 30, "denoiser gradients": 0, "classifier": 30, "classifier gradients": 30}
    before = (folder / "samples.npz").stat().st_mtime_ns
    code, printed = harness(monkeypatch, capsys, *BASE, *tiny, "--images", "--batch-size", "1")
    assert code == 0 and "images/" in printed and (folder / "samples.npz").stat().st_mtime_ns == before
    assert len(list(folder.glob("images/*/*.png"))) == 6
    again = shlex.split(card["command"])[1:]
    assert harness(monkeypatch, capsys, *again, *tiny)[0] == 0 and len(list(folder.parent.iterdir())) == 1
    code, printed = harness(monkeypatch, capsys, *BASE, *tiny, "--seed", "1")
    assert code == 0 and len(list(folder.parent.iterdir())) == 2, "other settings, another folder"


def test_a_dry_run_tells_calls_and_time_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: list[str], tmp_path: Path
) -> None:
    code, printed = harness(
        monkeypatch, capsys, *BASE, *tiny, "--model", "tiny/da", "--guide", "classifier", "--dry-run"
    )
    assert code == 0
    for part in ("ddim, 5 steps, t = 800 to 0", "not yet on disk 6", "calls: denoiser gradients 30", "time 0.0 min"):
        assert part in printed
    assert not (tmp_path / "runs").exists()


def test_the_ancestral_sampler_takes_its_usual_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: list[str]
) -> None:
    arguments = ["--guide", "none", "--sampler", "ancestral", "--steps", "", "--dry-run"]
    code, printed = harness(monkeypatch, capsys, *BASE, *tiny, *arguments)
    assert code == 0 and "ancestral, 250 steps, t = 999 to 0" in printed


def test_a_denoiser_states_its_usual_noise(tiny: list[str], tmp_path: Path) -> None:
    settings = {"dataset": "digits", "device": "cpu", "guide": "none"}
    etas = [specification(settings, "ddim", "", eta, "auto").sampling.eta for eta in (None, 0.0, 0.5)]
    assert etas == [1.0, 0.0, 0.5]
    assert specification(settings, "ancestral", "", None, "auto").sampling.eta == 0
    file = tmp_path / "digits.safetensors"
    shutil.copy(bundled("digits-unet")[0], file)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"others")
    by_path = [specification({**settings, "denoiser": str(path)}, "ddim", "", None, "auto") for path in (file, other)]
    assert [spec.sampling.eta for spec in by_path] == [1.0, 0.0], "the same weights by path, and other ones"


def test_shards_share_a_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: list[str], tmp_path: Path
) -> None:
    shared = ["--out", str(tmp_path / "shared")]
    assert "Other shards make the rest" in harness(monkeypatch, capsys, *BASE, *tiny, *shared, "--shard", "0/2")[1]
    assert "6 samples in" in harness(monkeypatch, capsys, *BASE, *tiny, *shared, "--shard", "1/2")[1]
    harness(monkeypatch, capsys, *BASE, *tiny, "--out", str(tmp_path / "whole"))
    assert (tmp_path / "shared" / "samples.npz").read_bytes() == (tmp_path / "whole" / "samples.npz").read_bytes()


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--guide", "classifier:scale=nan"], ["scale='nan' is not a valid float"]),
        (["--guide", "classifier:strength=2"], ["strength", "scale"]),
        (
            ["--guide", "classifier", "--model", "tiny/plain"],
            ["tiny/plain knows no diffusion time", "--guide denoised"],
        ),
        (["--guide", "classifier", "--model", "tiny/others"], ["other classes than the data"]),
        (["--guide", "classifier", "--model", "none.safetensors"], ["none.safetensors"]),
        (["--guide", "none", "--denoiser", "tiny-needs-class"], ["conditional=true"]),
        (["--steps", "ddim300"], ["no whole stride gives 300 of 1000"]),
        (["--steps", "many"], ["steps='many'", "ddim25"]),
        (["--denoiser", "digits"], ["was trained on images of 32 pixels, and these have 8"]),
        (["--variance", "learned"], ["variance=learned is for the sampler ancestral"]),
        (["--classes", "ant,wasp"], ["no class is called 'wasp'"]),
        (["--shard", "2/2"], ["--shard '2/2'"]),
        (["--shard", "0/2", "--fresh"], ["--fresh deletes what the other shards"]),
        (["--dataset", "tinny"], ["Unknown data set 'tinny'"]),
        (["--eta", "2"], ["--eta"]),
    ],
)
def test_mistakes_end_with_one_message_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: list[str],
    tmp_path: Path,
    arguments: list[str],
    parts: list[str],
) -> None:
    code, printed = harness(monkeypatch, capsys, *BASE, *tiny, *arguments)
    assert code == 2 and "Traceback" not in printed
    for part in parts:
        assert part in printed
    assert not (tmp_path / "runs").exists()


def test_a_published_classifier_of_other_classes_is_refused_before_its_weights_are_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.api.weight_files.fetch", lambda *_: pytest.fail("a download begins"))
    code, printed = harness(monkeypatch, capsys, "generate", "--guide", "denoised", "--model", "resnet50")
    assert code == 2 and "trained on the classes of 'imagenet', not on those of 'digits'" in printed


def test_python_gives_the_samples_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: list[str], tmp_path: Path
) -> None:
    harness(monkeypatch, capsys, *BASE, *tiny, "--guide", "denoised:scale=2", "--classes", "cat,ant")
    settings = {"dataset": "tiny", "steps": "ddim5", "samples": 6, "tile": 4, "device": "cpu", "progress": False}
    guide = plugins.guide["denoised"].build(scale=2.0)
    samples = package.generate(guide, classes=["cat", "ant"], **settings)
    assert samples.labels.tolist() == [2, 0] * 3 and samples.classes == ("ant", "bee", "cat")
    (folder,) = (tmp_path / "runs" / "generate").iterdir()
    assert samples.folder.name == folder.name, "nothing was computed again"
    assert (np.load(folder / "samples.npz")["arr_0"] == samples.images).all() and samples.images.shape == (6, 8, 8, 3)
    assert capsys.readouterr().err == ""
    with pytest.raises(HarnessError, match="must be the text of a guide"):
        package.generate(object(), **settings)
