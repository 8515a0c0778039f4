"""Cost of attacks around the classifier's passes, and beside the plain library, as ratios in one run.

    python studies/timing/attacks.py [--images 16] [--steps 20] [--repeats 3] [--write]

Auto-PGD takes all steps, against a bare loop of as many forward and backward passes on tiles of the same size; both run
in turns in one process. Times are the processor's. AutoAttack with shared noise runs beside pyautoattack's own
on the same images. With --write the table goes to results/attacks_timing.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from harness import plugins
from harness.attacks import losses
from harness.attacks.apgd import apgd
from harness.attacks.passes import Passes
from harness.base import noise
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.report.table import Table, markdown
from harness.types import ThreatModel

MODEL = "digits/resnet"


def timed(function: Callable[[], object]) -> float:
    """Processor seconds of one call, which other work on the machine hardly touches."""
    start = time.process_time()
    function()
    return time.process_time() - start


def bare(classifier: TiledClassifier, images: Tensor, labels: Tensor, passes: int) -> None:
    """Forward and backward passes on tiles of the classifier's size, and nothing else."""
    size = classifier.gradient_tiles.size
    for _ in range(passes):
        for start in range(0, len(images), size):
            leaf = images[start : start + size].clone(memory_format=torch.channels_last).requires_grad_()
            loss = F.cross_entropy(classifier.network(leaf), labels[start : start + size], reduction="sum")
            torch.autograd.grad(loss, leaf)


def ascent(classifier: TiledClassifier, images: Tensor, labels: Tensor, threat: ThreatModel, steps: int) -> None:
    """All steps of Auto-PGD from the images."""
    passes = Passes(classifier, losses.cross_entropy, labels)
    apgd(passes, images, images, norm=threat.norm, eps=threat.eps, steps=steps, until_falls=False)


def ensemble(text: str, classifier: TiledClassifier, images: Tensor, labels: Tensor, threat: ThreatModel) -> int:
    """Images that AutoAttack leaves standing."""

    def draw(purpose: str) -> Tensor:
        ids = [str(k) for k in range(len(images))]
        return noise.gaussian(images.shape[1:], seed=0, purpose=purpose, samples=ids)

    adversarial = plugins.attack.configure(text).plugin(images, labels, classifier, draw, threat)
    return int((classifier(adversarial).argmax(1) == labels).sum())


def main() -> None:
    """Measure and print, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ensemble", action="store_true", help="AutoAttack too: minutes")
    parser.add_argument("--write", action="store_true", help="write results/attacks_timing.md")
    arguments = parser.parse_args()
    plugins.discover()
    classifier = TiledClassifier(find_classifier(MODEL)[0], Tiles(100))
    data = plugins.dataset.of("digits").build("test")
    batch = data.read(range(arguments.images))
    images, labels = batch.images, batch.labels
    rows = []
    for threat in (ThreatModel("linf", 8 / 255), ThreatModel("l2", 0.5)):
        pairs = []
        bare(classifier, images, labels, 2)  # warm up
        for _ in range(arguments.repeats):
            whole = timed(partial(ascent, classifier, images, labels, threat, arguments.steps))
            pairs.append((whole, timed(partial(bare, classifier, images, labels, arguments.steps + 1))))
        ours, passes = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        rows.append([f"apgd-ce, {arguments.steps} steps, {threat}", f"{ours:.2f}", f"{passes:.2f}", f"{ratio:.3f}"])
    if arguments.ensemble:
        threat = ThreatModel("linf", 8 / 255)
        left: list[int] = []
        taken = [
            timed(lambda text=text: left.append(ensemble(text, classifier, images, labels, threat)))
            for text in ("autoattack", "autoattack:shared=false")
        ]
        cells = [f"{taken[0]:.1f}", f"{taken[1]:.1f}", f"{taken[0] / taken[1]:.2f}"]
        rows.append([f"autoattack, {threat}, {left[0]} and {left[1]} left standing", *cells])
    header = ["attack", "processor seconds", "of the passes alone, or of the plain library", "ratio"]
    caption = (
        f"{MODEL}, {arguments.images} digits, medians of {arguments.repeats} runs in turns; {torch.get_num_threads()} "
        f"thread(s), {os.cpu_count()} cores under a load of {os.getloadavg()[0]:.0f}, torch {torch.__version__}."
    )
    text = markdown(Table("Attacks against their passes alone", header, rows, caption))
    print(text)
    if arguments.write:
        Path("results/attacks_timing.md").write_text(text)


if __name__ == "__main__":
    main()
