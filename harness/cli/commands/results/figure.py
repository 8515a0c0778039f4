"""``harness figure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Device, Files, Plugin, Seed, with_records


def figure(
    name: Annotated[
        str, typer.Argument(help="Figure, with settings. [default: list them]", metavar="[NAME]", show_default=False)
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("figures"),
    results: Annotated[
        Path, typer.Option(help="Folder with records, searched through; where there is none, the project's own.")
    ] = RESULTS,
    model: Annotated[
        list[str],
        typer.Option(help="Classifier; of records also a pattern: 'digits/vit*'. Repeatable. [default: the figure's]"),
    ] = [],  # noqa: B006
    denoiser: Annotated[str, typer.Option(help="Diffusion model. [default: the figure's]", show_default=False)] = "",
    data: Annotated[Path | None, typer.Option(help="Folder of the data, where a figure reads one.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the figure needs, and draw nothing.")] = False,
    plugin: Plugin = [],  # noqa: B006
    weights: Files = [],  # noqa: B006
) -> None:
    """Draw one figure for a paper: PNG (300 dpi), SVG, the numbers drawn as CSV, and a caption.

    Figures of measurements read records only; others run networks, under a progress bar. The same records, networks
    and seed make the same files.

    Examples: `harness figure`, `harness figure entropy`, `harness figure certified --model 'digits/vit*' --out paper`.
    """
    from harness.api.figures import making
    from harness.api.figures.sources import StoredSources
    from harness.cli.commands.list import list_plugins
    from harness.report.figures.files import paths
    from harness.terminal import console

    if not name:
        list_plugins("figures", False, plugin)
        return
    chosen = making.find(name, plugin)
    folder = with_records(results)
    if folder != results and hasattr(chosen.plugin, "suite"):
        console.note(f"There is no folder {results} here: the records are those of the project, in {folder}.")
    sources = StoredSources(
        chosen.entry, folder, model, denoiser, str(data or ""), seed, device, weights, leave_out=console.leave_out
    )
    if dry_run:
        lines = making.needs(chosen, sources)
        verb, files = "Would write", paths(out, chosen.entry.name)
    else:
        lines, verb, files = [], "Wrote", making.make(chosen, sources, out)
    console.out.print("\n".join([*lines, f"{verb} {', '.join(map(str, files))}"]), soft_wrap=True)
