"""Words and numbers of tables: names of boards, rows and columns, and metrics as text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from harness import plugins
from harness.evaluation.records import keys
from harness.evaluation.records.record import RunRecord
from harness.plugins.cache import remembered
from harness.plugins.settings import bare
from harness.types import Metric

FLAG, MEASURED = "Flag: ", "Flags measured"
"""Beginnings of a record's notes: on one sign that an attack was weak, and on the figures of all signs."""

FLAGGED = "⚑"
"""Mark of a number that a flag makes doubtful."""


def flags_of(entry: RunRecord) -> list[str]:
    """Sentences of a record's raised flags."""
    return [note.removeprefix(FLAG) for note in entry.notes if note.startswith(FLAG)]


def flag_note(entries: Sequence[RunRecord]) -> str:
    """A sentence on the mark `FLAGGED`; empty where no record has one."""
    if not any(map(flags_of, entries)):
        return ""
    return f"{FLAGGED} marks robust accuracy that a raised flag makes doubtful: the attack may have failed."


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
    starts = Counter(map(bare, names))
    return {name: bare(name) if starts[bare(name)] == 1 else name for name in names}


def label(entry: RunRecord) -> str:
    """A record's name for `harness compare`: ``digits/vit:de``."""
    return f"{entry.model.name}:{entry.method}"


def plain(name: str) -> str:
    """A suite's or method's name without settings: ``de+scale`` of ``de:times=0,50+scale:percentile=90``."""
    return "+".join(part.partition(":")[0] for part in re.split(r"\+(?=[A-Za-z])", name))


def title(entry: RunRecord) -> str:
    """The title of a board: suite, version, coverage."""
    subset = "" if entry.status == "complete" else " (subset)"
    aside = f", {entry.aside}" if entry.aside else ""
    return f"{keys.benchmark(entry.suite)} v{entry.suite_version}, {entry.coverage}{subset}{aside}"


def heading(
    entry: RunRecord, name: str, condition: str, *, bare: bool = False, beside: Sequence[tuple[str, str]] = ()
) -> str:
    """A metric's name with its unit, for a column or an axis.

    The condition is named, too, if the board has several and this one is not the mean. bare: never name it.
    beside: the columns of a table that are not the board's: also the mean is named beside others of its metric.
    """
    metric = entry.metric(name, condition)
    unit = {"fraction": "%", "ratio": "% of reference"}.get(metric.unit, metric.unit) if metric else ""
    several = len({c for _, c in [*entry.columns, *beside]}) > 1
    of_metric = [c for other, c in beside if other == name]
    words = [name.replace("_", " ")]
    if ((several and condition != "mean") or len(of_metric) > 1) and not bare:
        words.append(condition)
    if unit:
        words.append(f"({unit})")
    return " ".join(words)


def spell(metric: Metric | None) -> str:
    """A metric with its interval, fractions and ratios in percent, others in their unit: ``74.3 [72.1, 76.5]``."""
    if metric is None:
        return "undefined"
    low, high = metric.interval
    if metric.unit not in ("fraction", "ratio"):
        return f"{metric.value:.3f} [{low:.3f}, {high:.3f}]"
    return f"{100 * metric.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def spell_flagged(entry: RunRecord, name: str, condition: str) -> str:
    """`spell`, with the mark `FLAGGED` where a flag is raised and the metric is the one that ranks."""
    text = spell(entry.metric(name, condition))
    return f"{text} {FLAGGED}" if name == entry.columns[0][0] and flags_of(entry) else text


@cache
def bundled_names() -> Mapping[str, str]:
    """Names of the classifiers that ship with the project, ``digits/vit``, by the SHA-256 of their weights."""
    files = (file for file in resources.files("harness.registry.checkpoints").iterdir() if file.name.endswith(".json"))
    cards = [card for card in (json.loads(file.read_text()) for file in files) if "clean_accuracy" in card]
    return {card["sha256"]: card["name"].replace("-", "/", 1) for card in cards}


@cache
def denoiser_names() -> Mapping[str, str]:
    """Names of the registered denoisers whose weights are known without their file, by the SHA-256 of these."""
    return dict(remembered("denoiser-names", _registered_denoisers))


def _registered_denoisers() -> dict[str, str]:
    plugins.discover_package("harness.registry.denoisers")
    names = {}
    for entry in plugins.denoiser.entries():
        if "checkpoint" in entry.facts:
            names[_card(entry.facts["checkpoint"])["sha256"]] = entry.name
        for file in entry.facts["published"].files if "published" in entry.facts else ():
            names[file.sha256] = entry.name
    names.pop("", None)  # of published files whose hash nobody has stated
    return names


def _card(checkpoint: str) -> dict[str, Any]:
    file = resources.files("harness.registry.checkpoints") / f"{checkpoint}.json"
    return dict(json.loads(file.read_text()))


def weights_named(fact: str) -> str:
    """A fact of a record; of one that is a whole SHA-256 its beginning, after the name of the classifier it is of."""
    if not re.fullmatch("[0-9a-f]{64}", fact):
        return fact
    return " ".join(filter(None, [bundled_names().get(fact, ""), fact[:12]]))


def variants(entries: Sequence[RunRecord]) -> list[str]:
    """The method of each row as tables name it; rows that would look the same also name the facts that differ."""
    names = [entry.variant for entry in entries]
    rows = [(entry.model.name, name) for entry, name in zip(entries, names, strict=True)]
    for row in (row for row, count in Counter(rows).items() if count > 1):
        alike = [k for k, r in enumerate(rows) if r == row]
        facts = [_facts(entries[k]) for k in alike]
        different = [key for key in facts[0] if len({f[key] for f in facts}) > 1 and key != "record"] or ["record"]
        for k, fact in zip(alike, facts, strict=True):
            names[k] += f" [{', '.join(f'{key} {fact[key]}' for key in different)}]"
    return names


def _facts(entry: RunRecord) -> dict[str, str]:
    denoiser = entry.denoiser.sha256 if entry.denoiser else ""
    return {
        "weights": entry.model.sha256[:8],
        "denoiser": denoiser_names().get(denoiser, denoiser[:8]) or "none",
        "tile": str(entry.spec.tile),
        "device": entry.spec.device,
        "record": entry.key,
    }
