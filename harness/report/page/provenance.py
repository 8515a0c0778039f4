"""Provenance of the page's numbers: weights, data, code, machine, cost and time of every row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.evaluation.records.record import RunRecord
from harness.report.names import model_names, variants
from harness.report.page.parts import BoardRow, BoardTable, Cell, Section, board_table
from harness.report.table import Table
from harness.types import Weights

SHORT = 12
"""Digits of a SHA-256 that the rows show; the whole ones are in the tables of weights and data."""

HEADER = ["model", "method", "record", "weights", "denoiser", "data", "environment"]
COSTS = ["s", "images", "together", "created"]


def rows_of_board(board: Sequence[RunRecord], id: str, environments: Sequence[str]) -> BoardTable:
    """A row per record of a board: key, hashes, environment, cost, time; the caption has what all rows share."""
    header = [*HEADER, *COSTS]
    rows = []
    for entry, model, method in zip(board, model_names(board), variants(board), strict=True):
        denoiser = entry.denoiser.sha256[:SHORT] if entry.denoiser else "none"
        cost = entry.cost
        texts = [model, method, entry.key, entry.model.sha256[:SHORT], denoiser, entry.data_sha256[:SHORT]]
        numbers = [environments.index(describe(entry.environment)) + 1, cost.seconds, cost.images, cost.pairs]
        rows.append([*map(Cell, texts), *(Cell(f"{n:.8g}", float(n)) for n in numbers), Cell(entry.created)])
    shared = [k for k in range(2, len(header)) if len(rows) > 1 and len({row[k].text for row in rows}) == 1]
    shown = [k for k in range(len(header)) if k not in shared]
    facts = "; ".join(f"{header[k]} {rows[0][k].text}" for k in shared)
    caption = (
        "record: hash of everything that decides the row's numbers. environment: number in the table of environments. "
        "s: seconds of the run, shared by all rows evaluated together, whose number is under together. images: test "
        "images, one per sample and condition."
    )
    caption = f"All rows: {facts}. {caption}" if facts else caption
    lines = [BoardRow([row[k] for k in shown]) for row in rows]
    return BoardTable(id, "Provenance of every row", [header[k] for k in shown], lines, caption, names=3)


def environments(records: Iterable[RunRecord]) -> list[str]:
    """The different environments of all records, as texts, sorted."""
    return sorted({describe(entry.environment) for entry in records})


def describe(environment: Mapping[str, object]) -> str:
    """An environment in one line: ``device x86_64, numpy 2.4.6, ...``."""
    return ", ".join(f"{name} {value}" for name, value in sorted(environment.items()))


def provenance(records: Sequence[RunRecord]) -> Section:
    """The section with the weights and environments of all records."""
    networks: dict[tuple[str, str, str], Weights] = {}
    for entry in records:
        for kind, weights in (("classifier", entry.model), ("denoiser", entry.denoiser)):
            if weights:
                networks[kind, weights.name, weights.sha256] = weights
    rows = [
        [name, kind, str(weights.details.get("architecture", "")), weights.source, sha256]
        for (kind, name, sha256), weights in sorted(networks.items(), key=lambda item: item[0])
    ]
    header = ["name", "kind", "architecture", "source", "SHA-256 of the weights"]
    weights_table = board_table("weights", Table("Weights", header, rows), names=len(header))
    lines = [[str(place), text] for place, text in enumerate(environments(records), 1)]
    environment_table = board_table("environments", Table("Environments", ["number", "versions"], lines), names=2)
    data = sorted({(entry.dataset, entry.data_sha256) for entry in records})
    data_table = board_table("data", Table("Data", ["data set", "SHA-256"], [list(pair) for pair in data]), names=2)
    intro = "Weights, data, code and machine behind the numbers; each leaderboard lists its records."
    return Section("provenance", "Weights, data, environments", intro, [weights_table, data_table, environment_table])
