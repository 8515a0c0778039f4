"""Commands that repeat a classifier's numbers and its training, and what to cite."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.evaluation.records.record import RunRecord
from harness.report.page.parts import BoardRow, BoardTable, Cell, Section

CITATION = (
    "Cite this harness (CITATION.cff), the paper of the benchmark, the papers of the methods, and the authors of the "
    "weights. DiffAug and its ensemble: Sastry, Dumpala and Oore, DiffAug: A Diffuse-and-Denoise Augmentation for "
    "Training Robust Classifiers, NeurIPS 2024. Common corruptions: Hendrycks and Dietterich, ICLR 2019. "
    "Diffusion-driven adaptation: Gao et al., CVPR 2023. Randomized smoothing: Cohen et al., ICML 2019; with a "
    "denoiser: Carlini et al., ICLR 2023. OpenOOD: Yang et al., NeurIPS 2022, and Zhang et al., 2023."
)


def reproduce_section(name: str, entries: Sequence[RunRecord], root: Path, card: Mapping[str, Any]) -> Section:
    """The commands that repeat each record and the training."""
    rows = [["training", "compare with the card", shlex.join(["harness", "rerun", name])]] if card else []
    suites = list(dict.fromkeys(entry.suite for entry in entries))
    rows += [[suite, "evaluate again, suite's default methods", run_line(name, suite, entries)] for suite in suites]
    rows += [[entry.suite, entry.variant, shlex.join(["harness", "rerun", _place(entry, root)])] for entry in entries]
    lines = [BoardRow([Cell(text) for text in row]) for row in rows]
    caption = (
        "harness rerun repeats what made a record, and says whether the numbers agree; --limit 20 tries a few images."
    )
    table = BoardTable("reproduce-table", "Commands", ["what", "how", "command"], lines, caption, names=3)
    return Section("reproduce", "How to reproduce, what to cite", CITATION, folded=[table])


def run_line(name: str, suite: str, entries: Sequence[RunRecord]) -> str:
    """The `harness run` line that evaluates a classifier on a suite, as far as its records agree in all else."""
    spec = next(entry.spec for entry in entries if entry.suite == suite)
    words = ["harness", "run", "--suite", suite, "--model", name]
    words += ["--every", str(spec.every)]
    words += ["--limit", str(spec.limit)] if spec.limit else []
    words += ["--seed", str(spec.seed)] if spec.seed else []
    return shlex.join(words)


def _place(entry: RunRecord, root: Path) -> str:
    """A record's file within its results folder, as a path that the reader of the card can type."""
    assert entry.path is not None
    file = entry.path
    return str(Path(root.name) / file.relative_to(root)) if file.is_relative_to(root) else file.name
