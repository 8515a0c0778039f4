"""The state of an unfinished training on disk: a resumed run ends with the weights of an undisturbed one."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.base import sealed
from harness.train.engine.average import Average
from harness.train.engine.selection import Selection
from harness.types import HarnessError

SAVE_EVERY_SECONDS = 10.0
"""Least time between two saved states."""

SHARE_OF_TIME = 0.02
"""Largest share of the time that saving may take: the larger the network, the rarer its states."""


class State:
    """Weights, averaged and best weights, optimiser and the seconds spent, saved every `SAVE_EVERY_SECONDS`.

    made_from: the settings, and the hashes of the inputs; a run with others does not go on from here.
    """

    def __init__(
        self,
        file: Path,
        made_from: Mapping[str, Any],
        network: nn.Module,
        optimizer: Any,
        ema: Average | None,
        selection: Selection | None = None,
    ) -> None:
        self.file, self.made_from = file, made_from
        self.network, self.optimizer, self.ema, self.selection = network, optimizer, ema, selection
        self.shares: Mapping[str, float] = {}
        self._earlier, self._damaged = 0.0, False
        self._began = self._saved = time.monotonic()
        self._took = 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent on the run so far."""
        return self._earlier + time.monotonic() - self._began

    def resume(self) -> int:
        """Load the state of an earlier run, if there is an undamaged one; the number of steps that are done.

        A damaged file gives a notice. The training starts over then, and ends with the same weights; the first
        new state moves the file to ``state.damaged``, as an older version's may still be of use to that version.
        Raises HarnessError for the state of a run with other settings.
        """
        content = sealed.read_or_tell(self.file, self.file.name)
        self._damaged = content is None and self.file.exists()
        step = self._load(content) if content else 0
        self._began = self._saved = time.monotonic()
        return step

    def save_sometimes(self, step: int, shares: Mapping[str, float]) -> None:
        """Save, if the last state is old enough."""
        if time.monotonic() - self._saved > max(SAVE_EVERY_SECONDS, self._took / SHARE_OF_TIME):
            self.save(step, shares)

    def save(self, step: int, shares: Mapping[str, float]) -> None:
        """Write the state after `step` steps, and the shares of the time."""
        began = time.monotonic()
        state = {
            "made_from": dict(self.made_from),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else {},
            **({"selection": self.selection.state_dict()} if self.selection else {}),
            "step": step,
            "seconds": self.seconds,
            "shares": dict(shares or self.shares),
        }
        buffer = io.BytesIO()  # a full disk is an OSError to Python, but an anonymous RuntimeError to torch.save
        torch.save(state, buffer)
        if self._damaged:
            with suppress(OSError):  # a lost copy of a damaged file is no reason to fail
                self.file.replace(self.file.with_suffix(".damaged"))
            self._damaged = False
        place = buffer.tell()
        buffer.write(sealed.BLANK)
        sealed.write(self.file, buffer.getbuffer(), place, self.file.name)
        self._saved = time.monotonic()
        self._took = self._saved - began

    def _load(self, content: bytes) -> int:
        now = self.made_from
        try:
            state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
            then = dict(state["made_from"])
            changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
            if not changed:
                self.network.load_state_dict(state["network"])
                self.optimizer.load_state_dict(state["optimizer"])
                if self.ema:
                    self.ema.module.load_state_dict(state["ema"])
                if self.selection:
                    self.selection.load_state_dict(state["selection"])
                self._earlier, self.shares = float(state["seconds"]), dict(state["shares"])
                return int(state["step"])
        except Exception as error:  # of torch or of the network, for a file that is whole
            raise HarnessError(
                f"{self.file} is no training state of this run but of another version ({type(error).__name__}). "
                "--fresh starts over."
            ) from error
        raise HarnessError(
            f"{self.file} belongs to a run with other settings or inputs ({', '.join(changed)}). "
            "Give another --out, or --fresh to start over."
        )
