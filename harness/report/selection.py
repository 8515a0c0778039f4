"""Selection: from texts on the command line to the two records that a comparison pairs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness import plugins
from harness.base.errors import HarnessError, suggest
from harness.evaluation.records import keys, record
from harness.evaluation.records.record import RunRecord
from harness.plugins.settings import bare
from harness.report.names import label, plain, title, variants


def select_two(a: str, b: str, records: Sequence[RunRecord], suite: str | None = None) -> tuple[RunRecord, RunRecord]:
    """The records that two texts mean: of one leaderboard, and of whole test sets if there are such.

    Raises HarnessError where the texts mean several pairs, or one record twice.
    """
    left, right = resolve(a, records, suite), resolve(b, records, suite)
    suites = sorted({_suite_name(e) for e in left} & {_suite_name(e) for e in right})
    if len(suites) > 1:
        raise HarnessError(f"Both were run on {', '.join(suites)}. Say which one you mean: --suite {suites[-1]}")
    left = [e for e in left if _suite_name(e) in suites] or left
    right = [e for e in right if _suite_name(e) in suites] or right
    left, right = _of_one_board(left, right)
    for text, side in ((a, left), (b, right)):
        if len(side) > 1:
            rows = zip(side, variants(side), strict=True)
            files = "\n  ".join(f"{e.path}  ({title(e)}; {variant}; {e.created})" for e, variant in rows)
            raise HarnessError(f"{text!r} means {len(side)} records. Give the file of the one you mean:\n  {files}")
    (one,), (other,) = left, right
    if one.path and other.path and one.path.resolve() == other.path.resolve():
        raise HarnessError(f"{a!r} and {b!r} are one and the same record. Compare two.")
    return one, other


def resolve(text: str, records: Sequence[RunRecord], suite: str | None = None) -> list[RunRecord]:
    """The records that a text means: a record file, or ``model:method`` among `records`; whole test sets first."""
    if text.endswith(".json") or Path(text).is_file():
        return [record.load(Path(text))]
    model, method = _parts(text, [r.model.name for r in records])
    related = [r for r in records if is_of(r, suite)]
    candidates = [r for r in related if suite == keys.benchmark(r.suite)] or related
    of_model = [r for r in candidates if model in (r.model.name, bare(r.model.name))]
    matches = [r for r in of_model if r.method == method]
    # A method without its settings means any settings, but for those that were tuned.
    matches = matches or [r for r in of_model if plain(r.method) == method and "=tune" not in r.method]
    if not matches:
        raise suggest("record", f"{model}:{method}", sorted({label(r) for r in candidates}))
    return sorted(matches, key=lambda r: (r.status != "complete", r.suite, r.created))


def with_logits(text: str, records: Sequence[RunRecord], suite: str | None = None) -> RunRecord:
    """The one record with logits that a text means; see `resolve`. Raises HarnessError where several or none have them.

    records: all files, see `boards.every`: logits change no key, so the record that ranks may have none while another
    of the same key has them. Of records of whole test sets and of subsets the former are meant.
    """
    by_key = {entry.key: entry for entry in resolve(text, records, suite) if entry.spec.keep_logits}
    matches = list(by_key.values())
    complete = [entry for entry in matches if entry.status == "complete"] or matches
    if len(complete) == 1:
        return complete[0]
    if not complete:
        on = f" on {suite}" if suite else ""
        raise HarnessError(f"No record of {text!r}{on} kept its logits. Run it again: {_keeping(text, records, suite)}")
    files = "\n  ".join(f"{entry.path}  ({title(entry)})" for entry in complete)
    raise HarnessError(f"{text!r} means {len(complete)} records. Give --suite, or the file of one:\n  {files}")


def _keeping(text: str, records: Sequence[RunRecord], suite: str | None) -> str:
    """The command that makes a record again with its logits."""
    entry = resolve(text, records, suite)[0]
    part = [f"--{name}={value}" for name, value, usual in _part(entry) if value != usual]
    words = ["--suite", keys.benchmark(entry.suite), "--model", entry.model.name, "--tta", entry.method]
    return shlex.join(["harness", "run", *words, *part, "--keep-logits"])


def _part(entry: RunRecord) -> list[tuple[str, int, int]]:
    """Settings that choose a part of the test set and its noise, with their usual values."""
    spec = entry.spec
    return [("every", spec.every, 1), ("limit", spec.limit, 0), ("seed", spec.seed, 0)]


def _parts(text: str, models: Sequence[str]) -> tuple[str, str]:
    """Model and method of ``model:method``; models with settings have colons, too, and go without them."""
    named = [name for model in models for name in (model, bare(model)) if f"{text}:".startswith(f"{name}:")]
    name = max(named, key=len, default=text.partition(":")[0])
    return name, text[len(name) + 1 :] or "default"


def check_pairable(a: RunRecord, b: RunRecord) -> None:
    """Raise HarnessError when two records are of different suites, data or randomness."""
    for what, x, y in [
        ("suites", f"{_suite_name(a)} v{a.suite_version}", f"{_suite_name(b)} v{b.suite_version}"),
        ("data", a.data_sha256[:12], b.data_sha256[:12]),
        ("classes", *(", ".join(entry.classes) if a.classes and b.classes else "" for entry in (a, b))),
        ("conditions", _facts(a), _facts(b)),
        ("seeds", a.spec.seed, b.spec.seed),
    ]:
        if x != y:
            older = " If these are the same files, one record is older than ids of content: make it anew."
            raise HarnessError(
                f"{label(a)} and {label(b)} cannot be paired: their {what} differ ({x} and {y})."
                + (older if what == "data" else "")
            )


def _of_one_board(left: list[RunRecord], right: list[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """The records of boards that both sides have, whole test sets if possible; without such, those that can be paired.

    The second case has whole test sets on either side where there are any.
    """
    shared = {e.board for e in left} & {e.board for e in right}
    complete = {e.board for e in left if e.status == "complete"} & shared
    boards = complete or shared
    if boards:
        return [e for e in left if e.board in boards], [e for e in right if e.board in boards]
    left, right = _pairable(left, right)
    return [e for e in left if e.status == "complete"] or left, [e for e in right if e.status == "complete"] or right


def _pairable(left: list[RunRecord], right: list[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Records on either side that can be paired with one on the other; the first of each side if none can."""
    pairs = [(a, b) for a in left for b in right if _can_be_paired(a, b)] or [(left[0], right[0])]
    return (
        [e for e in left if any(e is a for a, _ in pairs)],
        [e for e in right if any(e is b for _, b in pairs)],
    )


def _can_be_paired(a: RunRecord, b: RunRecord) -> bool:
    try:
        check_pairable(a, b)
    except HarnessError:
        return False
    return True


def _suite_name(entry: RunRecord) -> str:
    return entry.suite.partition(":")[0]


def _facts(entry: RunRecord) -> str:
    return ", ".join(f"{name}: {value}" for name, value in sorted(entry.facts.items())) or "the usual ones"


def is_of(entry: RunRecord, suite: str | None) -> bool:
    """True if a record is of this suite, named with or without settings, or in any spelling of the settings.

    A spelling with settings is made canonical by the suite itself, if its plugin is loaded. None means every suite.
    """
    if suite is None:
        return True
    spellings = {suite}
    if ":" in suite:
        with suppress(HarnessError):
            spellings.add(keys.benchmark(plugins.suite.configure(suite).text))
    return not spellings.isdisjoint({entry.suite, keys.benchmark(entry.suite), plain(entry.suite)})
