"""The command line: arguments to specifications, and nothing else."""

from __future__ import annotations

import io
import locale
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from harness.base import interruption
from harness.base.errors import HarnessError, Notice


def main() -> None:
    """Entry point: mistakes of the user end with one message and exit code 2, interruptions with 130 or 143."""
    interruption.handle()  # till the process is gone: the interpreter's own end takes a while, too
    with _shown_notices():
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show ends no run
                stream.reconfigure(errors="backslashreplace")
        try:
            from harness.cli.app import app

            app()
        except HarnessError as error:
            from harness.terminal import console

            console.fail(str(error))
            sys.exit(error.code)
        except UnicodeError as error:
            if locale.getpreferredencoding(False).upper().replace("-", "") == "UTF8":
                raise
            from harness.terminal import console

            console.fail(f"This locale has no letters for a name or text ({error}). Set LC_ALL=C.UTF-8 and run again.")
            sys.exit(2)
        except SystemExit as end:
            if end.code == interruption.INTERRUPTED:  # an exception that no signal of this process has raised
                sys.stderr.write(f"{interruption.sentence(end.code)}\n")
            raise


@contextmanager
def _shown_notices() -> Iterator[None]:
    """Notices are printed each time, in separate lines; other warnings stay as Python prints them."""
    with warnings.catch_warnings():
        show_python_warning = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
            if not issubclass(category, Notice):
                show_python_warning(message, category, *place, **more)  # type: ignore[arg-type]
                return
            from harness.terminal import console

            console.note(str(message))

        warnings.showwarning = show
        warnings.simplefilter("always", Notice)
        yield
