"""Sharing, batching and precision: how much time each saves, as ratios within one run.

    python studies/timing/sharing.py [--write]   # with --write into results/sharing.md

Times on the machine it runs on, medians of interleaved repetitions:

- ten classifiers against one, under `de` and under `dda`: the denoiser's calls are the same, so the ratio shows
  what the nine further classifiers cost; beside it the ratio without sharing, one run per classifier;
- one denoiser call for all times and images against the loop over times, one image at a time, that the authors
  of the method describe;
- bfloat16 against float32 for the denoiser;
- what a suite looks at in a batch against the bare network on the same images;
- a whole run under `default`, from JPEGs to the record, against a bare loop over the same reader and a ResNet-50.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from harness import plugins
from harness.diffusion.lookup import find_denoiser
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.views.batch import BatchViews
from harness.models.classifier import ImageClassifier
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles, place
from harness.report.table import Table, markdown
from harness.terminal import console
from harness.types import Batch, BatchTask, Pair, RunSpec, Weights

Call = Callable[[], object]

IMAGES = 40
"""Digits per timed call."""

REPEATS = 3
"""Repetitions of which the median counts."""

PHOTOGRAPHS = 32
"""JPEGs of the usual size of ImageNet's, two tiles full."""

SHORT_DDA = "dda:steps=100,start=10"
"""DDA with ten guided steps."""


class DigitsBatch:
    """One batch of digits with its denoiser and classifier, looked at in the ways that are timed."""

    def __init__(self) -> None:
        self.batch = plugins.dataset["digits"].build("test").read(range(IMAGES))
        self.denoiser, _ = find_denoiser("digits")
        place(self.denoiser.network, "cpu")
        self.network, _ = find_classifier("digits/resnet")
        self.suite = plugins.suite.configure("digits-c").plugin
        self.condition = self.suite.conditions()[0]

    def observe(self, method: str, classifiers: int, dtype: str = "float32") -> int:
        """One look of the suite at the batch, through as many classifiers as asked; returns the denoiser's calls."""
        configured = plugins.method.configure(method).plugin
        tiles = Tiles(IMAGES, dtype=dtype, multiple=4)
        copies = [TiledClassifier(self.network, Tiles(IMAGES)) for _ in range(classifiers)]
        pairs = [Pair(str(k), method, copy, configured, Weights(str(k), "", "")) for k, copy in enumerate(copies)]
        views = BatchViews(self.batch, self.denoiser, tiles, seed=0)
        list(self.suite.observe(BatchTask(self.condition, views, self.batch.labels, pairs, [None] * len(pairs))))
        return views.calls

    def unshared(self, method: str) -> None:
        """Ten looks with one classifier each."""
        for _ in range(10):
            self.observe(method, 1)

    def one_by_one(self) -> None:
        """DE image by image and time by time."""
        ensemble = plugins.method.configure("de").plugin
        classifier = TiledClassifier(self.network, Tiles(1))
        ids, images, labels = self.batch.ids, self.batch.images, self.batch.labels
        for k in range(IMAGES):
            one = Batch(ids[k : k + 1], images[k : k + 1], labels[k : k + 1])
            views = BatchViews(one, self.denoiser, Tiles(1), 0)
            torch.stack([classifier(x).softmax(-1) for t in ensemble.times for x in views.denoised([t])]).mean(0)

    def bare(self) -> None:
        """The network alone."""
        with torch.no_grad():
            self.network(self.batch.images)

    def cases(self) -> list[tuple[str, Call, Call]]:
        """Name, slow call and fast call of every ratio."""
        observe = self.observe
        return [
            ("de: ten classifiers / one, shared", lambda: observe("de", 10), lambda: observe("de", 1)),
            ("de: ten classifiers, not shared / shared", lambda: self.unshared("de"), lambda: observe("de", 10)),
            (
                "dda (10 steps): ten classifiers / one, shared",
                lambda: observe(SHORT_DDA, 10),
                lambda: observe(SHORT_DDA, 1),
            ),
            (
                "dda (10 steps): ten, not shared / shared",
                lambda: self.unshared(SHORT_DDA),
                lambda: observe(SHORT_DDA, 10),
            ),
            ("de: image by image, time by time / batched", self.one_by_one, lambda: observe("de", 1)),
            ("de: float32 / bfloat16 denoiser", lambda: observe("de", 1), lambda: observe("de", 1, "bfloat16")),
            (
                "dda: float32 / bfloat16 denoiser",
                lambda: observe(SHORT_DDA, 1),
                lambda: observe(SHORT_DDA, 1, "bfloat16"),
            ),
            ("default: a suite's look / the bare network", lambda: observe("default", 1), self.bare),
        ]


def ratio(slow: Call, fast: Call) -> tuple[float, float, float]:
    """Median seconds of both calls, interleaved after a warm-up, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for call in (slow, fast):
        call()
    for _ in range(REPEATS):
        for call, measured in zip((slow, fast), seconds, strict=True):
            start = time.perf_counter()
            call()
            measured.append(time.perf_counter() - start)
    a, b = (statistics.median(measured) for measured in seconds)
    return a, b, a / b


def whole_runs(folder: Path) -> tuple[Call, Call]:
    """A run of `imagenet` under `default`, and a bare loop over the same reader, network and batches."""
    import timm

    noise = np.random.default_rng(0)
    classes = folder / "val" / "n01440764"
    classes.mkdir(parents=True)
    for k in range(PHOTOGRAPHS):
        coarse = Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(classes / f"{k:02d}.JPEG", quality=90)
    network = ImageClassifier(timm.create_model("resnet50"))
    plugins.model("benchmark/resnet50", dataset="imagenet")(lambda: network)
    spec = RunSpec(f"imagenet:data={folder}", ("benchmark/resnet50",), ("default",), tile=16)
    job = prepare(spec, folder / "out")

    def bare() -> None:
        with torch.no_grad():
            for start in range(0, PHOTOGRAPHS, spec.tile):
                images = job.data.read(range(start, min(start + spec.tile, PHOTOGRAPHS))).images
                network(images.contiguous(memory_format=torch.channels_last)).softmax(-1).max(1)

    return lambda: loop.run(job, fresh=True), bare


def measure() -> Table:
    """A row per ratio."""
    digits = DigitsBatch()
    assert digits.observe("de", 10) == digits.observe("de", 1), "ten classifiers make the denoiser calls of one"
    rows = []
    for name, slow, fast in digits.cases():
        a, b, r = ratio(slow, fast)
        rows.append([name, f"{1000 * a / IMAGES:.2f}", f"{1000 * b / IMAGES:.2f}", f"{r:.2f}"])
    with tempfile.TemporaryDirectory() as folder:
        a, b, r = ratio(*whole_runs(Path(folder)))
    name = "default: a whole run of ImageNet / a bare loop, ResNet-50"
    rows.append([name, f"{1000 * a / PHOTOGRAPHS:.1f}", f"{1000 * b / PHOTOGRAPHS:.1f}", f"{r:.2f}"])
    caption = (
        f"{IMAGES} images of 32x32, {torch.get_num_threads()} threads, torch {torch.__version__}, median of {REPEATS}."
    )
    header = ["what", "ms / image", "ms / image", "ratio"]
    return Table("What sharing, batching and precision are worth", header, rows, caption)


def main() -> None:
    """Print the table; with --write also write results/sharing.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="also write results/sharing.md")
    arguments = parser.parse_args()
    plugins.discover()
    table = measure()
    if arguments.write:
        Path("results/sharing.md").write_text(markdown(table))
    console.show(table)


if __name__ == "__main__":
    main()
