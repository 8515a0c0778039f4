"""Cost of guided sampling around its networks: a step of the sampler against a bare loop of the same calls.

    python studies/timing/guided_sampling.py [--rows 100] [--steps ddim25] [--repeats 3] [--write]

The bare loop calls the denoiser and the classifier, forward and backward as the guide needs them, on images of the same
shape, and computes nothing else. Both run in turns in one process, step by step, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from harness import plugins
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.guided import sample_noise, trajectory
from harness.diffusion.lookup import find_denoiser
from harness.models.lookup import find_classifier
from harness.models.tiles import place
from harness.report.table import Table, markdown
from harness.types import Guide, Sampling

ROWS = (
    ("none", ""),
    ("classifier", "digits/encoder+noisy"),
    ("classifier:through=partial", "digits/encoder+da"),
    ("classifier", "digits/encoder+da"),
    ("denoised", "digits/resnet"),
)
"""Guides and their classifiers."""


def bare(denoiser: Denoiser, guide: str, network: torch.nn.Module | None, x: Tensor, t: Tensor) -> None:
    """The network calls of one step, and nothing else."""
    through = network is not None and guide in ("classifier", "denoised") and getattr(network, "denoised", True)
    leaf = x.detach().requires_grad_(network is not None)
    with torch.set_grad_enabled(through):
        eps = denoiser.network(leaf, t, return_dict=False)[0]
    if network is None:
        return
    with torch.enable_grad():
        if guide == "denoised":  # noqa: SIM108
            logits = network(eps)
        else:
            logits = network.noisy(leaf, eps if network.denoised else None, t)
        torch.autograd.grad(logits.sum(), leaf)


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(guide: str, model: str, rows: int, settings: Sampling) -> tuple[float, float]:
    """Seconds of all steps of the sampler, and of the bare loop."""
    denoiser, _ = find_denoiser("digits")
    place(denoiser.network, "cpu")
    network = place(find_classifier(model)[0], "cpu") if model else None
    plugin: Guide = plugins.guide.configure(guide).plugin
    ids = [f"sample/{k}" for k in range(rows)]
    x = sample_noise((3, 32, 32), 0, ids, None).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(rows) % 10

    def draw(step: int) -> Tensor:
        return sample_noise((3, 32, 32), 0, ids, step)

    steps = trajectory(denoiser, plugin, network, x, labels, settings, draw)
    times = denoiser.schedule.spaced(settings.steps)
    sampler = loop = 0.0
    for time_of_step in reversed(times):
        sampler += timed(lambda: next(steps))
        t = torch.full((rows,), time_of_step)
        with torch.no_grad():
            loop += timed(partial(bare, denoiser, guide, network, x, t))
    return sampler, loop


def main() -> None:
    """Measure and print, or write results/guided_sampling.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--steps", default="ddim25")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write results/guided_sampling.md")
    arguments = parser.parse_args()
    plugins.discover()
    settings = Sampling(steps=arguments.steps)
    table = []
    for guide, model in ROWS:
        measure(guide, model, 10, Sampling(steps="2"))  # warm up
        times = [measure(guide, model, arguments.rows, settings) for _ in range(arguments.repeats)]
        sampler, loop = (statistics.median(column) for column in zip(*times, strict=True))
        each = 1000 / arguments.rows / settings.count
        cells = [f"{each * sampler:.2f}", f"{each * loop:.2f}", f"{100 * (sampler / loop - 1):+.1f} %"]
        table.append([guide, model or "none", *cells])
    header = ["guide", "classifier", "sampler (ms per image and step)", "networks alone (ms)", "the sampler costs"]
    caption = (
        f"{arguments.rows} digits a batch, {arguments.steps}, medians of {arguments.repeats} runs, steps in turns; "
        f"{torch.get_num_threads()} thread(s) on the CPU, torch {torch.__version__}."
    )
    text = markdown(Table("Guided sampling against its networks alone", header, table, caption))
    print(text)
    if arguments.write:
        Path("results/guided_sampling.md").write_text(text)


if __name__ == "__main__":
    main()
