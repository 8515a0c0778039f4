"""Is training with DiffAug worth anything to each detector? Paired tests on the shipped records.

    python benchmarks/openood_pairs.py results > results/openood_pairs.md

Each bundled architecture, +DiffAug against plain, under each detector on the same images. No correction for the number
of tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness import leaderboard, plugins
from harness.leaderboard import Table

SUITE = "openood-digits"


def table(root: Path) -> Table:
    """Differences of mean AUROC, near and far, in points."""
    plugins.discover()
    suite = plugins.suite.configure(SUITE)[1]
    entries = [r for r in leaderboard.find(root) if r.suite == SUITE and r.status == "complete"]
    entries = [r for r in entries if r.path and not leaderboard.is_local(r.path, root)]
    found = {(r.model.name, r.method): r for r in entries}
    rows = []
    for (model, method), plain in sorted(found.items()):
        if (trained := found.get((f"{model}+diffaug", method))) is None:
            continue
        results = {row[0]: row for row in suite.compare(plain, trained).rows}
        near, far = results["near"], results["far"]
        rows.append([model, method, near[1], near[3], far[1], far[3]])
    header = ["model", "detector", "near: difference (points)", "p", "far: difference (points)", "p"]
    caption = "AUROC of +DiffAug minus plain, mean of the data sets; 95 % intervals and p by DeLong's paired test."
    return Table(f"+DiffAug against plain on {SUITE} v{suite.version}", header, rows, caption)


if __name__ == "__main__":
    sys.stdout.write(leaderboard.markdown(table(Path(sys.argv[1]))))
