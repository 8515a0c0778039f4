"""Pairs of classifiers and guides: which belong together, and which fit.

A guide that asks no classifier has one row, with the model `NO_CLASSIFIER`, and every other guide a row per classifier.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from harness import plugins
from harness.base.errors import Notice
from harness.types import NO_CLASSIFIER, Pair, Unsuited


def is_guided(suite: Any) -> bool:
    """True if a suite combines classifiers with guides."""
    return plugins.guide in plugins.AXES[suite.axis].registries


def asks(suite: Any, method: str) -> bool:
    """True if a method of a suite's line-up asks a classifier: every one but some guides. method: its text."""
    return not is_guided(suite) or bool(plugins.guide.of(method).facts.get("classifier"))


def belong(suite: Any, model: str, method: str) -> bool:
    """True if a model and a method of a suite's line-up make a pair."""
    return asks(suite, method) == (model != NO_CLASSIFIER)


def with_no_classifier(suite: Any, models: Sequence[str], methods: Sequence[str]) -> list[str]:
    """The models that make a pair with a method, with `NO_CLASSIFIER` where a guide asks none."""
    added = dict.fromkeys([NO_CLASSIFIER, *models])
    return [model for model in added if any(belong(suite, model, method) for method in methods)]


def fitting(suite: Any, pairs: Sequence[Pair], denoiser: Any) -> list[Pair]:
    """The pairs that can work, by the suite's `misfit`.

    A classifier or a method that fits none of its partners is left out, with a notice. Raises `Unsuited` with all
    reasons if no pair is left, or none was there.
    """
    misfit = getattr(suite, "misfit", lambda pair, denoiser: "")
    reasons = {(pair.model, pair.method_name): misfit(pair, denoiser) for pair in pairs}
    kept = [pair for pair in pairs if not reasons[pair.model, pair.method_name]]
    if not kept:
        fault = f"{suite.name}: nothing to evaluate with --model {NO_CLASSIFIER}, which is no classifier. Name one."
        raise Unsuited("\n".join(dict.fromkeys(reasons.values())) or fault)
    models, methods = {pair.model for pair in kept}, {pair.method_name for pair in kept}
    lost = [why for (model, method), why in reasons.items() if why and not (model in models and method in methods)]
    for reason in dict.fromkeys(lost):
        warnings.warn(Notice(f"{suite.name}: left out. {reason}"), stacklevel=2)
    return kept
