"""The errors that users are meant to read. Imports nothing, so that ``harness --help`` stays quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class HarnessError(Exception):
    """A mistake that the user can mend: the message names the thing, the place and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


class Absent(HarnessError):
    """Data or weights that are not here: a dry run can plan without them."""


def missing(path: Path, message: str) -> HarnessError:
    """The error for a place without what should be there: absent, or there and something else."""
    return HarnessError(message) if path.exists() else Absent(message)


class BadImage(HarnessError):
    """One image that cannot be read; a run may be told to go on without it."""


class Notice(UserWarning):
    """What the user should know although the work goes on: damage on disk that is computed anew.

    Given by `warnings.warn`; the command line prints it in one line.
    """


LISTED = 60
"""Names that a message shows at most: libraries have a thousand models."""


def suggest(kind: str, name: str, known: list[str], where: str = "") -> HarnessError:
    """The error for a name that does not exist: near matches first, then what there is, if it is not too much."""
    hint = near_matches(name, known)
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    names = ", ".join(sorted(known)[:LISTED]) + more
    listing = "" if hint and more else f" Available: {names or 'none'}."
    return HarnessError(f"Unknown {kind} {name!r}{where}.{hint}{listing}")


def near_matches(name: str, known: list[str]) -> str:
    """A question that names them, after a blank; nothing where there are none."""
    import difflib

    folded = {k.lower(): k for k in known}
    near = [folded[k] for k in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    near = near or [k for k in known if name and name in k][:3]
    return f" Did you mean {' or '.join(near)}?" if near else ""
