"""Cost of the harness around a classifier: its run against a bare loop over the same images and network.

    python studies/timing/evaluation_loop.py [--images 512] [--model timm/mobilenetv2_100] [--write]

The images are JPEGs of 500 x 375 pixels, ImageNet's usual size, made for the purpose. The bare loop reads them with
torch's own DataLoader and as many workers, and counts correct predictions. Both are timed in turns in one process; the
run's time includes the sample table, the metrics and the record.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from harness import plugins
from harness.data.readahead import cores
from harness.evaluation import loop
from harness.evaluation.job import Job
from harness.evaluation.prepare import prepare
from harness.report.table import Table, markdown
from harness.types import RunSpec

CLASSES = ("n01440764", "n01443537", "n01484850", "n01491361")


def write_images(root: Path, count: int) -> None:
    """Smooth random pictures, which compress as photographs do, below root/val."""
    rng = np.random.default_rng(0)
    for k in range(count):
        folder = root / "val" / CLASSES[k % len(CLASSES)]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (47, 63, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{k:05}.JPEG", quality=90)


class Read(Dataset[tuple[torch.Tensor, int]]):
    """The very images that the run reads, one by one, as items of a DataLoader."""

    def __init__(self, job: Job) -> None:
        self.data = job.data

    def __len__(self) -> int:
        return len(self.data.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        batch = self.data.read([index])
        return batch.images[0], int(batch.labels[0])


def bare(job: Job, network: nn.Module, workers: int) -> None:
    """Accuracy, and nothing else."""
    right, loader = 0, DataLoader(Read(job), batch_size=job.spec.tile, num_workers=workers)
    with torch.no_grad():
        for images, labels in loader:
            logits = network(images.contiguous(memory_format=torch.channels_last))
            right += int((logits.argmax(1) == labels).sum())


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(images: int, model: str, repeats: int) -> list[list[str]]:
    """A row per number of workers: images per second of both, and the extra cost of the run."""

    @plugins.model("benchmark/network", dataset="imagenet")
    def network() -> nn.Module:
        return timm.create_model(model.removeprefix("timm/"))

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), images)
        spec = RunSpec(f"imagenet:data={folder}", ("benchmark/network",), ("default",), tile=32)
        job = prepare(spec, Path(folder) / "out")
        body = network().eval().to(memory_format=torch.channels_last)
        for workers in sorted({0, cores()}):
            run_times, bare_times = [], []
            for _ in range(repeats):
                run_times.append(timed(lambda n=workers: loop.run(job, fresh=True, workers=n)))
                bare_times.append(timed(lambda n=workers: bare(job, body, n)))
            run, plain = statistics.median(run_times), statistics.median(bare_times)
            rows.append(
                [str(workers), f"{images / run:.1f}", f"{images / plain:.1f}", f"{100 * (run / plain - 1):+.1f} %"]
            )
    return rows


def main() -> None:
    """Measure and print, or write results/evaluation_loop.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--model", default="timm/mobilenetv2_100")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write results/evaluation_loop.md")
    arguments = parser.parse_args()
    plugins.discover()
    rows = measure(arguments.images, arguments.model, arguments.repeats)
    header = ["workers", "images/s", "bare loop (images/s)", "the run costs"]
    caption = (
        f"{arguments.model} on {arguments.images} JPEGs, medians of {arguments.repeats} runs each, in turns; "
        f"{torch.get_num_threads()} thread(s) on the CPU, torch {torch.__version__}."
    )
    text = markdown(Table("The evaluation loop against a bare one", header, rows, caption))
    print(text)
    if arguments.write:
        Path("results/evaluation_loop.md").write_text(text)


if __name__ == "__main__":
    main()
