"""Former places of what plugins import, so that a plugin of an earlier version is told where to look."""

from __future__ import annotations

import re

MOVED = {
    "harness.adm": "harness.diffusion.adm_checkpoint",
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


def hint(error: BaseException) -> str:
    """A sentence for an import that failed because its target has moved; empty for any other error."""
    if not isinstance(error, ImportError):
        return ""
    module, name = error.name or "", re.match(r"cannot import name '(\w+)'", str(error))
    for former in (module, f"{module}.{name[1]}" if name else module):
        if former in MOVED:
            return f" It has moved to {MOVED[former]}."
    return ""
