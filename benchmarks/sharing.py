"""What sharing, batching and precision are worth, as ratios within one run.

    python benchmarks/sharing.py

Times on the machine it runs on, medians of interleaved repetitions:

- ten classifiers against one, under `de` and under `dda`: the denoiser's calls are the same, so the ratio shows
  what the nine further classifiers cost; beside it the ratio without sharing, one run per classifier;
- one denoiser call for all times and images against the loop over times, one image at a time, that the authors
  of the method describe;
- bfloat16 against float32 for the denoiser;
- the evaluation loop against a bare loop over the same network and images.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from harness import console, plugins, weights
from harness.leaderboard import Table
from harness.networks import TiledClassifier, Tiles, place
from harness.types import Batch, Pair
from harness.views import BatchViews

IMAGES = 40
REPEATS = 3


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


def main() -> None:
    """Print the table."""
    plugins.discover()
    data = plugins.dataset["digits"].build("test")
    batch = data.read(range(IMAGES))
    denoiser, _ = weights.find_denoiser("digits")
    place(denoiser.network, "cpu")
    network, _ = weights.find_classifier("digits/resnet")
    suite = plugins.suite.configure("digits-c")[1]
    observed, condition = suite.observe, suite.conditions()[0]

    def evaluate(method: str, classifiers: int, dtype: str = "float32") -> int:
        procedure = plugins.method.configure(method)[1]
        tiles = Tiles(IMAGES, dtype=dtype, multiple=4)
        pairs = [Pair(str(k), method, TiledClassifier(network, Tiles(IMAGES)), procedure) for k in range(classifiers)]
        views = BatchViews(batch, denoiser, tiles, seed=0)
        list(observed(condition, views, batch.labels, pairs, [None] * len(pairs)))
        return views.calls

    def unshared(method: str) -> None:
        for _ in range(10):
            evaluate(method, 1)

    def one_by_one() -> None:
        procedure = plugins.method.configure("de")[1]
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
    assert evaluate("de", 10) == evaluate("de", 1), "ten classifiers make the denoiser calls of one"
    rows = []
    for name, slow, fast in [
        ("de: ten classifiers / one, shared", lambda: evaluate("de", 10), lambda: evaluate("de", 1)),
        ("de: ten classifiers, not shared / shared", lambda: unshared("de"), lambda: evaluate("de", 10)),
        ("dda (10 steps): ten classifiers / one, shared", lambda: evaluate(short, 10), lambda: evaluate(short, 1)),
        ("dda (10 steps): ten, not shared / shared", lambda: unshared(short), lambda: evaluate(short, 10)),
        ("de: image by image, time by time / batched", one_by_one, lambda: evaluate("de", 1)),
        ("de: float32 / bfloat16 denoiser", lambda: evaluate("de", 1), lambda: evaluate("de", 1, "bfloat16")),
        ("dda: float32 / bfloat16 denoiser", lambda: evaluate(short, 1), lambda: evaluate(short, 1, "bfloat16")),
        ("default: the evaluation loop / a bare loop", lambda: evaluate("default", 1), bare),
    ]:  # fmt: skip
        a, b, r = ratio(slow, fast)
        rows.append([name, f"{1000 * a / IMAGES:.2f}", f"{1000 * b / IMAGES:.2f}", f"{r:.2f}"])
    caption = (
        f"{IMAGES} images of 32x32, {torch.get_num_threads()} threads, torch {torch.__version__}, median of {REPEATS}."
    )
    console.show(Table("Ratios", ["what", "ms / image", "ms / image", "ratio"], rows, caption))


if __name__ == "__main__":
    main()
