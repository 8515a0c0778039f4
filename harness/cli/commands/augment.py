"""``harness augment``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.api.machine import usable_device
from harness.base.errors import HarnessError
from harness.cli.options import Device, Plugin, Seed, shares_of

if TYPE_CHECKING:
    from harness.train.augment.offline import Copied, CopySpec

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def augment() -> None:
    """Make an augmented copy of a data set on disk, to train on beside the original."""


@app.command()
def deepaugment(
    out: Annotated[Path, typer.Option(help="Folder of the copy, new or of the same copy.")],
    network: Annotated[
        str,
        typer.Option(
            help="What distorts, with settings: noise2net:max_eps=0.5, edsr:weights=FILE. See harness list distorters."
        ),
    ] = "autoencoder",
    dataset: Annotated[str, typer.Option(help="What to copy: see harness list datasets.")] = "digits",
    data: Annotated[Path | None, typer.Option(help="Folder of the data, for data sets that read one.")] = None,
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    group: Annotated[
        int,
        typer.Option(min=1, help="Consecutive images that share one draw of weights. Activations change per image."),
    ] = 20,
    seed: Seed = 0,
    device: Device = "auto",
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n processes that share --out, from 0.")] = "0/1",
    plugin: Plugin = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the copy in --out and start over.")] = False,
) -> None:
    """Copy a data set through a network whose weights and activations are changed at random.

    DeepAugment (Hendrycks et al., ICCV 2021): the copy keeps the classes and loses the textures. It lies in
    OUT/CLASS/IMAGE.png, with a manifest OUT/deepaugment.json; with --out DIR/train beside DIR/test it is the training
    split of a `folder` data set. `noise2net` needs no weights; `autoencoder` is the small bundled one; `edsr` and `cae`
    take the authors' files and give images of 512 pixels.

    A killed run goes on where it was: images that are there are not made again, and the rest come out as they would
    have. Under other settings it refuses to.

    Examples: `harness augment deepaugment --out digits-da`,
    `harness augment deepaugment --network noise2net --dataset folder --data DIR --out DIR-n2n`
    """
    from harness import plugins
    from harness.terminal import console
    from harness.train.augment.offline import CopySpec

    plugins.discover(*plugin)
    shares = shares_of(shard)
    _check(split, fresh, shares)
    copied = _copy(CopySpec(dataset, network, split, str(data or ""), seed, group), out, shares, device, fresh)
    console.out.print(f"{copied.done:,} of {copied.total:,} images are in {out}, {copied.made:,} of them new.")
    if copied.done < copied.total:
        console.out.print("Other shards make the rest.")


def _copy(spec: CopySpec, out: Path, shares: tuple[int, int], device: str, fresh: bool) -> Copied:
    """Make the copy under a progress bar."""
    from harness.terminal import console
    from harness.train.augment import offline

    with console.progress() as bar:
        task = bar.begin(f"{spec.dataset} through {spec.network.partition(':')[0]}")

        def report(copied: Copied) -> None:
            bar.update(task, total=copied.total, completed=copied.done, computed=copied.made)

        return offline.copy(spec, out, report, shard=shares, device=usable_device(device), fresh=fresh)


def _check(split: str, fresh: bool, shares: tuple[int, int]) -> None:
    if fresh and shares != (0, 1):
        raise HarnessError("--fresh deletes what the other shards make. Start over without --shard, or in a new --out.")
    if split not in ("train", "test"):
        raise HarnessError(f"--split {split!r}: must be one of train, test.")
