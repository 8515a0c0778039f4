"""Parts that fail: tried twice, then set aside with their traceback, while the rest of the run goes on."""

from __future__ import annotations

import json
import socket
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass

import torch

from harness.base.errors import Failed, Lost
from harness.base.files import writing
from harness.evaluation.launch.folder import RunFolder
from harness.evaluation.records.parts import Part

TRIES = 2
"""Times that a part may fail with the same error before it is set aside."""

HOPELESS = 3
"""Parts that fail, none having been computed, before a process gives up: what ails them is not theirs."""


@dataclass(frozen=True)
class Failure:
    """What the last try of a part ended with, on which host; times: tries that ended with the same error."""

    error: str
    times: int
    host: str
    traceback: str


class Failures:
    """The failed parts of a run, of all its processes: a file for each in the run's folder.

    tolerant: this process is one of several that work unattended; otherwise every error ends it.
    """

    def __init__(self, folder: RunFolder, tolerant: bool) -> None:
        self._folder = folder
        self._tolerant = tolerant
        self._here = 0

    def of(self, part: str) -> Failure | None:
        """The failure of a part; None where there is none, or it cannot be read."""
        try:
            return Failure(**json.loads(self._folder.failure(part).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def is_set_aside(self, part: Part) -> bool:
        """Whether the part is not to be tried again."""
        failure = self.of(part.name) if self._tolerant else None
        return failure is not None and failure.times >= TRIES

    def note(self, part: Part, error: Exception, computed: bool) -> None:
        """Take note of an error, or raise it again where this process cannot go on.

        computed: this process has computed a part before. Raises `Lost` where the device is gone.
        """
        if not self._tolerant:
            raise error
        text, earlier = f"{type(error).__name__}: {error}", self.of(part.name)
        times = earlier.times + 1 if earlier and earlier.error == text else 1
        trace = "".join(traceback.format_exception(error))
        with writing(self._folder.failure(part.name)) as partial:
            partial.write_text(json.dumps(asdict(Failure(text, times, socket.gethostname(), trace))))
        self._here += 1
        if _is_lost(error):
            raise Lost(f"{part.name}: the device fails ({error}). This process ends; another one goes on.") from error
        if self._here >= HOPELESS * TRIES and not computed:
            raise error

    def begin(self) -> None:
        """Have all parts tried again, where somebody looks on; workers are started again and again."""
        if not self._tolerant:
            self.forget()

    def forget(self) -> None:
        """Drop all failures."""
        for file in self._folder.failures():
            file.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise `Failed`, which names them, if parts are set aside."""
        if not self._tolerant:
            return
        found = {file.stem: self.of(file.stem) for file in self._folder.failures()}
        aside = {name: failure for name, failure in found.items() if failure and failure.times >= TRIES}
        if not aside:
            return
        name, failure = next(iter(aside.items()))
        count = "1 part fails" if len(aside) == 1 else f"{len(aside)} parts fail"
        raise Failed(
            f"{count} and keep their records from being written; the rest is on disk. {name}, on {failure.host}: "
            f"{failure.error} (traceback: {self._folder.failure(name)}). The same command tries again."
        )


def _is_lost(error: Exception) -> bool:
    """Whether the process cannot use its device any more; lack of memory leaves it usable."""
    with suppress(AttributeError):
        if isinstance(error, torch.AcceleratorError):
            return True
    return isinstance(error, RuntimeError) and "CUDA error" in str(error)
