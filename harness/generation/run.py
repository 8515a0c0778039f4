"""Generate what is missing, and write the results once all samples are there."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from harness.base.errors import HarnessError, Notice
from harness.base.files import check_writable, file_sha256, locked, read_limited, sweep, writing
from harness.base.parsing import parse_json
from harness.base.provenance import environment
from harness.generation import outputs
from harness.generation.estimate import tally
from harness.generation.job import Generation
from harness.generation.parts import FOLDER, PartFolder, SamplingCost
from harness.types import Weights

SHARDS = ".shards"
"""Folder of the locks of shards: the same share twice at once would be work for nothing."""


@dataclass(frozen=True)
class GenerationProgress:
    """Samples so far: `done` of `total` with those that were on disk, `computed` in this run."""

    done: float
    computed: float
    total: int


Report = Callable[[GenerationProgress], None]


def generate(
    job: Generation,
    out: Path,
    *,
    batch_size: int = 0,
    shard: tuple[int, int] = (0, 1),
    images: bool = False,
    fresh: bool = False,
    report: Report = lambda progress: None,
) -> dict[str, Any] | None:
    """Compute this shard's missing samples; the card if all samples are there, else None: other shards have the rest.

    out: folder of the results, new or of the same generation; it can grow to more samples. batch_size: samples that
    are put on disk at a time; 0 is a tile. shard: (i, n), every n-th tile from the i-th. images: also write a PNG per
    sample. fresh: start over.
    No pixel depends on batch_size or shard. Raises HarnessError for a folder with other results in it.
    """
    if fresh and shard != (0, 1):
        raise HarnessError("--fresh deletes what the other shards are making. Give the shards a new --out instead.")
    check_writable(out)
    parts = PartFolder(out, job.key, job.shape)
    with locked(out):
        if fresh:
            _clear(out)
        _claim(job, out, parts)
    own = out / SHARDS / f"{shard[0]}-of-{shard[1]}"
    own.mkdir(parents=True, exist_ok=True)
    with locked(own):
        if _finished(job, out) is None:
            sweep(out)
            sweep(parts.path)
            _compute(job, parts, batch_size or job.spec.tile, shard, report)
    with locked(out):
        card = _finished(job, out)
        if card is None:
            _claim(job, out, parts)  # another process may have let it grow
            if not parts.covers(job.spec.samples):
                return None
            card = _finish(job, out, parts)
        parts.clear()
        if images:
            folders = job.folders if job.guide.steers else [outputs.UNGUIDED] * len(job.folders)
            pieces = outputs.read_pieces(out / outputs.SAMPLES)
            outputs.write_images(out / outputs.IMAGES, pieces, job.labels.numpy(), folders)
    return card


def missing(job: Generation, out: Path) -> int:
    """Number of samples that are not on disk yet."""
    if _finished(job, out) is not None:
        return 0
    return len(PartFolder(out, job.key, job.shape).lacking(job.spec.samples))


def _compute(job: Generation, parts: PartFolder, batch: int, shard: tuple[int, int], report: Report) -> None:
    """Compute the shard's samples that are not on disk, batch by batch."""
    absent = parts.lacking(job.spec.samples)
    own = [number for number in range(job.spec.samples) if number // job.spec.tile % shard[1] == shard[0]]
    wanted = sorted(set(absent) & set(own))
    there = len(own) - len(wanted)
    computed = 0
    for rows in _batches(wanted, batch):
        began, halved = time.perf_counter(), job.tiles.halved

        def tell(share: float, count: int = len(rows), before: int = computed) -> None:
            now = before + share * count
            report(GenerationProgress(there + now, now, len(own)))

        pixels = job.sample(rows, tell).numpy()
        parts.write(rows[0], pixels, SamplingCost(time.perf_counter() - began, job.tiles.halved - halved))
        computed += len(rows)
    report(GenerationProgress(len(own), computed, len(own)))


def _batches(numbers: list[int], size: int) -> Iterator[range]:
    """Runs of consecutive numbers within the same batch of the whole."""
    place = {number: index for index, number in enumerate(numbers)}
    for _, group in groupby(numbers, key=lambda number: (number // size, number - place[number])):
        members = list(group)
        yield range(members[0], members[-1] + 1)


def _made_from(job: Generation) -> dict[str, Any]:
    """Everything that decides the results, as it reads in a card."""
    return dict(json.loads(json.dumps({**job.identity, "samples": job.spec.samples})))


def _read_card(out: Path) -> dict[str, Any] | None:
    """The card in a folder, or None; raises HarnessError for one that cannot be read."""
    file = out / outputs.CARD
    if not file.is_file():
        return None
    try:
        card = dict(parse_json(read_limited(file)))
        finished = card["status"] == "complete"
        made_from = {**card["made_from"], "samples": int(card["made_from"]["samples"])}
        cost = {"seconds": float(card["seconds"]), "halvings": int(card["halvings"])} if finished else {}
        return {**card, **cost, "made_from": made_from, "samples": dict(card["samples"]) if finished else {}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file} is damaged ({type(error).__name__}: {error}). --fresh starts over.") from error


def _claim(job: Generation, out: Path, parts: PartFolder) -> None:
    """Make sure that the folder belongs to this generation: empty, or begun under the same settings.

    Finished samples become parts again where more are asked for.
    """
    card, made_from = _read_card(out), _made_from(job)
    if card is None:
        if any(not path.name.startswith(".") for path in out.iterdir()):
            raise HarnessError(f"{out} holds files but no {outputs.CARD}. Give a new or empty folder with --out.")
        _write_card(out, {"kind": "generation", "status": "partial", "made_from": made_from})
        return
    then, count = card["made_from"], job.spec.samples
    others = (made_from.keys() | then.keys()) - {"samples"}
    names = sorted(name for name in others if made_from.get(name) != then.get(name))
    if names:
        changes = "; ".join(f"{name}: {then.get(name)} there, {made_from.get(name)} here" for name in names)
        raise HarnessError(
            f"{out} holds samples that were made otherwise ({changes}). Give another --out, or --fresh to start over."
        )
    if then["samples"] > count:
        raise HarnessError(
            f"{out} holds {then['samples']} samples, or will, and {count} are asked for. Give another --out, or "
            "--fresh to start over."
        )
    if then["samples"] < count:
        if _intact(card, out):
            start, cost = 0, SamplingCost(card["seconds"], card["halvings"])
            for pixels in outputs.read_pieces(out / outputs.SAMPLES):
                parts.write(start, pixels, cost)
                start, cost = start + len(pixels), SamplingCost()
        _write_card(out, {"kind": "generation", "status": "partial", "made_from": made_from})


def _finished(job: Generation, out: Path) -> dict[str, Any] | None:
    """The card of results that are complete and undamaged, or None."""
    card = _read_card(out)
    if card is None or card["made_from"] != _made_from(job):
        return None
    return card if _intact(card, out) else None


def _intact(card: dict[str, Any], out: Path) -> bool:
    """True if the results of a card are complete, and undamaged, else the user is told."""
    file = out / outputs.SAMPLES
    if card["status"] != "complete":
        return False
    if file.is_file() and file_sha256(file) == card["samples"].get("sha256"):
        return True
    warnings.warn(Notice(f"{file} is absent or damaged, and is made anew."), stacklevel=2)
    return False


def _finish(job: Generation, out: Path, parts: PartFolder) -> dict[str, Any]:
    """Write samples, grid and card from the parts; the card."""
    labels = job.labels.numpy()
    rows = outputs.grid_rows(labels)
    wanted = {number for row in rows for number in row}
    shown: dict[int, np.ndarray] = {}
    cost = SamplingCost()

    def pixels() -> Iterator[np.ndarray]:
        nonlocal cost
        finished = 0
        for part in parts.in_order(job.spec.samples):
            cost += part.cost
            shown.update({n: part.pixels[n - part.start] for n in wanted & set(range(part.start, part.stop))})
            yield part.pixels
            finished = part.stop
        if finished < job.spec.samples:
            raise HarnessError(
                f"Samples in {parts.path} were damaged or deleted while this ran. The same command, of every shard, "
                "makes them again."
            )

    file = out / outputs.SAMPLES
    outputs.write_samples(file, pixels(), labels, job.shape)
    names = [str(job.names[labels[row[0]]]) for row in rows] if job.guide.steers else []
    outputs.write_grid(out / outputs.GRID, [[shown[number] for number in row] for row in rows], names)
    card = {
        "kind": "generation",
        "status": "complete",
        "made_from": _made_from(job),
        "command": job.spec.command,
        "spec": asdict(job.spec),
        "weights": {name: _provenance(weights) for name, weights in job.weights.items()},
        "classes": list(job.names),
        "samples per class": np.bincount(labels, minlength=len(job.names)).tolist(),
        "steers": job.guide.steers,
        "times": job.times,
        "notes": list(job.notes),
        "calls": tally(job).times(job.spec.samples),
        "seconds": round(cost.seconds, 3),
        "halvings": cost.halved,
        "samples": {"file": file.name, "count": len(labels), "sha256": file_sha256(file)},
        "environment": environment(job.spec.device),
    }
    _write_card(out, card)
    return card


def _provenance(weights: Weights) -> dict[str, str]:
    return {"name": weights.name, "sha256": weights.sha256, "source": weights.source}


def _write_card(out: Path, card: dict[str, Any]) -> None:
    with writing(out / outputs.CARD) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")


def _clear(out: Path) -> None:
    """Delete a generation, and nothing else in the folder. Without a card, nothing there is one."""
    if not (out / outputs.CARD).is_file():
        return
    for name in (outputs.SAMPLES, outputs.GRID, outputs.CARD):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / outputs.IMAGES, ignore_errors=True)
    shutil.rmtree(out / FOLDER, ignore_errors=True)
