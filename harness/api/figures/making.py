"""Make a figure: find its plugin, draw it in the common look, write its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import plugins
from harness.api.figures.sources import StoredSources
from harness.base.errors import HarnessError
from harness.base.files import check_writable
from harness.plugins import Configured
from harness.report.figures import files
from harness.report.figures.style import styled
from harness.types.figures import Drawing


def find(text: str, plugin_files: Sequence[Path] = ()) -> Configured:
    """The figure that ``name:key=value`` means. Figures of records import no other plugins, and so no torch.

    plugin_files: the user's own. Raises HarnessError for unknown names and settings.
    """
    if plugin_files:
        plugins.discover(*plugin_files)
    else:
        plugins.discover_package("harness.registry.figures")
    if text.partition(":")[0] not in plugins.figure:
        plugins.discover()
    return plugins.figure.configure(text)


def check(figure: Configured, sources: StoredSources) -> None:
    """Raise HarnessError for an option that means nothing to a figure, by its facts and settings."""
    facts, plugin = figure.entry.facts, figure.plugin
    for option, value, is_taken in (
        ("--denoiser", sources.denoiser_name, "denoiser" in facts),
        ("--model", sources.models, "classifiers" in facts or hasattr(plugin, "suite")),
        ("--data", sources.data, hasattr(plugin, "dataset")),
        ("--weights", sources.weights, bool({"denoiser", "classifiers"} & facts.keys())),
    ):
        if value and not is_taken:
            raise HarnessError(f"{option}: figure {figure.entry.name} takes none. Leave it out.")


def make(figure: Configured, sources: StoredSources, folder: Path) -> list[Path]:
    """Draw a figure and write its files, named after its plugin.

    Raises HarnessError for what is missing, for a plugin that gives no `Drawing`, and for a folder that cannot be
    written to: before the work.
    """
    check(figure, sources)
    check_writable(folder)
    networks = sources.classifiers if "classifiers" in figure.entry.facts else ()
    with styled([*(entry.model.name for entry in sources.every), *networks]):
        drawing = figure.plugin(sources)
        if not isinstance(drawing, Drawing):
            raise HarnessError(f"Figure {figure.entry.name} gave a {type(drawing).__name__}; it must return a Drawing.")
        return files.write(drawing, folder, figure.entry.name)


def needs(figure: Configured, sources: StoredSources) -> list[str]:
    """Sentences on what a figure reads and loads: records of its setting `suite`, and the networks of its facts."""
    check(figure, sources)
    lines = []
    if suite := getattr(figure.plugin, "suite", ""):
        entries = sources.records(suite)
        lines.append(f"Reads {len(entries)} records of {suite} in {sources.results}: {entries[0].coverage}.")
    facts = figure.entry.facts
    if denoiser := facts.get("denoiser"):
        lines.append(f"Loads the diffusion model {sources.denoiser_name or denoiser} (--denoiser).")
    if facts.get("classifiers"):
        lines.append(f"Loads the classifiers {', '.join(sources.classifiers)} (--model).")
    return lines
