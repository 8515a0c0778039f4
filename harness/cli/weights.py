"""``harness weights``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import HarnessError
from harness.cli.options import Files, Plugin

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
    give(weights)
    published = _published().values()
    caption = f"Files go into {locate.folder().absolute()}; $HARNESS_WEIGHTS names another folder, --weights a file."
    header = ["name", "file", "state", "licence"]
    console.show(Table("Published weights", header, [_row(source) for source in published], caption, multiline=True))
    for line in _addresses(source for source in published if not source.find()):
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
    for source in map(_source, names):
        path = source.find() or _fetch(source)
        console.out.print(f"{source.name}: {path} ({_state(source, path)})", markup=False)


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
    from harness.base.files import check_regular
    from harness.cli import console
    from harness.diffusion import adm_checkpoint
    from harness.diffusion.lookup import find_denoiser
    from harness.models import locate, manifest
    from harness.models.lookup import ENDINGS, find_classifier

    plugins.discover(*plugin)
    give(weights)
    file = next((path for path in (Path(what), locate.folder() / what) if locate.chosen(path)[0].is_file()), None)
    if own := None if name else _own(what, file):
        denoiser, info = own
        out = out or locate.folder() / f"{Path(info.source).stem}.safetensors"
        console.out.print(f"{info.source}: {out}, SHA-256 {adm_checkpoint.write(denoiser, info, out)}", markup=False)
        return
    if file:
        name = name or _named(file)
        give([f"{name}={file}"])
    elif (path := locate.chosen(Path(what))[0]).suffix in ENDINGS:
        if path.exists():
            check_regular(path)
        raise HarnessError(f"{what}: there is no such file, here or in {locate.folder().absolute()}.")
    else:
        name = what
        fetch([name])
    out = out or locate.folder() / f"{name}.safetensors"
    if name in plugins.denoiser:
        denoiser, info = find_denoiser(name)
        sha256 = adm_checkpoint.write(denoiser, info, out)
    else:
        network, info = find_classifier(name)
        sha256 = manifest.convert(network, info, out)
    console.out.print(f"{name}, from {info.source}: {out}, SHA-256 {sha256}", markup=False)


def _own(what: str, file: Path | None) -> tuple[Denoiser, Weights] | None:
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
        own = flagged and not _publishers(path.name)
        return adm_checkpoint.load(file, flags_beside(path)) if own else None
    return find_denoiser(what) if ":" in what and what.partition(":")[0] in plugins.denoiser else None


def give(texts: Sequence[str]) -> None:
    """Accept the files of ``--weights NAME=FILE``; each name must be of published weights or of a library's model."""
    from harness import plugins
    from harness.models import locate

    families = {*plugins.model.families, *plugins.denoiser.families}
    for name in locate.give(texts):
        if f"{name.partition('/')[0]}/NAME" not in families:
            _source(name)


def fetch(names: Iterable[str]) -> None:
    """Download those published weights among the named models that are not here and have an address."""
    from harness.models import download

    for name in names:
        source = _published().get(name)
        if source and not source.find() and any(file.urls for file in source.files) and not download.offline():
            _fetch(source)


def _fetch(source: PublishedWeights) -> Path:
    from harness.cli import console
    from harness.models import download, locate

    problems = []
    addresses = [(published, url) for published in source.files for url in published.urls]
    for file, url in addresses:
        path = locate.folder() / file.name
        try:
            with console.downloading(file.name) as report:
                download.download(url, path, sha256=file.digits, size=file.size, report=report)
            return path
        except HarnessError as error:
            problems.append(f"Fetching it failed: {error}")
    raise HarnessError(" ".join([source.missing, *problems]))


def _published() -> dict[str, PublishedWeights]:
    """All published weights, by the name of their model or denoiser."""
    from harness import plugins

    entries = [*plugins.model.entries(), *plugins.denoiser.entries()]
    return {entry.name: entry.facts["published"] for entry in entries if "published" in entry.facts}


def _source(name: str) -> PublishedWeights:
    from harness.plugins import suggest

    if name not in _published():
        raise suggest("name of published weights", name, list(_published()))
    return _published()[name]


def _publishers(name: str) -> list[str]:
    """Models and denoisers whose published weights lie in a file of that name."""
    return [model for model, source in _published().items() if name in [file.name for file in source.files]]


def _named(file: Path) -> str:
    """The model whose weights a file holds, by its published name; raises HarnessError for an ambiguous one."""
    from harness.models.locate import chosen

    file, _ = chosen(file)
    models = _publishers(file.name)
    if len(models) != 1:
        raise HarnessError(
            f"{file}: its name does not tell whose weights it holds. Say it with --as NAME; for your own ADM "
            f"checkpoint put its flags into {file.with_suffix('.json').name} beside it."
        )
    return models[0]


def _row(source: PublishedWeights) -> list[str]:
    path = source.find()
    try:
        state = f"{path}\n{_state(source, path)}" if path else "missing"
    except HarnessError as error:
        state = f"wrong: {error}"
    return [source.name, "\n".join(file.name for file in source.files), state, source.licence]


def _addresses(missing: Iterable[PublishedWeights]) -> Iterator[str]:
    """Addresses of missing weights: a line for each file with an address, and for each page."""
    by_hand: dict[str, list[str]] = {}
    for source in missing:
        if url := next((url for file in source.files for url in file.urls), ""):
            yield f"harness weights download {source.name}: {url}"
        else:
            by_hand.setdefault(source.page, []).append(source.files[0].name)
    yield from (f"By hand, from {page}: {', '.join(files)}" for page, files in by_hand.items())


def _state(source: PublishedWeights, path: Path) -> str:
    """The state of a file that is here. Raises HarnessError for a file of another kind than its name says."""
    from harness.models.checkpoint import is_checkpoint
    from harness.models.files import formats
    from harness.models.locate import chosen

    file, _ = chosen(path)
    if not file.is_dir():
        formats.check(file, file.suffix == ".safetensors")
    if is_checkpoint(path):
        return "converted, or trained by the harness"
    return {"yes": "as published", "no": "not the published file"}.get(source.check(path), "no hash is published")
