"""What sharing, batching and precision are worth, as ratios within one run.

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

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from harness import plugins
from harness.cli import console
from harness.diffusion.lookup import find_denoiser
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.views.batch import BatchViews
from harness.models.classifier import ImageClassifier
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles, place
from harness.report.table import Table, markdown
from harness.types import Batch, BatchTask, Pair, RunSpec, Weights

IMAGES = 40
REPEATS = 3
PHOTOGRAPHS = 32
"""JPEGs of the usual size of ImageNet's, two tiles full."""


def ratio(slow: Callable[[], object], fast: Callable[[], object]) -> tuple[float, float, float]:
    """Median seconds of both, interleaved after a warm-up, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for call in (slow, fast):
        call()
    for _ in range(REPEATS):
        for call, kept in zip((slow, fast), seconds, strict=True):
            start = time.perf_counter()
            call()
            kept.append(time.perf_counter() - start)
    a, b = (statistics.median(kept) for kept in seconds)
    return a, b, a / b


def whole_runs(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
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


def main() -> None:
    """Print the table, and write it where that is asked for."""
    plugins.discover()
    data = plugins.dataset["digits"].build("test")
    batch = data.read(range(IMAGES))
    denoiser, _ = find_denoiser("digits")
    place(denoiser.network, "cpu")
    network, _ = find_classifier("digits/resnet")
    suite = plugins.suite.configure("digits-c").plugin
    condition = suite.conditions()[0]

    def observe(method: str, classifiers: int, dtype: str = "float32") -> int:
        procedure = plugins.method.configure(method).plugin
        tiles = Tiles(IMAGES, dtype=dtype, multiple=4)
        found = [TiledClassifier(network, Tiles(IMAGES)) for _ in range(classifiers)]
        pairs = [Pair(str(k), method, c, procedure, Weights(str(k), "", "")) for k, c in enumerate(found)]
        views = BatchViews(batch, denoiser, tiles, seed=0)
        list(suite.observe(BatchTask(condition, views, batch.labels, pairs, [None] * len(pairs))))
        return views.calls

    def unshared(method: str) -> None:
        for _ in range(10):
            observe(method, 1)

    def one_by_one() -> None:
        procedure = plugins.method.configure("de").plugin
        classifier = TiledClassifier(network, Tiles(1))
        for k in range(IMAGES):
            views = BatchViews(
                Batch(batch.ids[k : k + 1], batch.images[k : k + 1], batch.labels[k : k + 1]), denoiser, Tiles(1), 0
            )
            torch.stack([classifier(x).softmax(-1) for t in procedure.times for x in views.denoised([t])]).mean(0)

    def bare() -> None:
        with torch.no_grad():
            network(batch.images)

    short = "dda:steps=100,start=10"
    assert observe("de", 10) == observe("de", 1), "ten classifiers make the denoiser calls of one"
    rows = []
    for name, slow, fast in [
        ("de: ten classifiers / one, shared", lambda: observe("de", 10), lambda: observe("de", 1)),
        ("de: ten classifiers, not shared / shared", lambda: unshared("de"), lambda: observe("de", 10)),
        ("dda (10 steps): ten classifiers / one, shared", lambda: observe(short, 10), lambda: observe(short, 1)),
        ("dda (10 steps): ten, not shared / shared", lambda: unshared(short), lambda: observe(short, 10)),
        ("de: image by image, time by time / batched", one_by_one, lambda: observe("de", 1)),
        ("de: float32 / bfloat16 denoiser", lambda: observe("de", 1), lambda: observe("de", 1, "bfloat16")),
        ("dda: float32 / bfloat16 denoiser", lambda: observe(short, 1), lambda: observe(short, 1, "bfloat16")),
        ("default: a suite's look / the bare network", lambda: observe("default", 1), bare),
    ]:  # fmt: skip
        a, b, r = ratio(slow, fast)
        rows.append([name, f"{1000 * a / IMAGES:.2f}", f"{1000 * b / IMAGES:.2f}", f"{r:.2f}"])
    with tempfile.TemporaryDirectory() as folder:
        a, b, r = ratio(*whole_runs(Path(folder)))
    whole = "default: a whole run of ImageNet / a bare loop, ResNet-50"
    rows.append([whole, f"{1000 * a / PHOTOGRAPHS:.1f}", f"{1000 * b / PHOTOGRAPHS:.1f}", f"{r:.2f}"])
    caption = (
        f"{IMAGES} images of 32x32, {torch.get_num_threads()} threads, torch {torch.__version__}, median of {REPEATS}."
    )
    table = Table(
        "What sharing, batching and precision are worth", ["what", "ms / image", "ms / image", "ratio"], rows, caption
    )
    if "--write" in sys.argv[1:]:
        Path("results/sharing.md").write_text(markdown(table))
    console.show(table)


if __name__ == "__main__":
    main()
