"""The errors that users are meant to read. Imports nothing, so that ``harness --help`` stays quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class HarnessError(Exception):
    """A mistake that the user can fix: the message names the thing, the place and the remedy.

    The command line prints it without a traceback and exits with its `code`.
    """

    code = 2


class Failed(HarnessError):
    """Some of the work failed, and all the rest is done."""

    code = 1


class Lost(HarnessError):
    """The process cannot go on, and another one can: schedulers know the code as a failure that passes."""

    code = 75


class Absent(HarnessError):
    """Data or weights that are not here: a dry run can plan without them."""


class Incompatible(HarnessError):
    """A model and data that do not go together: with several data sets at hand, the model may still fit another."""


def missing(path: Path, message: str) -> HarnessError:
    """The error for a path without the expected content: `Absent` if nothing is there, else a plain HarnessError."""
    return HarnessError(message) if path.exists() else Absent(message)


class BadImage(HarnessError):
    """One image that cannot be read; a run may be told to go on without it."""


class Unsuited(HarnessError):
    """A method or detector that cannot work with a network or its data: a run leaves it out, and the others go on.

    The message completes "Detector X on model Y: ...". Mistakes in settings are a plain HarnessError, and stop the run.
    """


class Notice(UserWarning):
    """News for the user that stops no work, such as a damaged file that is computed anew.

    Given by `warnings.warn`; the command line prints it in one line.
    """


LISTED = 60
"""Names that a message shows at most: libraries have a thousand models."""


def suggest(kind: str, name: str, choices: list[str], where: str = "") -> HarnessError:
    """The error for a name that does not exist: near matches first, then all choices unless there are too many."""
    hint = near_matches(name, choices)
    more = f" and {len(choices) - LISTED} more" if len(choices) > LISTED else ""
    names = ", ".join(sorted(choices)[:LISTED]) + more
    listing = "" if hint and more else f" Available: {names or 'none'}."
    return HarnessError(f"Unknown {kind} {name!r}{where}.{hint}{listing}")


def near_matches(name: str, choices: list[str]) -> str:
    """A question with the choices nearest to a name, after a blank; "" if none is near."""
    import difflib

    folded = {k.lower(): k for k in choices}
    near = [folded[k] for k in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    near = near or [k for k in choices if name and name in k][:3]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def place(error: BaseException, folder: Path) -> str:
    """The innermost line of an error's traceback in a folder, as " (line 3 of FILE)"; "" if none is there.

    Installed packages within the folder, and the harness itself, do not count.
    """
    import traceback
    from pathlib import Path

    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        lines.append((error.filename or "", error.lineno))
    own = Path(__file__).resolve().parents[1]
    for file, line in reversed(lines):
        parents = Path(file).resolve().parents
        if folder.resolve() in parents and own not in parents and "site-packages" not in Path(file).parts:
            return f" (line {line} of {file})"
    return ""
