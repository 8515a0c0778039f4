"""Evaluation of classifiers from Python: the same path as ``harness run``, for objects as well as for names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from torch import nn

from harness import plugins as registries
from harness.api.left_out import Tally
from harness.api.live.borrowed import borrowed
from harness.api.live.networks import Model, check_names, classifier_of, models_of
from harness.api.live.objects import texts_by_kind, texts_of
from harness.api.requests import SUITE, requests
from harness.api.running import Execution, claims_of, evaluated, prepared, print_subsets
from harness.api.weight_files import weight_files_of
from harness.base.errors import HarnessError, suggest
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.plugins.settings import spell
from harness.types import RunSpec, Weights
from harness.types.spec import DTYPES

Numbers = float | Sequence[float]
OUT = Path("results") / "local"
"""Folder of the records, unless `out` names another one."""


def evaluate(
    model: Any, suite: Any = None, methods: Any = None, *, name: str | None = None,
    mean: Numbers | None = None, std: Numbers | None = None, image_size: int | Sequence[int] | None = None,
    interpolation: str | None = None, classes: Any = None, architecture: str | None = None,
    smoothers: Any = None, detectors: Any = None, attacks: Any = None, guides: Any = None,
    data: Path | str | None = None, denoiser: Path | str | None = None, every: int | None = None, limit: int = 0,
    seed: int = 0,
    device: str = "auto", dtype: str = "auto", denoiser_dtype: str = "auto", tile: int = 0, gradient_tile: int = 16,
    compile: bool = False, out: Path | str = OUT, workers: int | str = "auto", batch_size: int = 0,
    on_bad_image: Literal["stop", "skip"] = "stop", weights: Sequence[str] = (), plugins: Any = (),
    fresh: bool = False, shard: tuple[int, int] | None = None, progress: bool = True, keep_logits: bool = False,
    keep_images: bool = False, **suite_settings: Any,
) -> list[RunRecord]:  # fmt: skip
    """Evaluate classifiers under test-time methods on benchmarks; the complete records, which also lie in `out`.

    What is on disk is not computed again. See docs/python.md for examples, and `harness run --help` for the settings
    that have the names of its options.

    model: a network (nn.Module; with `name`), a `Model`, a registered name, a checkpoint's path, or a list of these.
    suite: text or object, or a list; without one `digits-c` on every sixth image. methods, smoothers, detectors,
    attacks, guides: texts or objects, or lists of these. suite_settings: severity=, ... of suites that have them.
    name, mean, std, image_size, interpolation, classes, architecture: of a single network or checkpoint: see `Model`.
    Networks that are objects are handed back as they were. Raises HarnessError for mistakes, before any work is done.
    """
    arguments = dict(locals())
    registries.discover(*([Path(plugins)] if isinstance(plugins, str | Path) else map(Path, plugins)))
    stated = ("name", "mean", "std", "image_size", "interpolation", "classes", "architecture")
    names, models = models_of(model, **{key: arguments[key] for key in stated})
    suites = texts_of(registries.suite, suite)
    texts = texts_by_kind(methods=methods, smoothers=smoothers, detectors=detectors, attacks=attacks, guides=guides)
    settings = {setting.name: arguments.get(setting.name) for setting in fields(RunSpec)}
    settings |= {"suite": suites, "models": names, "denoiser": str(denoiser) if denoiser else None}
    execution = Execution(
        Path(out), weight_files_of(weights), claims_of(shard), on_bad_image == "skip", batch_size, str(workers), fresh,
        shown=progress,
    )  # fmt: skip
    _check(arguments, suites)
    return _records(models, settings, _spelled({"data": data, **suite_settings}), texts, execution)


def _records(
    models: Sequence[Model],
    settings: Mapping[str, Any],
    suite_settings: Mapping[str, Any],
    texts: Mapping[str, Sequence[str]],
    execution: Execution,
) -> list[RunRecord]:
    """The records of a call whose arguments are all read."""
    check_names(models)
    with borrowed([model.network for model in models]):
        networks: dict[str, tuple[nn.Module, Weights]] = {}
        for model in models:
            networks[model.name] = classifier_of(model)
        jobs = prepared(requests(settings, suite_settings, texts, False, execution.weight_files, networks), execution)
        if execution.shown:
            print_subsets(jobs, "every=1")
        paths = evaluated(jobs, execution)
        Tally.of(jobs)  # raises if nothing could be evaluated
    return [record.load(path) for path in paths]


def _check(arguments: Mapping[str, Any], suites: Sequence[str]) -> None:
    """Raise HarnessError for values that a command line would refuse. suites: their texts."""
    every = arguments["every"]
    if every is not None and (not isinstance(every, int) or every < 1):
        raise HarnessError(f"every={every!r} must be a whole number of at least 1; None takes the suite's.")
    for setting in ("limit", "seed", "tile", "batch_size"):
        value = arguments[setting]
        if not isinstance(value, int) or value < 0:
            raise HarnessError(f"{setting}={value!r} must be a whole number of at least 0.")
    choices = {"on_bad_image": ("stop", "skip"), "dtype": DTYPES, "denoiser_dtype": DTYPES}
    for setting, values in choices.items():
        if arguments[setting] not in values:
            raise HarnessError(f"{setting}={arguments[setting]!r} must be one of {', '.join(values)}.")
    accepted = [set(registries.suite.of(text).parameters) for text in suites or [SUITE]]
    settings = {key for entry in registries.suite.entries() for key in entry.parameters}.union(*accepted)
    for key, value in arguments["suite_settings"].items():
        if key not in settings:
            raise suggest("argument", key, sorted({*settings, *signature(evaluate).parameters} - {"suite_settings"}))
        if value is not None and not any(key in parameters for parameters in accepted):
            raise HarnessError(f"{key}={value!r}: {', '.join(suites) or SUITE} has no such setting. Leave {key}= out.")


def _spelled(settings: Mapping[str, Any]) -> dict[str, str | None]:
    """Settings of suites as the command line spells them, None where not given."""
    return {
        key: None if value is None else spell(tuple(value) if isinstance(value, list) else value)
        for key, value in settings.items()
    }
