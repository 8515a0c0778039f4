"""The errors that users are meant to read. Without imports, so that ``harness --help`` stays quick."""


class HarnessError(Exception):
    """A mistake that the user can mend: the message names the thing, the place and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


class BadImage(HarnessError):
    """One image that cannot be read; a run may be told to go on without it."""
