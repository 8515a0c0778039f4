"""Contents of a folder: the data sets in it, and the suites that they are for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.requests import check_paths
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
        here, names = _at(place, root)
        holdings += here
        used |= names
    if not holdings:
        from harness.data import listing

        raise HarnessError(
            f"--data {root} holds no data set that a suite recognises, {DEPTH} levels deep. Found there: "
            f"{listing(root)}. Layouts: docs/evaluate.md; or name the suite with --suite."
        )
    return holdings


def _at(place: Place, root: Path) -> tuple[list[Holding], set[str]]:
    """The data sets right in a folder, and the names in it that belong to them."""
    certain, doubtful, fallbacks = _recognised(place)
    doubtful, fallbacks = _beside(doubtful, certain), _beside(fallbacks, certain)
    shown = place.name if place.path == root else str(place.path.relative_to(root))
    holdings = [_holding(shown, name, data) for name, data in certain if not data.problem]
    for problem in dict.fromkeys(data.problem for _, data in certain if data.problem):
        holdings.append(Holding(shown, [name for name, data in certain if data.problem == problem], "", problem))
    if doubtful:
        holdings.append(_ambiguous(shown, place.path, doubtful + fallbacks))
    else:
        holdings += [_holding(shown, name, data) for name, data in fallbacks]
    uses = [place.folders if data.uses is None else data.uses for _, data in certain + doubtful + fallbacks]
    return holdings, {name for names in uses for name in names}


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


def _beside(candidates: Candidates, certain: Candidates) -> Candidates:
    """The candidates whose data are none of those that certainly are another suite's."""

    def overlap(some: Collection[str] | None, others: Collection[str] | None) -> bool:
        return some is None or others is None or not set(some).isdisjoint(others)

    names_in_use = [data.uses for _, data in certain]
    return [(name, data) for name, data in candidates if not any(overlap(data.uses, uses) for uses in names_in_use)]


def _holding(shown: str, name: str, data: Recognised) -> Holding:
    """The suite with its data, or the reason why their path cannot be a setting."""
    try:
        check_paths("data", data.settings.get("data", ""))
    except HarnessError as error:
        return Holding(shown, [name], "", str(error))
    return Holding(shown, [name], _text(name, data))


def _text(name: str, data: Recognised) -> str:
    """The suite with its settings, as the command line takes it."""
    return f"{name}:{','.join(f'{key}={value}' for key, value in data.settings.items())}"


def _ambiguous(shown: str, folder: Path, possible: Candidates) -> Holding:
    names = list(dict.fromkeys(name for name, _ in possible))
    doubts = "; ".join(dict.fromkeys(data.doubt for _, data in possible if data.doubt))
    data = possible[0][1].settings.get("data", folder)
    reason = f"it may be data of {' or '.join(names)} ({doubts}). Say which: --suite {names[0]} --data {data}"
    return Holding(shown, names, "", reason)


def chosen(holdings: Sequence[Holding], only: Sequence[str], skip: Sequence[str]) -> list[Holding]:
    """The holdings that ``--only`` and ``--skip`` leave, by names of suites or folders.

    Raises HarnessError for a name that nothing has, and if nothing is left.
    """
    for option, texts in (("--only", only), ("--skip", skip)):
        for text in texts:
            if not any(_is_called(holding, text) for holding in holdings):
                names = {name for holding in holdings for name in (*holding.suites, holding.folder)}
                raise suggest("suite or folder", text, sorted(names), f" after {option}")
    named = [h for h in holdings if not only or any(_is_called(h, text) for text in only)]
    remaining = [h for h in named if not any(_is_called(h, text) for text in skip)]
    if not remaining:
        raise HarnessError("--only and --skip leave nothing of what --data holds. Leave out one of them.")
    return remaining


def _is_called(holding: Holding, text: str) -> bool:
    folder = text.rstrip("/")
    return text in holding.suites or folder in (holding.folder, holding.folder.rpartition("/")[2])
