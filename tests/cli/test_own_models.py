"""``harness run`` on a user's file: options that are short for settings, the canonical text, resuming, comparing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import harness
from torch import nn

from harness.api.requests import stated_models
from harness.evaluation.records import record
from harness.types import HarnessError

pytestmark = pytest.mark.usefixtures("forgotten")

NET = """
from torch import nn
from harness.plugins import architecture

@architecture("mine")
def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""
STATED = "own.pt:architecture=mine,mean=0.5,0.5,0.5,std=0.25,0.25,0.25"


def test_a_file_with_its_architecture_runs_resumes_and_is_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    torch.save({"state_dict": nn.DataParallel(network).state_dict()}, "own.pt")
    Path("net.py").write_text(NET)
    Path("names.txt").write_text("\n".join(map(str, range(10))))
    run = ["run", "--suite", "digits", "--every", "20", "--tta", "default", "--out", "out", "--plugin", "net.py"]
    own = [*run, "--model", "own.pt", "--model", "digits/resnet", "--architecture", "mine"]
    own += ["--mean", "0.5", "--std", "0.25", "--classes", "names.txt"]
    code, text = harness(monkeypatch, capsys, *own)
    assert code == 0 and "cannot be told from guessing among 10 classes" in text
    files = {record.load(file).model.name: file for file in Path("out").glob("*/*.json")}
    name = f"{STATED},classes=names.txt"
    assert files.keys() == {name, "digits/resnet"}
    made = record.load(files[name])
    assert made.spec.models == (name,) and any("guessing" in note for note in made.notes)
    written = files[name].read_bytes()
    # The text of the record is a name as good as the options.
    again = [*run, "--model", name]
    assert harness(monkeypatch, capsys, *again)[0] == 0 and files[name].read_bytes() == written
    code, text = harness(
        monkeypatch, capsys, "compare", name, "digits/resnet:default", "--results", "out", "--suite", "digits"
    )
    assert code == 0 and "digits/resnet" in text


def test_options_reach_the_models_that_take_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own.pt", "other.pt"):
        torch.save({}, name)
    texts = ["own.pt", "other.pt:mean=0.1", "digits/resnet", "timm/resnet18"]
    assert stated_models(texts, {"architecture": "x", "mean": "0.5", "std": None}) == [
        "own.pt:architecture=x,mean=0.5,0.5,0.5",
        "other.pt:architecture=x,mean=0.1,0.1,0.1",
        "digits/resnet",
        "timm/resnet18:mean=0.5,0.5,0.5",
    ]
    assert stated_models(texts, {"mean": None}) == texts
    with pytest.raises(HarnessError, match=r"--architecture x: it is for a file, --model my\.pt"):
        stated_models(["timm/resnet18"], {"architecture": "x"})
    with pytest.raises(HarnessError, match=r"--image-size 32: it is for a file.*--model: none"):
        stated_models([], {"image_size": "32"})
