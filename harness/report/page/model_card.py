"""The model's card: everything on one classifier on one page, to publish beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.base.errors import suggest
from harness.evaluation.records.record import RunRecord
from harness.plugins.settings import bare
from harness.report.boards import boards
from harness.report.colours import styles
from harness.report.page import provenance
from harness.report.page.card import training
from harness.report.page.card.partners import partner_sections, partners
from harness.report.page.card.reproduce import reproduce_section
from harness.report.page.card.results import OwnRows, calibration_section, result_section, weakness_section
from harness.report.page.gallery import gallery_section
from harness.report.page.parts import BoardRow, BoardTable, Cell, Page, Section, slug


def model_page(records: Sequence[RunRecord], root: Path, name: str, local: bool = True) -> Page:
    """The card of a classifier, from all records of a results folder: rank sets are among all their rows.

    name: of the classifier in the records, with or without its settings. Raises HarnessError where no record is of it.
    """
    name = _canonical(name, records)
    own = [OwnRows.of(board, name) for board in boards(records).values() if any(e.model.name == name for e in board)]
    entries = [entry for rows in own for entry in rows.entries]
    card = training.training_card(entries[0])
    machines = provenance.environments(entries)
    ids = _ids(own)
    looks = styles(entry.model.name for entry in records)
    results = [result_section(rows, id, machines, looks) for rows, id in zip(own, ids, strict=True)]
    others = sorted({entry.model.name for rows in own for entry in rows.board})
    compared = partner_sections(name, partners(name, others), own)
    gallery = gallery_section(root, name, local)
    return Page(
        name,
        [_lead(name, entries, card)],
        _facts(entries, card, own),
        {
            "Model": [_about(entries[0], card), *filter(None, [calibration_section(own), weakness_section(own)])],
            "Against its partner": compared,
            "Results": results,
            "Images": [gallery] if gallery else [],
            "Sources": [reproduce_section(name, entries, root, card), provenance.provenance(entries)],
        },
    )


def _canonical(name: str, records: Sequence[RunRecord]) -> str:
    """The name in the records; raises HarnessError with near names where there is none, or several."""
    names = sorted({entry.model.name for entry in records})
    matches = [full for full in names if full == name] or [full for full in names if bare(full) == name]
    if len(matches) != 1:
        raise suggest("classifier", name, matches or names, " in these records")
    return matches[0]


def _ids(own: Sequence[OwnRows]) -> list[str]:
    """An id per leaderboard, numbered where several have one name."""
    names = [slug("results", rows.board[0].suite) for rows in own]
    return [name if names.count(name) == 1 else f"{name}-{names[:k].count(name) + 1}" for k, name in enumerate(names)]


def _lead(name: str, entries: Sequence[RunRecord], card: Mapping[str, Any]) -> str:
    weights = entries[0].model
    made = f" Trained by: {card['command']}." if isinstance(card.get("command"), str) else ""
    several = len({entry.model.sha256 for entry in entries}) > 1
    warning = " The records are of several weights of this name: see the provenance of each row." if several else ""
    return (
        f"Card of the image classifier {name}, with the weights {weights.sha256[:12]}: every number measured here, "
        f"with its interval, and where it comes from.{made}{warning}"
    )


def _facts(entries: Sequence[RunRecord], card: Mapping[str, Any], own: Sequence[OwnRows]) -> list[tuple[str, str]]:
    counts = [(f"{len(own)}", "leaderboards"), (f"{len(entries)}", "records")]
    if isinstance(card.get("parameters"), int):
        counts.insert(0, (f"{card['parameters'] / 1e6:.2g} M", "parameters"))
    return counts


def _about(entry: RunRecord, card: Mapping[str, Any]) -> Section:
    """What the classifier is, and how it was trained."""
    pairs = training.facts(entry.model, card)
    missing = [] if card else ["No card of its training is at hand: settings, seed and training data are unknown here."]
    stated = {word for word, _ in pairs}
    unknown = [word for word in ("licence", "training seed") if word not in stated]
    missing += [f"Not stated: {', '.join(unknown)}."] if unknown and card else []
    folded = []
    if card:
        folded.append(_pairs_table("settings", "Settings of the training", training.settings(card)))
    folded.append(_pairs_table("details", "What the weights say of themselves", training.details(entry.model)))
    return Section("about", "What it is", "", [_pairs_table("facts", "Facts", pairs)], notes=missing, folded=folded)


def _pairs_table(id: str, name: str, pairs: Sequence[tuple[str, str]]) -> BoardTable:
    rows = [BoardRow([Cell(word), Cell(value)]) for word, value in pairs]
    return BoardTable(f"about-{id}", name, ["", "value"], rows, names=2)
