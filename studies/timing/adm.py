"""Cost of the full-size diffusion model per image: this harness against the authors' loop on the same weights.

    python studies/timing/adm.py          # a GPU: ADM-256 at 224 pixels; without one a small network at 64
    python studies/timing/adm.py --out results/adm.md --dtype float16 --method de --method dda

Weights are random, which changes no time. The authors' loop is authors_loop.py: DE denoises a batch at one time after
the other, DDA takes its guided steps; both draw their noise on the device. Both sides get equal numbers of rows per
call, four times as many until memory ends; the best number runs once more under torch.compile (on the CPU only with
--compile: half an hour of compiling). The ceiling is a large matrix product in the same arithmetic. Before anything is
timed, both must show the classifier the same images under the same noise, in float32. The table is written as it grows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import typer
from authors_loop import AuthorsLoop
from machine import ceiling, machine, operations, seconds
from torch import Tensor, nn

from harness import plugins
from harness.base import noise
from harness.diffusion.adm.unet import unet
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.diffusion.denoiser import Denoiser
from harness.evaluation.views.batch import BatchViews
from harness.models.tiles import TiledClassifier, Tiles, check_compiler, place
from harness.report.table import Table, markdown
from harness.types import Batch


@dataclass(frozen=True)
class Scale:
    """Subject of a timing: the network, its images, the classifier behind it, the arithmetic and the steps of DDA.

    start: guided steps. product: side of the matrices of the ceiling.
    """

    flags: AdmFlags
    side: int
    classifier: str
    dtypes: tuple[str, ...]
    batches: tuple[int, ...]
    start: int
    product: int


FULL = Scale(AdmFlags(), 224, "resnet50", ("float16", "bfloat16"), (4, 16, 64, 256), 50, 8192)
SMALL = Scale(AdmFlags(num_channels=32, num_head_channels=16), 64, "resnet18", ("float32", "bfloat16"), (4, 8), 5, 1024)


class Seen(nn.Module):
    """Stands in for the classifier and keeps the images that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.images.append(images.cpu())
        return images.mean((2, 3))


@dataclass
class Bench:
    """Both ways on one pair of networks."""

    scale: Scale
    device: str
    network: nn.Module = field(init=False)
    classifier: nn.Module = field(init=False)
    flops: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        import timm

        torch.manual_seed(0)
        with torch.device(self.device):
            self.network, self.classifier = unet(self.scale.flags), timm.create_model(self.scale.classifier)
        for part in (self.network, self.classifier):
            place(part, self.device)
        with torch.device("meta"):
            network, classifier = unet(self.scale.flags), timm.create_model(self.scale.classifier).eval()
        one, view = operations(network, self.scale.side, False), operations(classifier, self.scale.side, False)
        guided = self.scale.start * operations(network, self.scale.side, True)
        self.ready: dict[int, TiledClassifier] = {}
        self.flops = {"default": view, "de": 9 * one + 10 * view, "dda": guided + view}

    def images(self, count: int) -> Tensor:
        """Smooth pictures, (count, 3, side, side) in [0, 1]."""
        coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return nn.functional.interpolate(coarse, size=self.scale.side, mode="bicubic").clamp(0, 1)

    def by_harness(
        self, method: str, dtype: str, rows: int, short: bool = False, seen: nn.Module | None = None
    ) -> Tiles:
        """One call of the harness on `rows` images.

        short: two guided steps, to warm up. seen: takes the classifier's place.
        """
        settings = {"dda": f"dda:start={2 if short else self.scale.start},norm=batch4"}.get(method, method)
        images, tiles = self.images(rows), Tiles(rows, self.device, dtype, multiple=4)
        batch = Batch(tuple(map(str, range(rows))), images, torch.zeros(rows, dtype=torch.int64))
        views = BatchViews(batch, Denoiser(self.network, self.scale.flags.schedule), tiles, seed=0)
        # A run prepares its classifier once for all images, so that is no part of a call.
        shown = TiledClassifier(seen, Tiles(rows, self.device)) if seen else self.ready.get(rows)
        classifier = shown or self.ready.setdefault(rows, TiledClassifier(self.classifier, Tiles(rows, self.device)))
        plugins.method.configure(settings).plugin(views, classifier)
        return tiles

    def by_authors(
        self, method: str, dtype: str, rows: int, short: bool = False, seen: nn.Module | None = None
    ) -> None:
        """The same call of the authors' loop, on the device's noise; with `seen`, on the harness's noise."""
        start = 2 if short else self.scale.start
        loop = AuthorsLoop(self.network, seen or self.classifier, self.device, dtype, start)
        images = self.images(rows).to(self.device)

        def draw(purpose: str, k: int) -> Tensor:
            if not seen:
                return torch.randn_like(images)
            ids = tuple(map(str, range(rows)))
            return noise.gaussian(images.shape[1:], seed=0, purpose=purpose, samples=ids, draw=k).to(self.device)

        getattr(loop, method)(images, draw).cpu()

    def difference(self, method: str, dtype: str, rows: int) -> Tensor:
        """Absolute difference of the images that both ways show the classifier."""
        seen = Seen(), Seen()
        self.by_harness(method, dtype, rows, seen=seen[0])
        self.by_authors(method, dtype, rows, seen=seen[1])
        of_harness, of_authors = (torch.cat(part.images) for part in seen)
        return (of_harness - of_authors).abs()


HEADER = ["method", "arithmetic", "compiled", "rows per call", "ours, ms / image", "authors' loop, ms / image"]
HEADER += ["images per second, ours / theirs", "share of the ceiling", "memory, GB", "largest difference of images"]


@dataclass(frozen=True)
class Timing:
    """One line of the table, in seconds and bytes for all rows of a call."""

    method: str
    dtype: str
    rows: int
    harness_seconds: float
    authors_seconds: float
    memory: int
    compiled: bool = False


def timed(bench: Bench, method: str, dtype: str, rows: int, before: Timing | None = None) -> Timing | None:
    """The timing of a method, or None where memory ends. before: its timing without compiling, if networks now are."""
    call, device = (method, dtype, rows), bench.device
    try:
        halved = bench.by_harness(*call, short=True).halved
        if not before:
            bench.by_authors(*call, short=True)
        authors = before.authors_seconds if before else seconds(lambda: bench.by_authors(*call), device)
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        halved += bench.by_harness(*call).halved
        own = seconds(lambda: bench.by_harness(*call), device)
    except torch.OutOfMemoryError:
        halved = 1
    if halved:
        torch.cuda.empty_cache()
        return None
    memory = torch.cuda.max_memory_allocated() if device != "cpu" else 0
    return Timing(method, dtype, rows, own, authors, memory, bool(before))


def line(bench: Bench, t: Timing, apart: str) -> list[str]:
    """The cells of the table."""
    share = bench.flops[t.method] * t.rows / t.harness_seconds / ceiling(t.dtype, bench.scale.product, bench.device)
    milliseconds = [f"{1000 * s / t.rows:.2f}" for s in (t.harness_seconds, t.authors_seconds)]
    ratio = f"{t.authors_seconds / t.harness_seconds:.2f}"
    memory = f"{t.memory / 1e9:.1f}" if t.memory else "-"
    setting = [t.method, t.dtype, "yes" if t.compiled else "no", str(t.rows)]
    return [*setting, *milliseconds, ratio, f"{share:.0%}", memory, apart]


def lines(
    bench: Bench, methods: list[str], dtypes: Iterable[str], batches: tuple[int, ...], compiled: bool
) -> Iterator[list[str]]:
    """Lines as they are measured: as many rows as fit, then the best number of rows compiled."""
    best: list[Timing] = []
    for method, dtype in [(m, d) for m in methods for d in (["float32"] if m == "default" else dtypes)]:
        timings: list[Timing] = []
        for rows in batches:
            timing = timed(bench, method, dtype, rows)
            if not timing:
                break
            timings.append(timing)
            first = rows == batches[0]
            yield line(bench, timing, f"{bench.difference(method, dtype, rows).max():.1e}" if first else "")
        best += sorted(timings, key=lambda t: t.harness_seconds / t.rows)[:1]
    if compiled:
        check_compiler(bench.device)
        for part in (bench.network, bench.classifier):
            place(part, bench.device, compiled=True)
        for before in best:
            timing = timed(bench, before.method, before.dtype, before.rows, before)
            if timing:
                apart = bench.difference(before.method, before.dtype, before.rows)
                yield line(bench, timing, f"{apart.max():.1e}")


def main(
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
    method: Annotated[list[str], typer.Option(help="default, de or dda. Repeatable. [default: all]")] = [],  # noqa: B006
    dtype: Annotated[
        list[str],
        typer.Option(help="Arithmetic of the diffusion model. Repeatable. [default on a GPU: float16, bfloat16]"),
    ] = [],  # noqa: B006
    batch: Annotated[list[int], typer.Option(help="Rows per call, multiples of four. Repeatable.")] = [],  # noqa: B006
    compiled: Annotated[bool | None, typer.Option("--compile/--no-compile", help="[default: on a GPU]")] = None,
) -> None:
    """Time both ways, print the table, write it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scale = FULL if device == "cuda" else SMALL
    methods, batches = method or ["default", "de", "dda"], tuple(batch) or scale.batches
    plugins.discover()
    bench = Bench(scale, device)
    for name in methods:
        # A pixel that is clipped one way and not the other is off by more, once (see tests/diffusion/test_adm.py).
        apart = bench.difference(name, "float32", 4)
        if (apart > 1e-3).float().mean() > 1e-3:
            sys.exit(f"{name}: ours and the authors' loop differ by {apart.max():.1e}, which is more than rounding.")
    caption = f"{scale.classifier} behind a UNet of {sum(p.numel() for p in bench.network.parameters()) / 1e6:.0f} M "
    caption += f"parameters, {scale.side} pixels, {scale.start} of DDA's 50 steps. {machine(device)}."
    rows: list[list[str]] = []
    for row in lines(
        bench, methods, dtype or scale.dtypes, batches, device == "cuda" if compiled is None else compiled
    ):
        rows.append(row)
        print(" | ".join(row), file=sys.stderr)
        if out:
            page = markdown(Table(f"{scale.side} pixels", HEADER, rows, caption))
            out.write_text(
                f"# The diffusion model's cost, ours and the authors' loop\n\n"
                f"Written by `python studies/timing/adm.py`.\n\n{page}"
            )
    print(markdown(Table(f"{scale.side} pixels", HEADER, rows, caption)))


if __name__ == "__main__":
    typer.run(main)
