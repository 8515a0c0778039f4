"""Analyses from Python: the same path as ``harness analyse``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.machine import usable_device
from harness.api.weight_files import fetch_missing, weight_files_of

if TYPE_CHECKING:
    from harness.analysis.features import AnalyseSpec
    from harness.analysis.record import AnalysisRecord, TimesRecord
    from harness.analysis.sparse_autoencoder import SparseCodes
    from harness.analysis.times import TimesSpec


def analyse(
    models: str | Path | Sequence[str | Path], *, dataset: str = "digits", data: Path | str = "",
    analyses: Sequence[str] = (), limit: int = 10_000, shares: Sequence[float] = (0.95, 0.99), seed: int = 0,
    sparse: SparseCodes | None = None, device: str = "auto", out: Path | str | None = None,
    weights: Sequence[str] = (), plugins: Sequence[str | Path] = (), progress: bool = True,
) -> AnalysisRecord:  # fmt: skip
    """Analyse the features of classifiers; the record, whose models hold a `Metric` for each number.

    models: names or paths, one or several. analyses: probe, pca, rank, sphere, sae; all without. shares: of the full
    accuracy, for `pca_classification_dimension`. sparse: settings of the sparse autoencoders. out: file for the record.
    plugins: Python files.
    Raises HarnessError for mistakes.
    """
    from harness import plugins as registries
    from harness.analysis.features import AnalyseSpec
    from harness.analysis.sparse_autoencoder import SparseCodes

    registries.discover(*map(Path, plugins))
    several = [models] if isinstance(models, str | Path) else models
    spec = AnalyseSpec(
        tuple(map(str, several)), dataset, str(data), tuple(analyses), limit, tuple(shares), sparse or SparseCodes(),
        seed, usable_device(device),
    )  # fmt: skip
    return analysed(spec, weights, Path(out) if out else None, shown=progress)


def analysed(spec: AnalyseSpec, weights: Sequence[str], out: Path | None, *, shown: bool = True) -> AnalysisRecord:
    """The record of an analysis of features, made under a progress bar and written to `out`."""
    from harness.analysis.features import analyse as run

    weight_files = weight_files_of(weights)
    fetch_missing(spec.models, weight_files)
    return _made(lambda report: run(spec, weight_files, report), out, shown)


def analysed_times(spec: TimesSpec, weights: Sequence[str], out: Path | None, *, shown: bool = True) -> TimesRecord:
    """The record of a diffusion model's times, made under a progress bar and written to `out`."""
    from harness.analysis.times import analyse_times

    weight_files = weight_files_of(weights)
    fetch_missing([spec.denoiser], weight_files)
    return _made(lambda report: analyse_times(spec, weight_files, report), out, shown)


def _made(make: Callable[..., Any], out: Path | None, shown: bool) -> Any:
    from harness.analysis.record import write_analysis
    from harness.base.files import check_writable
    from harness.terminal import console

    if out:
        check_writable(out.parent)
    with console.progress(shown) as bar:
        record = make(_reporter(bar))
    if out:
        write_analysis(record, out)
        if shown:
            console.note(f"Wrote {out}.")
    return record


def _reporter(bar: Any) -> Callable[..., None]:
    """The function that shows the progress: a line for each stage."""
    lines: dict[str, Any] = {}

    def report(stage: Any) -> None:
        if stage.name not in lines:
            lines[stage.name] = bar.begin(stage.name, stage.total), stage.done
        task, before = lines[stage.name]
        bar.update(task, total=stage.total, completed=stage.done, computed=stage.done - before, unit=stage.unit)

    return report
