"""``harness run --data DIR`` without ``--suite``: a list of what the folder holds, then one run after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.contents import chosen, contents
from harness.api.left_out import Tally
from harness.api.running import evaluated, replaced
from harness.base.errors import HarnessError
from harness.cli.run_options import FolderChoice, RunExecution

if TYPE_CHECKING:
    from harness.api.planning import Planned, Planner
    from harness.evaluation.estimate import Estimate
    from harness.evaluation.job import Job
    from harness.report.table import Table


def check_unused(choice: FolderChoice) -> None:
    """Raise HarnessError for a choice among data sets where a suite is named."""
    if choice.only or choice.skip:
        raise HarnessError("--only and --skip choose among what --data DIR holds: give --data, without --suite.")


def run_folder(root: Path, choice: FolderChoice, planner: Planner, execution: RunExecution) -> None:
    """Print the list of data sets with costs, run them one after the other, and print the leaderboards.

    Raises HarnessError at the end for data sets that failed; those that do not fit the models are only named.
    """
    from harness.evaluation.estimate import estimate
    from harness.terminal import console

    holdings = chosen(contents(root), choice.only, choice.skip)
    planner.check(holdings)
    costs: list[Estimate] = []
    notices: dict[str, None] = {}

    def see(job: Job) -> None:
        costs.append(estimate(job, planner.execution.claims))
        notices.update(dict.fromkeys(replaced(job)))

    plans = list(planner.plan(holdings, see))
    ready = [planned for planned in plans if planned.request]
    if ready:
        console.show(_list(root, ready, costs))
    for notice in notices:
        console.err.print(notice, markup=False)
    for sentence, names in _sentences(plans).items():
        console.out.print(f"{', '.join(names)}: {sentence}", soft_wrap=True)
    if not ready:
        raise HarnessError(f"Nothing of what {root} holds can be evaluated; the reasons are above.")
    failures = [_named(planned) for planned in plans if planned.failed]
    if not execution.dry_run:
        records: list[Path] = []
        kept = 0
        reasons: list[str] = []
        for planned in ready:
            try:
                assert planned.request
                job = planner.prepare(planned.request)
                records += evaluated([job], planner.execution)
                tally = Tally.of([job])
                kept += tally.kept
                reasons += tally.reasons
            except HarnessError as error:
                console.fail(f"{_named(planned)}: {error}")
                failures.append(_named(planned))
        finish(Tally(kept, reasons), records, execution)
    if failures:
        raise HarnessError(f"Not evaluated, for the reasons above: {', '.join(failures)}. The others are done.")


def _named(planned: Planned) -> str:
    """The data set and the suite."""
    suites = " or ".join(planned.holding.suites)
    return planned.holding.folder if planned.holding.folder == suites else f"{planned.holding.folder} ({suites})"


def _sentences(plans: Sequence[Planned]) -> dict[str, list[str]]:
    """Sentences on what is left out, each with the data sets that it is true of."""
    sentences: dict[str, list[str]] = {}
    for planned in plans:
        reasons = [f"left out: {planned.reason}"] if planned.reason else []
        for sentence in (*planned.remarks, *reasons):
            sentences.setdefault(sentence, []).append(_named(planned))
    return sentences


def _list(root: Path, ready: Sequence[Planned], costs: Sequence[Estimate]) -> Table:
    """A row per data set and suite that can run."""
    from harness.plugins.settings import split
    from harness.report.table import Table

    rows = []
    for planned, cost in zip(ready, costs, strict=True):
        assert planned.request
        spec = planned.request.spec
        suite, _, settings = spec.suite.partition(":")
        others = [part for part in split(settings) if part and not part.startswith("data=")]
        here = "" if cost.missing == cost.images else f"{cost.images - cost.missing:,} on disk"
        rows.append(
            [
                planned.holding.folder,
                "\n".join([suite, *others, *([spec.stride] if spec.every > 1 else [])]),
                "\n".join(spec.models),
                "\n".join(spec.methods),
                "\n".join(filter(None, [f"{cost.images:,}", here])),
                f"{'at most ' if cost.at_most else ''}{_duration(cost.seconds)}",
            ]
        )
    total = _duration(sum(cost.seconds for cost in costs))
    caption = f"About {total} in all, from a short measurement on this machine; images under every condition."
    return Table(f"What {root} holds", ["folder", "suite", "model", "method", "images", "time"], rows, caption, True)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def finish(tally: Tally, records: Sequence[Path], execution: RunExecution) -> None:
    """Print the leaderboards of the records, the pairs that were left out, and the next step."""
    from harness.report import boards, leaderboard
    from harness.terminal import console

    for entries in boards.boards(boards.readable(records, console.leave_out)).values():
        console.show(leaderboard.ranking(entries))
    for reason in tally.reasons:
        console.out.print(f"Left out: {reason}", markup=False, soft_wrap=True)
    out = execution.out
    missing = tally.kept - len(records)
    if missing:
        console.out.print(f"Shard {execution.shard} is done; {missing} record(s) wait for the other shards.")
    console.out.print(f"Records written or found in {out}: {len(records)}.")
    if len(records) > 1:
        files = "".join(f" --plugin {file}" for file in execution.plugin)
        console.out.print(
            f"Compare two: harness compare MODEL:METHOD MODEL:METHOD --results {out} --suite SUITE{files}", markup=False
        )
