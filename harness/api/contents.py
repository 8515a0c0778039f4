"""Contents of a folder: the data sets in it, and the suites that they are for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import HarnessError, suggest

if TYPE_CHECKING:
    from harness.data import Place, Recognised


@dataclass(frozen=True)
class Holding:
    """A data set, and a suite that it is for.

    folder: of the data set, as shown. suites: names of the suite, or of all that are possible. text: the suite with its
    settings; "" if it cannot run. reason: why it is left out.
    """

    folder: str
    suites: Sequence[str]
    text: str = ""
    reason: str = ""


def contents(root: Path) -> list[Holding]:
    """The data sets in a folder, nearest first; raises HarnessError for one that cannot be listed or holds none."""
    from harness.data.survey import DEPTH, walk

    if not root.is_dir():
        raise HarnessError(f"--data {root} is not a folder. Give the folder of a data set, or one that holds several.")
    holdings: list[Holding] = []
    for place, used in walk(root):
        here = _at(place, root)
        holdings += [holding for holding, _ in here]
        for _, uses in here:
            used.update(place.folders if uses is None else uses)
    if not holdings:
        from harness.data import listing

        raise HarnessError(
            f"--data {root} holds no data set that a suite recognises, {DEPTH} levels deep. Found there: "
            f"{listing(root)}. Layouts: docs/evaluate.md; or name the suite with --suite."
        )
    return holdings


def _at(place: Place, root: Path) -> Sequence[tuple[Holding, Iterable[str] | None]]:
    """The data sets right in a folder, and the names that each uses, None for all."""
    certain, doubtful, fallbacks = _recognised(place)
    uses = [recognised.uses for _, recognised in certain]
    doubtful, fallbacks = (
        [(name, r) for name, r in group if not any(_overlap(r.uses, other) for other in uses)]
        for group in (doubtful, fallbacks)
    )
    if doubtful:
        possible = doubtful + fallbacks
        return [(_holding(place, root, name, r), r.uses) for name, r in certain] + [
            (_ambiguous(place, root, possible), _together(r.uses for _, r in possible))
        ]
    return [(_holding(place, root, name, r), r.uses) for name, r in certain + fallbacks]


Candidates = list[tuple[str, "Recognised"]]
"""Suites by name, each with the data that it recognises."""


def _recognised(place: Place) -> tuple[Candidates, Candidates, Candidates]:
    """The suites that certainly, that possibly, and that otherwise read the data right in a folder."""
    from harness import plugins

    groups: tuple[Candidates, Candidates, Candidates] = ([], [], [])
    for entry in plugins.suite.entries():
        for recognised in getattr(entry.build, "recognise", lambda place: ())(place):
            group = 2 if recognised.fallback else 1 if recognised.doubt else 0
            groups[group].append((entry.name, recognised))
    return groups


def _overlap(some: Iterable[str] | None, others: Iterable[str] | None) -> bool:
    return some is None or others is None or not set(some).isdisjoint(others)


def _together(uses: Iterable[Iterable[str] | None]) -> set[str] | None:
    listed = list(uses)
    return None if None in listed else {name for names in listed for name in names or ()}


def _holding(place: Place, root: Path, name: str, recognised: Recognised) -> Holding:
    settings = ",".join(f"{key}={value}" for key, value in recognised.settings.items())
    text = "" if recognised.problem else f"{name}:{settings}"
    return Holding(_shown(place, root), [name], text, recognised.problem)


def _ambiguous(place: Place, root: Path, possible: Candidates) -> Holding:
    names = list(dict.fromkeys(name for name, _ in possible))
    doubts = "; ".join(dict.fromkeys(r.doubt for _, r in possible if r.doubt))
    reason = f"it may be data of {' or '.join(names)}: {doubts}. Say which: --suite {names[0]} --data {place.path}"
    return Holding(_shown(place, root), names, "", reason)


def _shown(place: Place, root: Path) -> str:
    below = str(place.path.relative_to(root))
    return place.name if below == "." else below


def chosen(holdings: Sequence[Holding], only: Sequence[str], skip: Sequence[str]) -> list[Holding]:
    """The holdings that ``--only`` and ``--skip`` leave, by names of suites or folders.

    Raises HarnessError for a name that nothing has, and if nothing is left.
    """
    for option, texts in (("--only", only), ("--skip", skip)):
        for text in texts:
            if not any(_is_called(holding, text) for holding in holdings):
                names = {name for holding in holdings for name in (*holding.suites, holding.folder)}
                raise suggest("suite or folder", text, sorted(names), f" after {option}")
    left = [h for h in holdings if not only or any(_is_called(h, text) for text in only)]
    left = [h for h in left if not any(_is_called(h, text) for text in skip)]
    if not left:
        raise HarnessError("--only and --skip leave nothing of what --data holds. Leave out one of them.")
    return left


def _is_called(holding: Holding, text: str) -> bool:
    folder = text.rstrip("/")
    return text in holding.suites or folder in (holding.folder, holding.folder.rpartition("/")[2])
