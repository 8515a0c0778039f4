"""Trainings of several processes under torchrun with gloo, against the same trainings by one process alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ROOT

from harness.models.checkpoint import read_checkpoint

ARCHITECTURES = """
import torch.nn.functional as F
from torch import nn
from harness.plugins import architecture

@architecture("still", image_size=32)
class Still(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(48, num_classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, images):
        return self.head(F.adaptive_avg_pool2d(images, 4).flatten(1))

@architecture("halves", image_size=32)
class Halves(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Linear(48, 24)
        self.fc = nn.Linear(24, num_classes)

    def forward_features(self, images):
        return self.stem(F.adaptive_avg_pool2d(images, 4).flatten(1))

    def forward_head(self, hidden, pre_logits=False):
        return hidden.tanh() if pre_logits else self.fc(hidden.tanh())

    def get_classifier(self):
        return self.fc

    def forward(self, images):
        return self.forward_head(self.forward_features(images))
"""
SCRIPT = """
import os
import sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = [{tests!r}, {tests!r} + "/train"]
from test_terms import FastSign, FeatureMatching
from harness import plugins
from harness.data import Subset
from harness.train.kinds import classifier
from harness.train.run import run
from harness.train.spec import TrainSpec

plugins.discover(Path({plugin!r}))
digits = plugins.dataset["digits"]
plugins.dataset._entries["digits"] = replace(digits, build=lambda split: Subset(digits.build(split), tuple(range(100))))
usual = TrainSpec("still", epochs=1, batch_size=32, lr=1e-3, augment="affine")


def mixed(out):
    run(replace(usual, diffaug=True, augmix=True, adversarial="trades", attack_steps=2), Path(out, "mixed"))


def terms(out):
    own = classifier.terms
    classifier.terms = lambda *arguments: [*own(*arguments), FeatureMatching(), FastSign()]
    run(replace(usual, model="halves", align="dra"), Path(out, "terms"))


def forked(work, rank):
    # Rank and addresses as torchrun gives them, for a process that need not import everything again.
    child = os.fork()
    if not child:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT={port!r})
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


if "torchrun" in sys.argv:
    mixed({two!r})
else:
    children = [forked(lambda: terms({two!r}), rank) for rank in (0, 1)]
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    mixed({one!r})
    terms({one!r})
"""


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same two trainings by one process, in `1`, and by two, in `2`."""
    folder = tmp_path_factory.mktemp("trainings")
    (folder / "architectures.py").write_text(ARCHITECTURES)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = folder / "trainings.py"
    places = {"tests": str(ROOT / "tests"), "plugin": str(folder / "architectures.py"), "port": port}
    script.write_text(SCRIPT.format(**places, one=str(folder / "1"), two=str(folder / "2")))
    # Processes form one group in their life: a second one may wait for ever for the first one's addresses.
    for command in ([str(script)], [*torchrun, str(script), "torchrun"]):
        subprocess.run([sys.executable, *command], check=True, env=environment, capture_output=True)
    return folder


def tensors(trainings: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights of one training, by one process and by two."""
    one, two = (read_checkpoint(trainings / processes / name).tensors for processes in ("1", "2"))
    return one, two


def test_two_processes_are_one_with_the_whole_batch(trainings: Path) -> None:
    """The weights agree to rounding, and one process alone writes."""
    one, two = tensors(trainings, "mixed")
    assert float(one["body.head.weight"].abs().max()) > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)
    cards = [json.loads((trainings / n / "mixed" / "card.json").read_text()) for n in ("1", "2")]
    assert [card["made_with"]["processes"] for card in cards] == [1, 2]
    logs = [(trainings / n / "mixed" / "log.jsonl").read_text().splitlines() for n in ("1", "2")]
    losses = [json.loads(lines[-1])["loss"] for lines in logs]
    assert len(logs[0]) == len(logs[1]) and losses[0] == pytest.approx(losses[1], rel=1e-4, abs=1e-6)


def test_two_processes_with_features_and_gradients_are_one_with_the_whole_batch(trainings: Path) -> None:
    """Features come out of the wrapper's one call, so that their gradients are averaged, too; so are a projection's."""
    one, two = tensors(trainings, "terms")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)
