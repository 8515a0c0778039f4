"""Seconds and peak memory of metrics of generated images, beside torch-fidelity where it is installed.

    python studies/timing/generation_metrics.py [--write]   # with --write into results/generation_metrics.md

Features are float32, as extractors give them. Each case runs in a separate process. Its memory includes the
features and the libraries: a machine needs as much.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from harness.metrics.generation import kernel, moments, neighbours
from harness.report.table import Table, markdown

DIMENSION = 2_048
"""Of Inception's last pooling layer."""

GIB = 2**20
"""Kibibytes."""


def features(n: int, seed: int) -> np.ndarray:
    """Rectified features (n, DIMENSION) whose scales fall as those of networks do."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, DIMENSION), dtype=np.float32)
    rows *= np.exp(np.linspace(0, -3, DIMENSION, dtype=np.float32))
    return np.maximum(rows, 0, out=rows)


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """FD with the moments of both sets."""
    return moments.frechet_distance(moments.moments(x), moments.moments(y))


def frechet_interval(x: np.ndarray, y: np.ndarray) -> float:
    """The same with its interval."""
    return moments.frechet(x, moments.moments(y)).value


def frechet_line(x: np.ndarray, y: np.ndarray) -> float:
    """The extrapolation, through 15 sizes."""
    return moments.frechet_infinity(x, moments.moments(y), 0).value


def near(x: np.ndarray, y: np.ndarray) -> float:
    """Precision, recall, density, coverage and memorised samples together."""
    return neighbours.neighbours(x, y).density.value


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """KID of all samples with its interval."""
    return kernel.kid(x, y).value


def fidelity_frechet(x: np.ndarray, y: np.ndarray) -> float:
    """torch-fidelity's FID of two sets of features."""
    import torch
    from torch_fidelity import metric_fid

    first, second = (metric_fid.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (x, y))
    value = metric_fid.fid_statistics_to_metric(first, second, verbose=False)
    return float(value["frechet_inception_distance"])


def fidelity_near(x: np.ndarray, y: np.ndarray) -> float:
    """torch-fidelity's precision and recall of two sets of features."""
    import torch
    from torch_fidelity import metric_prc

    value = metric_prc.prc_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), verbose=False)
    return float(value["precision"])


CASES: list[tuple[str, int, Callable[[np.ndarray, np.ndarray], float]]] = [
    ("Frechet distance", 50_000, frechet),
    ("all five metrics of neighbours", 10_000, near),
    ("KID of all samples with its interval", 10_000, kid),
    ("Frechet distance with its interval", 50_000, frechet_interval),
    ("Frechet distance: torch-fidelity", 50_000, fidelity_frechet),
    ("precision and recall: torch-fidelity", 10_000, fidelity_near),
    ("Frechet distance at infinity", 10_000, frechet_line),
]
"""Name, samples of each set, and the work."""


def measure(n: int, work: Callable[[np.ndarray, np.ndarray], float], out: Connection) -> None:
    """Send seconds, CPU seconds of all threads, value and peak memory in GiB; the features are made before."""
    x, y = features(n, 0), features(n, 1)
    y *= 1.1
    start, busy = time.perf_counter(), time.process_time()
    value = work(x, y)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    out.send((seconds, busy, value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB))


def alone(target: Callable[..., None]) -> Any:
    """What a function sends from a fresh process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(sender,))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--write", action="store_true", help="write results/generation_metrics.md")
    arguments = parser.parse_args()
    installed = importlib.util.find_spec("torch_fidelity") is not None
    rows: list[list[str]] = []
    for name, n, work in CASES:
        if arguments.only in name and (installed or "fidelity" not in name):
            seconds, busy, value, peak = alone(partial(measure, n, work))
            numbers = [f"{seconds:.1f}", f"{busy:.1f}", f"{peak:.2f}", f"{value:.6g}"]
            rows.append([name, f"{n:,} x {DIMENSION:,}", *numbers])
            print(*rows[-1], flush=True)
            if arguments.write:
                Path("results/generation_metrics.md").write_text(page(rows))
    sys.stdout.write(page(rows))


def page(rows: list[list[str]]) -> str:
    """The table, with the machine it was measured on."""
    cores = len(os.sched_getaffinity(0))
    caption = (
        f"{cores} core(s) of {platform.machine()}, numpy {np.__version__}. CPU seconds are those "
        "of all threads, and do not grow where other programs share the cores. Both sets have as many float32 "
        "features; memory is the peak of the whole process, which holds both. The value is the first that the case "
        "computes; density stands for the metrics of neighbours."
    )
    header = ["", "each set", "seconds", "CPU seconds", "GiB", "value"]
    return markdown(Table("Metrics of generated images", header, rows, caption))


if __name__ == "__main__":
    main()
