"""Names of classifiers in tables: without their settings where no two would look the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.evaluation.records.record import RunRecord
from harness.plugins.settings import bare


def model_names(entries: Sequence[RunRecord]) -> list[str]:
    """The classifier of each record: ``my.pt`` in place of ``my.pt:architecture=...``, if it is the only one."""
    by_name = short({entry.model.name for entry in entries})
    return [by_name[entry.model.name] for entry in entries]


def settings_note(entries: Sequence[RunRecord]) -> str:
    """A sentence on the settings that short names leave out; empty where they leave out none."""
    by_name = short({entry.model.name for entry in entries})
    return " ".join(f"{name} is {full}." for full, name in sorted(by_name.items()) if name != full)


def short(names: set[str]) -> Mapping[str, str]:
    """By name, the name without its settings, if no other name has the same one; else the whole name."""
    starts = [bare(name) for name in names]
    return {name: bare(name) if starts.count(bare(name)) == 1 else name for name in names}
