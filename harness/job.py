"""Everything that a specification names, loaded: what `evaluate` works on and a dry run describes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import plugins
from harness.data.contents import unread_note
from harness.diffusion.denoiser import Denoiser
from harness.journal import Journal
from harness.networks import GRADIENT_TILE, Tiles
from harness.parts import Part
from harness.probe import PROBED, Probe, shown
from harness.record import identity, key_of
from harness.tables import Rows
from harness.types import BadImage, Batch, Condition, Dataset, Pair, RunSpec, Suite, Tally, Weights

TRIED = 100
"""Images that are tried before a data set counts as unreadable."""


@dataclass(frozen=True, eq=False)
class Job:
    """One run.

    datasets: by condition. models: weights by model name. journals: one per pair.
    tiles, classifier_tiles, gradient_tiles: how the denoiser, the classifiers and their gradients are called.
    probes: what each pair gives for `shown`.
    notes: by model, what its records say of classes that were taken by position.
    """

    spec: RunSpec
    out: Path
    suite: Suite
    datasets: Mapping[str, Dataset]
    pairs: Sequence[Pair]
    models: Mapping[str, Weights]
    denoiser: Denoiser | None
    denoiser_weights: Weights | None
    tiles: Tiles
    classifier_tiles: Tiles
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    probes: Sequence[Probe] = ()
    gradient_tiles: Tiles = field(default_factory=lambda: Tiles(GRADIENT_TILE))

    @property
    def data(self) -> Dataset:
        """The data of the first condition, where one stands for all: class count, geometry, image size."""
        return next(iter(self.datasets.values()))

    @cached_property
    def data_sha256(self) -> str:
        """The hash of the one data set behind all conditions, or of the list of theirs."""
        hashes = list(dict.fromkeys(data.sha256 for data in self.datasets.values()))
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    @cached_property
    def sources(self) -> int:
        """Source images of the whole benchmark: those that are there, and what is missing of those published.

        Conditions that share images show versions of the same ones, and lack the same ones.
        """
        groups: list[tuple[set[str], int]] = []
        for ids, size in {tuple(self.datasets[c.name].ids): c.size for c in self.suite.conditions()}.items():
            images, most = set(ids), max(size, len(ids))
            for others, count in [group for group in groups if not group[0].isdisjoint(images)]:
                groups.remove((others, count))
                images, most = images | others, max(most, count)
            groups.append((images, max(most, len(images))))
        return sum(most for _, most in groups)

    @property
    def rows(self) -> int:
        """Samples of the whole benchmark, over all conditions."""
        return sum(len(self.datasets[c.name].ids) + self._lacking(c) for c in self.suite.conditions())

    def _lacking(self, condition: Condition) -> int:
        return max(condition.size - len(self.datasets[condition.name].ids), 0)

    @cached_property
    def unread(self) -> Sequence[str]:
        """Of data sets whose folders hold more than is read, what that is, in a sentence each."""
        return list(filter(None, dict.fromkeys(map(unread_note, self.datasets.values()))))

    @cached_property
    def parts(self) -> Sequence[Part]:
        """Every part of the run, in the order of the sample table."""
        size = self.part_size
        return [
            Part(f"{c:04d}-{start:06d}-{len(some)}-{data.sha256[:12]}", condition, some, data)
            for c, condition in enumerate(self.suite.conditions())
            for data in [self.datasets[condition.name]]
            for picked in [self._picked(data)]
            for start in range(0, len(picked), size)
            for some in [picked[start : start + size]]
        ]

    @cached_property
    def planned(self) -> int:
        """Rows of a sample table from which no image was left out."""
        return sum(len(part.indices) for part in self.parts)

    @property
    def part_size(self) -> int:
        """Samples in a part: the suite's, and where a sample is one row of a tile whole tiles, as the last is padded.

        A multiple of four, for methods whose images form groups.
        """
        size, whole = self.suite.part, math.lcm(self.spec.tile, 4)
        several = self.tally(self.pairs).together > 1
        return size if several else -(-size // whole) * whole

    def status(self, rows: int) -> str:
        """What a record with so many rows is called: see `RunRecord.status`."""
        return "complete" if rows == self.rows and not self.unread else "partial"

    def _picked(self, data: Dataset) -> range:
        picked = range(0, len(data.ids), self.spec.every)
        return picked[: self.spec.limit] if self.spec.limit else picked

    def left_out(self, rows: Rows, most: int = 3) -> list[str]:
        """Notes on files that are not read, and on images that were skipped; none where nothing is missing."""
        if len(rows["id"]) == self.planned:
            return list(self.unread)
        seen = set(zip(rows["condition"], rows["id"], strict=True))
        pairs = ((p.condition.name, self.datasets[p.condition.name], i) for p in self.parts for i in p.indices)
        gone = ((data, i) for condition, data, i in pairs if (condition, data.ids[i]) not in seen)
        lost = list(dict.fromkeys(data.called(i) if hasattr(data, "called") else data.ids[i] for data, i in gone))
        named = ", ".join(lost[:most]) + (f" and {len(lost) - most} more" if len(lost) > most else "")
        return [
            *self.unread,
            f"Unreadable and left out: {self.planned - len(rows['id'])} of {self.planned} rows, of the images {named}.",
        ]

    @cached_property
    def journals(self) -> Sequence[Journal]:
        """Where the rows of each pair are kept."""
        return [
            Journal(self.out, self.spec.suite, p.model, p.method, self.key(p), key_of(self._identity(p)), self.parts)
            for p in self.pairs
        ]

    @property
    def axis(self) -> plugins.Registry | plugins.Combined:
        """The kind of plugin that the suite combines with classifiers."""
        return plugins.AXES[self.suite.axis]

    @cached_property
    def examples(self) -> Batch:
        """A few images of the data, for what is found out before the run: the first that can be read."""
        found: list[Batch] = []
        *others, last = range(min(TRIED, len(self.data.ids)))
        for index in others:
            with suppress(BadImage):
                found.append(self.data.read([index]))
            if len(found) == PROBED - 1:
                break
        found = found or [self.data.read([last])]
        ids = tuple(name for batch in found for name in batch.ids)
        return Batch(ids, *(torch.cat([getattr(batch, part) for batch in found]) for part in ("images", "labels")))

    @property
    def example(self) -> Tensor:
        """An image of the data, (1, 3, H, W), for what depends on its shape."""
        return self.examples.images[:1]

    @cached_property
    def shown(self) -> Tensor:
        """The images that every network and method is probed with: see `harness.probe`."""
        return shown(self.examples.images)

    def tally(self, pairs: Sequence[Pair]) -> Tally:
        """What the methods of these pairs cost per image and classifier; one that pairs share is counted once."""
        procedures = {pair.method: pair.procedure for pair in pairs}
        return self.suite.tally(list(procedures.values()), self.example, self.data.num_classes)

    def uses_denoiser(self, pair: Pair) -> bool:
        """Whether a pair's method is declared to look at denoised images, or the suite shows nothing else."""
        return self.suite.diffuses or bool(self.axis.of(pair.method).facts.get("denoiser"))

    def halvings(self) -> int:
        """How often memory has forced a smaller tile so far."""
        return self.tiles.halved + self.classifier_tiles.halved + self.gradient_tiles.halved

    def spec_of(self, pair: Pair) -> RunSpec:
        """The specification that makes this pair's record alone; the denoiser only where the method uses it."""
        uses = self.uses_denoiser(pair)
        return replace(
            self.spec,
            models=(pair.model,),
            methods=(pair.method,),
            denoiser=self.spec.denoiser if uses else None,
            denoiser_dtype=self.spec.denoiser_dtype if uses else "float32",
        )

    def key(self, pair: Pair) -> str:
        """The hash of everything that decides this pair's rows, apart from the versions of libraries."""
        return key_of({**self._identity(pair), "data": self.data_sha256})

    def _identity(self, pair: Pair) -> dict[str, Any]:
        """What decides the rows, apart from the data: who mends an image keeps what was made of other files."""
        spec = self.spec_of(pair)
        sources = plugins.suite.of(spec.suite).source, self.axis.of(pair.method).source
        denoiser = self.denoiser_weights.sha256 if self.denoiser_weights and spec.denoiser else ""
        model = self.models[pair.model].sha256
        return identity(spec, self.suite.version, self.suite.facts(), sources, model, denoiser, self._code(pair))

    def _code(self, pair: Pair) -> dict[str, str]:
        """Hashes of code from outside of the project that stand nowhere else in the identity."""
        return {
            kind: entry.source
            for kind, entry in self._entries(pair)
            if kind in (plugins.model.kind, plugins.denoiser.kind, plugins.dataset.kind) and entry.origin.name
        }

    def _entries(self, pair: Pair) -> Iterator[tuple[str, plugins.Entry]]:
        """The plugins behind a pair's rows, each with its kind."""
        spec = self.spec_of(pair)
        yield plugins.suite.kind, plugins.suite.of(spec.suite)
        for entry in self.axis.parts(pair.method):
            yield entry.kind, entry
        named = [(plugins.model, pair.model), (plugins.dataset, self.suite.dataset)]
        named += [(plugins.denoiser, spec.denoiser)] if spec.denoiser else []
        for registry, text in named:
            if text.partition(":")[0] in registry:
                yield registry.kind, registry.of(text)

    def origins(self, pair: Pair) -> dict[str, str]:
        """By kind of plugin, the file or package from outside of the project and its hash, as records name them."""
        return {kind: f"{entry.origin.name} {entry.source}" for kind, entry in self._entries(pair) if entry.origin.name}
