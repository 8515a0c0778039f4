"""``harness weights``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.api.weight_files import (
    check_name,
    fetch,
    fetch_missing,
    published_weights,
    publishers,
    weight_files_of,
    weights_named,
)
from harness.base.errors import HarnessError
from harness.cli.options import Files, Plugin

if TYPE_CHECKING:
    from torch import nn

    from harness.diffusion.denoiser import Denoiser
    from harness.models.published.locate import PublishedWeights, WeightFiles
    from harness.types import Weights

app = typer.Typer(help="Manage published weights.", no_args_is_help=True)


@app.command("list")
def list_weights(
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List the published weights: the files that are here, and the addresses of the others."""
    from harness import plugins
    from harness.report.table import Table
    from harness.terminal import console

    plugins.discover(*plugin)
    weight_files = weight_files_of(weights)
    entries = published_weights().values()
    folder = weight_files.folder.absolute()
    caption = f"Files go into {folder}; $HARNESS_WEIGHTS names another folder, --weights a file."
    header = ["name", "file", "state", "licence"]
    rows = [_row(published, weight_files) for published in entries]
    console.show(Table("Published weights", header, rows, caption, multiline=True))
    for line in _addresses(published for published in entries if not published.find(weight_files)):
        console.out.print(line, markup=False, soft_wrap=True)


@app.command()
def download(
    names: Annotated[list[str], typer.Argument(help="Names: see harness weights list.")],
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Fetch published weights into the weights folder, check them if a hash is known, and resume if cut off."""
    from harness import plugins
    from harness.models.published.locate import WeightFiles
    from harness.terminal import console

    plugins.discover(*plugin)
    weight_files = WeightFiles()
    for published in map(weights_named, names):
        path = published.find(weight_files) or fetch(published, weight_files)
        console.out.print(f"{published.name}: {path} ({_state(published, path)})", markup=False)


@app.command()
def convert(
    what: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A model or a denoiser, or a file as its authors publish it.")
    ],
    out: Annotated[Path | None, typer.Option(help="[default: NAME.safetensors in the weights folder]")] = None,
    name: Annotated[
        str,
        typer.Option(
            "--as", show_default=False, help="Model whose weights FILE holds, if its file name does not say so."
        ),
    ] = "",
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Write a model's weights as safetensors once: they load faster, without a pickle, and remember their origin.

    Examples: `harness weights convert resnet50.augmix`, `harness weights convert adm256`, `harness weights convert
    DA_diffaug.ckpt --out da.safetensors`, and for another ADM checkpoint `harness weights convert mine.pt`, with its
    flags in mine.json, or `harness weights convert adm:file=mine.pt,num_channels=128` (of a noisy classifier:
    `adm-classifier:file=mine.pt,image_size=64`)
    """
    from harness import plugins
    from harness.models.published.locate import chosen
    from harness.terminal import console

    plugins.discover(*plugin)
    weight_files = weight_files_of(weights)
    folder = weight_files.folder
    file = next((path for path in (Path(what), folder / what) if chosen(path)[0].is_file()), None)
    if unpublished := None if name else _unpublished(what, file):
        network, info = unpublished
        out = out or folder / f"{Path(info.source).stem}.safetensors"
        console.out.print(f"{info.source}: {out}, SHA-256 {_written(network, info, out)}", markup=False)
        return
    if file:
        name = name or _model_of(file)
        check_name(name)
        weight_files = weight_files.using(name, file)
    else:
        _check_no_file(what, folder)
        name = what
        fetch_missing([name], weight_files)
    out = out or folder / f"{name}.safetensors"
    info, sha256 = _converted(name, weight_files, out)
    console.out.print(f"{name}, from {info.source}: {out}, SHA-256 {sha256}", markup=False)


def _check_no_file(what: str, folder: Path) -> None:
    """Raise HarnessError for a text that ends like a file of weights: there is no such file."""
    from harness.base.files import check_regular
    from harness.models.lookup import CHECKPOINT_SUFFIXES
    from harness.models.published.locate import chosen

    path, _ = chosen(Path(what))
    if path.suffix in CHECKPOINT_SUFFIXES:
        if path.exists():
            check_regular(path)
        raise HarnessError(f"{what}: there is no such file, here or in {folder.absolute()}.")


def _converted(name: str, weight_files: WeightFiles, out: Path) -> tuple[Weights, str]:
    """Write the weights of a model or a denoiser to `out`; their provenance, and the SHA-256 of the new file."""
    from harness import plugins
    from harness.diffusion.lookup import find_denoiser
    from harness.models.lookup import find_classifier

    find = find_denoiser if name in plugins.denoiser else find_classifier
    network, info = find(name, weight_files)
    return info, _written(network, info, out)


def _written(network: Denoiser | nn.Module, info: Weights, out: Path) -> str:
    """Write a diffusion model or a classifier as a harness checkpoint; its SHA-256."""
    from harness.diffusion.adm.checkpoint import write_denoiser
    from harness.diffusion.denoiser import Denoiser
    from harness.models.published.manifest import write_classifier

    if isinstance(network, Denoiser):
        return write_denoiser(network, info, out)
    return write_classifier(network, info, out)


def _unpublished(what: str, file: Path | None) -> tuple[Denoiser | nn.Module, Weights] | None:
    """A user's diffusion model or noisy classifier: an ADM checkpoint with its flags beside it or after its name.

    None for anything else.
    """
    from harness import plugins
    from harness.diffusion.adm import checkpoint, classifier_checkpoint
    from harness.diffusion.adm.classifier_flags import ClassifierFlags, describe_classifier
    from harness.diffusion.adm.flags import written
    from harness.diffusion.adm.unet_flags import AdmFlags
    from harness.diffusion.lookup import find_denoiser
    from harness.models.lookup import PICKLED_SUFFIXES, find_classifier
    from harness.models.published.locate import chosen

    if file:
        path, _ = chosen(file)
        flags = path.with_suffix(".json")
        if path.suffix not in PICKLED_SUFFIXES or not flags.is_file() or publishers(path.name):
            return None
        if describe_classifier(written(flags)):
            return classifier_checkpoint.load(file, ClassifierFlags.beside(path))
        return checkpoint.load(file, AdmFlags.beside(path))
    name, colon, _ = what.partition(":")
    if colon and name in plugins.denoiser:
        return find_denoiser(what)
    return find_classifier(what) if colon and name in plugins.model else None


def _model_of(file: Path) -> str:
    """The model whose weights a file holds, by its published name; raises HarnessError for an ambiguous one."""
    from harness.models.published.locate import chosen

    file, _ = chosen(file)
    models = publishers(file.name)
    if len(models) != 1:
        raise HarnessError(
            f"{file}: its name does not tell whose weights it holds. Name the model with --as NAME; for another ADM "
            f"checkpoint, put its flags into {file.with_suffix('.json').name} beside it."
        )
    return models[0]


def _row(published: PublishedWeights, weight_files: WeightFiles) -> list[str]:
    path = published.find(weight_files)
    try:
        state = f"{path}\n{_state(published, path)}" if path else "missing"
    except HarnessError as error:
        state = f"wrong: {error}"
    return [published.name, "\n".join(file.name for file in published.files), state, published.licence]


def _addresses(missing: Iterable[PublishedWeights]) -> Iterator[str]:
    """Addresses of missing weights: a line for each file with an address, and for each page."""
    by_hand: dict[str, list[str]] = {}
    for published in missing:
        if url := next((url for file in published.files for url in file.urls), ""):
            yield f"harness weights download {published.name}: {url}"
        else:
            by_hand.setdefault(published.page, []).append(published.files[0].name)
    yield from (f"By hand, from {page}: {', '.join(files)}" for page, files in by_hand.items())


def _state(published: PublishedWeights, path: Path) -> str:
    """The state of a local file; raises HarnessError for a file of another kind than its name says."""
    from harness.models.checkpoint import is_checkpoint
    from harness.models.files import formats
    from harness.models.published.locate import chosen

    file, _ = chosen(path)
    if not file.is_dir():
        formats.check(file, file.suffix == ".safetensors")
    if is_checkpoint(path):
        return "converted, or trained by the harness"
    return {"yes": "as published", "no": "not the published file"}.get(published.check(path), "no hash is published")
