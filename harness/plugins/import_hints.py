"""Remedies for plugin files that cannot be imported, with the former places of what they import."""

from __future__ import annotations

import re
from pathlib import Path

MOVED = {
    "harness.adm": "harness.diffusion.adm.checkpoint",
    "harness.checkpoint": "harness.models.checkpoint",
    "harness.classifier": "harness.models.classifier",
    "harness.corruptions": "harness.data.corruptions",
    "harness.deepaugment": "harness.train.augment.deepaugment",
    "harness.errors": "harness.types (HarnessError)",
    "harness.evaluate": "harness.evaluation.loop, and prepare in harness.evaluation.prepare",
    "harness.leaderboard": "harness.report.leaderboard, and Table in harness.report.table",
    "harness.metrics": "harness.metrics.accuracy and its neighbours",
    "harness.models.locate": "harness.models.published.locate",
    "harness.networks": "harness.models.tiles",
    "harness.noise": "harness.base.noise",
    "harness.record": "harness.evaluation.records.record",
    "harness.sources": "harness.models.published.locate",
    "harness.suites.certify": "harness.suites.bases.certification",
    "harness.suites.corrupted": "harness.suites.bases.corrupted",
    "harness.suites.detection": "harness.suites.bases.detection",
    "harness.suites.published": "harness.suites.bases.published",
    "harness.suites.shift": "harness.suites.bases.covariate_shift",
    "harness.tables": "harness.evaluation.records.rows",
    "harness.types.Scene": "harness.types.BatchTask",
    "harness.types.Tally": "harness.types.Calls",
    "harness.views": "harness.evaluation.views.batch",
    "harness.weights": "harness.models.lookup (load_classifier), and harness.diffusion.lookup (load_denoiser)",
}
"""By former name, the present one."""


def hint(error: BaseException, file: Path) -> str:
    """A sentence, after a blank, on how to repair a plugin file whose import raised an error."""
    if not isinstance(error, ImportError):
        return f" Correct this line; python {file} shows the whole traceback."
    module, name = error.name or "", re.match(r"cannot import name '(\w+)'", str(error))
    for former in (module, f"{module}.{name[1]}" if name else module):
        if former in MOVED:
            return f" It has moved to {MOVED[former]}."
    if "attempted relative import" in str(error):
        return " A plugin file belongs to no package: name a module beside it without the dot, import NAME."
    if isinstance(error, ModuleNotFoundError) and not module.startswith("harness"):
        return f" Install {module.partition('.')[0]}, or put it beside {file.name}."
    return f" Correct this line; python {file} shows the whole traceback."
