"""From the options of ``harness run`` to specifications: what is evaluated where nothing is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.types import RunSpec


def configured(suites: list[str], settings: dict[str, Any]) -> list[str]:
    """The suites with the options that are short for a setting; each must mean something to one of them."""
    from harness import plugins

    for key, value in settings.items():
        if value is None:
            continue
        takers = [name for name in suites if key in plugins.suite.of(name).parameters]
        if not takers:
            raise HarnessError(f"--{key}: {', '.join(suites)} has no such setting.")
        suites = [f"{s}{',' if ':' in s else ':'}{key}={value}" if s in takers else s for s in suites]
    return suites


def check_axes(suites: list[str], given: dict[str, list[str]]) -> None:
    """Methods must be of a kind that one of the suites takes."""
    from harness import plugins

    options = _options()
    taken = {kind for name in suites for kind in plugins.AXES[plugins.suite.configure(name)[1].axis].kinds}
    for kind, texts in given.items():
        if texts and kind not in taken:
            takes = " and ".join(sorted(options[name] for name in taken))
            raise HarnessError(f"{options[kind]} {texts[0]}: {', '.join(suites)} takes {takes}. See: harness list.")


def spec_of(
    suite: str, models: list[str], given: dict[str, list[str]], denoiser: str | None, tile: int,
    every: int, common: dict[str, Any],
) -> RunSpec:  # fmt: skip
    """What to evaluate on one suite: what was given, and the usual for all else."""
    from harness import plugins
    from harness.types import RunSpec

    suite, bench = plugins.suite.configure(suite)
    data = bench.open(bench.conditions()[0], common["seed"])
    line_up = models or _line_up(suite, bench.dataset)
    axis = plugins.AXES[bench.axis]
    names = axis.names(given, bench.methods)
    if not denoiser and not any(given.values()) and not bench.diffuses:
        names = _without_denoiser(suite, bench.denoiser, names, axis)
    needs_denoiser = bench.diffuses or any(axis.of(name).facts.get("denoiser") for name in names)
    return RunSpec(
        suite=suite,
        models=tuple(dict.fromkeys(line_up)),
        methods=tuple(dict.fromkeys(names)),
        denoiser=(denoiser or bench.denoiser) if needs_denoiser else None,
        every=every or bench.every,
        tile=tile or (100 if data.geometry.crop <= 64 else 16),
        **common,
    )


def _options() -> dict[str, str]:
    """By kind of plugin, the option that names one."""
    from harness import plugins

    return {plugins.method.kind: "--tta", plugins.smoother.kind: "--smooth", plugins.detector.kind: "--detector"}


def _without_denoiser(suite: str, denoiser: str | None, names: list[str], axis: Any) -> list[str]:
    """A suite's usual methods, but for those whose diffusion model is not here; HarnessError if none is left."""
    from harness import console, plugins

    published = plugins.denoiser[denoiser].facts.get("published") if denoiser else None
    lacks = published.lacks if published else ""
    left_out = [name for name in names if lacks and axis.of(name).facts.get("denoiser")]
    kept = [name for name in names if name not in left_out]
    if not left_out:
        return names
    told = (
        f"the diffusion model {denoiser} ({lacks}) is not here. What to put where: harness weights list. "
        "Another one: --denoiser."
    )
    if not kept:
        free = [entry.name for entry in axis.entries() if not entry.facts.get("denoiser")]
        raise HarnessError(f"{suite}: {', '.join(left_out)}: {told} Without one: {_options()[axis.kind]} {free[0]}.")
    console.err.print(f"{suite}: left out {', '.join(left_out)}: {told}", markup=False)
    return kept


def _line_up(suite: str, dataset: str) -> list[str]:
    """The models that a suite takes where none is named: those of its data set whose weights are here."""
    from harness import console, plugins

    usual = [e for e in plugins.model.entries() if e.source or e.facts.get("dataset") == dataset]
    if not usual:
        raise HarnessError(f"No model is registered for {dataset!r}, the data of {suite!r}. Name one with --model.")
    lacking = ", ".join(f"{entry.name} ({entry.lacks})" for entry in usual if entry.lacks)
    remedy = "What to put where: harness weights list."
    line_up = [entry.name for entry in usual if not entry.lacks]
    if not line_up:
        raise HarnessError(f"{suite!r}: the weights of its models are not here: {lacking}. {remedy}")
    if lacking:
        console.err.print(f"{suite}: left out for want of weights: {lacking}. {remedy}", markup=False)
    return line_up
