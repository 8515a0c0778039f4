"""``harness weights``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.options import Files, Plugin
from harness.cli.weight_files import fetch, fetch_missing, published_weights, publishers, use_files, weights_named

if TYPE_CHECKING:
    from harness.diffusion.denoiser import Denoiser
    from harness.models.locate import PublishedWeights
    from harness.types import Weights

app = typer.Typer(help="Manage published weights.", no_args_is_help=True)


@app.command("list")
def list_weights(
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List the published weights: those that are here, and for the others what to put where."""
    from harness import plugins
    from harness.cli import console
    from harness.models import locate
    from harness.report.table import Table

    plugins.discover(*plugin)
    use_files(weights)
    published = published_weights().values()
    caption = f"Files go into {locate.folder().absolute()}; $HARNESS_WEIGHTS names another folder, --weights a file."
    header = ["name", "file", "state", "licence"]
    console.show(Table("Published weights", header, [_row(entry) for entry in published], caption, multiline=True))
    for line in _addresses(entry for entry in published if not entry.find()):
        console.out.print(line, markup=False, soft_wrap=True)


@app.command()
def download(
    names: Annotated[list[str], typer.Argument(help="Names: see harness weights list.")],
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Fetch published weights into the folder of weights, check them where a hash is known, and resume if cut off."""
    from harness import plugins
    from harness.cli import console

    plugins.discover(*plugin)
    for published in map(weights_named, names):
        path = published.find() or fetch(published)
        console.out.print(f"{published.name}: {path} ({_state(published, path)})", markup=False)


@app.command()
def convert(
    what: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A model or a denoiser, or a file as its authors publish it.")
    ],
    out: Annotated[Path | None, typer.Option(help="[default: NAME.safetensors in the folder of weights]")] = None,
    name: Annotated[
        str,
        typer.Option(
            "--as", show_default=False, help="Model whose weights FILE holds, if the file's name does not say so."
        ),
    ] = "",
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Write a model's weights as safetensors once: they load faster, without a pickle, and remember their origin.

    Examples: `harness weights convert resnet50.augmix`, `harness weights convert adm256`, `harness weights convert
    DA_diffaug.ckpt --out da.safetensors`, and for your own ADM checkpoint `harness weights convert mine.pt`, with its
    flags in mine.json, or `harness weights convert adm:file=mine.pt,num_channels=128`
    """
    from harness import plugins
    from harness.cli import console
    from harness.diffusion import adm_checkpoint
    from harness.models import locate

    plugins.discover(*plugin)
    use_files(weights)
    file = next((path for path in (Path(what), locate.folder() / what) if locate.chosen(path)[0].is_file()), None)
    if own := None if name else _own_denoiser(what, file):
        denoiser, info = own
        out = out or locate.folder() / f"{Path(info.source).stem}.safetensors"
        console.out.print(f"{info.source}: {out}, SHA-256 {adm_checkpoint.write(denoiser, info, out)}", markup=False)
        return
    if file:
        name = name or _name_by_file(file)
        use_files([f"{name}={file}"])
    else:
        _check_no_file(what)
        name = what
        fetch_missing([name])
    out = out or locate.folder() / f"{name}.safetensors"
    source, sha256 = _write(name, out)
    console.out.print(f"{name}, from {source}: {out}, SHA-256 {sha256}", markup=False)


def _check_no_file(what: str) -> None:
    """Raise HarnessError for a text that ends like a file of weights: there is no such file."""
    from harness.base.files import check_regular
    from harness.models import locate
    from harness.models.lookup import ENDINGS

    path = locate.chosen(Path(what))[0]
    if path.suffix in ENDINGS:
        if path.exists():
            check_regular(path)
        raise HarnessError(f"{what}: there is no such file, here or in {locate.folder().absolute()}.")


def _write(name: str, out: Path) -> tuple[str, str]:
    """Write a model or denoiser as safetensors; the source of its weights, and the file's SHA-256."""
    from harness import plugins
    from harness.diffusion import adm_checkpoint
    from harness.diffusion.lookup import find_denoiser
    from harness.models import manifest
    from harness.models.lookup import find_classifier

    if name in plugins.denoiser:
        denoiser, info = find_denoiser(name)
        return info.source, adm_checkpoint.write(denoiser, info, out)
    network, info = find_classifier(name)
    return info.source, manifest.convert(network, info, out)


def _own_denoiser(what: str, file: Path | None) -> tuple[Denoiser, Weights] | None:
    """The user's own diffusion model: an ADM checkpoint with its flags beside it or after its name; else None."""
    from harness import plugins
    from harness.diffusion import adm_checkpoint
    from harness.diffusion.adm_flags import flags_beside
    from harness.diffusion.lookup import find_denoiser
    from harness.models.locate import chosen
    from harness.models.lookup import PICKLED

    if file:
        path, _ = chosen(file)
        flagged = path.suffix in PICKLED and path.with_suffix(".json").is_file()
        own = flagged and not publishers(path.name)
        return adm_checkpoint.load(file, flags_beside(path)) if own else None
    return find_denoiser(what) if ":" in what and what.partition(":")[0] in plugins.denoiser else None


def _name_by_file(file: Path) -> str:
    """The model whose weights a file holds, by its published name; raises HarnessError for an ambiguous one."""
    from harness.models.locate import chosen

    file, _ = chosen(file)
    models = publishers(file.name)
    if len(models) != 1:
        raise HarnessError(
            f"{file}: its name does not tell whose weights it holds. Say it with --as NAME; for your own ADM "
            f"checkpoint put its flags into {file.with_suffix('.json').name} beside it."
        )
    return models[0]


def _row(published: PublishedWeights) -> list[str]:
    path = published.find()
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
    """The state of a file that is here. Raises HarnessError for a file of another kind than its name says."""
    from harness.models.checkpoint import is_checkpoint
    from harness.models.files import formats
    from harness.models.locate import chosen

    file, _ = chosen(path)
    if not file.is_dir():
        formats.check(file, file.suffix == ".safetensors")
    if is_checkpoint(path):
        return "converted, or trained by the harness"
    return {"yes": "as published", "no": "not the published file"}.get(published.check(path), "no hash is published")
