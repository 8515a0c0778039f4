"""Cost of a gradient through a test-time method: against the sum of its network passes, and in memory.

    python studies/timing/adaptive.py [--rows 16] [--repeats 3] [--write]

The bare passes are those of the same networks on images of the same shape, forward and backward, and nothing else; both
run in turns in one process, so that a busy machine slows both. Times are of the process, not of the clock.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from harness import plugins
from harness.attacks.losses import cross_entropy
from harness.data import open_dataset
from harness.diffusion.lookup import find_denoiser
from harness.evaluation.views.gradients import MethodClassifier
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles, place
from harness.report.table import Table, markdown

CLASSIFIER = "digits/resnet"
WHOLE = ",".join(map(str, range(0, 451, 50)))
ROWS = (("de:times=100", 1, 1), ("de:times=100,200", 2, 2), (f"de:times={WHOLE}", 9, 10))
"""Methods with the passes of the diffusion model and of the classifier in each."""


def seconds(function: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def peak_memory(function: Callable[[], object]) -> float:
    """Largest number of MiB that the tensors of one call hold at once."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    assert profiler.profiler is not None
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = torch.tensor([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).cumsum(0)
    return float(held.max()) / 2**20


def bare(network: nn.Module, x: torch.Tensor, *others: torch.Tensor) -> None:
    """One forward and one backward pass."""
    leaf = x.detach().requires_grad_()
    out = network(leaf, *others, return_dict=False)[0] if others else network(leaf)
    torch.autograd.grad(out.sum(), leaf)


def measure(method: str, denoised: int, classified: int, rows: int, repeats: int) -> list[str]:
    """A row of the table."""
    denoiser = find_denoiser("digits")[0]
    place(denoiser.network, "cpu")
    some = open_dataset("digits", "test").read(list(range(rows)))
    classifier = TiledClassifier(find_classifier(CLASSIFIER)[0], Tiles(rows), Tiles(rows))
    plugin = plugins.method.configure(method).plugin
    defended = MethodClassifier(plugin, classifier, denoiser, Tiles(rows), 0, some.ids)
    x = some.images.contiguous(memory_format=torch.channels_last)
    t = torch.full((rows,), 100)

    def gradient() -> None:
        defended.gradient(some.images, cross_entropy, some.labels)

    memory = peak_memory(gradient)
    whole, unet, network = [], [], []
    for _ in range(repeats):
        whole.append(seconds(gradient))
        unet.append(seconds(lambda: bare(denoiser.network, 2 * x - 1, t)))
        network.append(seconds(lambda: bare(classifier.network, x)))
    taken, per_view, per_answer = (1000 * statistics.median(column) / rows for column in (whole, unet, network))
    passes = denoised * per_view + classified * per_answer
    cells = [f"{taken:.1f}", f"{passes:.1f}", f"{taken / passes:.2f}", f"{memory:.0f}"]
    return [method, str(denoised), str(classified), *cells]


def main() -> None:
    """Measure and print, or write results/adaptive_timing.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write results/adaptive_timing.md")
    arguments = parser.parse_args()
    plugins.discover()
    table = [measure(*row, arguments.rows, arguments.repeats) for row in ROWS]
    header = [
        "method", "UNet passes", "classifier passes", "gradient (ms per digit)", "passes alone (ms)", "ratio",
        "peak memory (MiB)",
    ]  # fmt: skip
    caption = (
        f"{CLASSIFIER}, tiles of {arguments.rows} rows, medians of {arguments.repeats} runs in turns, processor time "
        f"of {torch.get_num_threads()} thread(s), torch {torch.__version__}. A pass is forward and backward once; the "
        "gradient computes every forward pass twice, so that its memory is that of one diffusion time. Where a "
        "backward pass costs about as much as a forward pass, that makes a ratio of 1.5."
    )
    text = markdown(Table("Gradient through de against the sum of its passes", header, table, caption))
    print(text)
    if arguments.write:
        Path("results/adaptive_timing.md").write_text(text)


if __name__ == "__main__":
    main()
