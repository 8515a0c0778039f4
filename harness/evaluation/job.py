"""The job: everything that a specification names, loaded and planned. `harness.evaluation.prepare` makes it."""

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
from harness.base.provenance import key_of
from harness.data import Corrupted, innermost
from harness.data.folder_contents import unread_note
from harness.diffusion.denoiser import Denoiser
from harness.evaluation.records.coverage import count_images, note_on_skipped
from harness.evaluation.records.journal import Journal, Required
from harness.evaluation.records.keys import identity
from harness.evaluation.records.parts import Part
from harness.evaluation.records.rows import Rows
from harness.evaluation.views.calls import of_pairs
from harness.models.external.text import ModelText
from harness.models.probe import PROBED, Probe, shown
from harness.models.tiles import GRADIENT_TILE, Tiles
from harness.types import BadImage, Batch, Calls, Condition, Dataset, Pair, RunSpec, Suite, Weights

OUTSIDE = tuple(kind.kind for kind in (plugins.model, plugins.denoiser, plugins.dataset, plugins.corruption))
"""Kinds of plugin whose code is identified beside that of suite and method, which have separate fields."""

TRIED = 100
"""Images that are tried before a data set counts as unreadable."""


@dataclass(frozen=True, eq=False)
class Job:
    """One run.

    datasets: by condition. models: weights by model name. journals: one per pair.
    tiles, classifier_tiles, gradient_tiles: how the denoiser, the classifiers and their gradients are called.
    probes: outputs of each pair for `shown`.
    notes: by model, notes for its records on classes that were matched by position.
    skip_bad: leave out images that cannot be read, instead of stopping; the records are partial.
    unsuited: by index of a pair, the reason why the run left it out. The loop fills it.
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
    skip_bad: bool = False
    gradient_tiles: Tiles = field(default_factory=lambda: Tiles(GRADIENT_TILE))
    unsuited: dict[int, str] = field(init=False, default_factory=dict, repr=False)
    _tallies: dict[tuple[str, ...], Calls] = field(init=False, default_factory=dict, repr=False)

    @property
    def data(self) -> Dataset:
        """The data of the first condition, where one stands for all: class count, geometry, image size."""
        return next(iter(self.datasets.values()))

    @cached_property
    def data_sha256(self) -> str:
        """Hash of the only data set behind all conditions, or of the list of their hashes."""
        hashes = list(dict.fromkeys(data.sha256 for data in self.datasets.values()))
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    @cached_property
    def image_count(self) -> int:
        """Source images of the whole benchmark, those that were published and are missing included."""
        return count_images((self.datasets[c.name].ids, c.size) for c in self.suite.conditions())

    @property
    def rows(self) -> int:
        """Samples of the whole benchmark, over all conditions."""
        return sum(len(self.datasets[c.name].ids) + self._lacking(c) for c in self.suite.conditions())

    def _lacking(self, condition: Condition) -> int:
        return max(condition.size - len(self.datasets[condition.name].ids), 0)

    @cached_property
    def unread(self) -> Sequence[str]:
        """Sentences on data sets whose folders hold more than is read, one each."""
        return list(filter(None, dict.fromkeys(map(unread_note, self.datasets.values()))))

    @cached_property
    def parts(self) -> Sequence[Part]:
        """Every part of the run, in the order of the sample table."""
        return list(self._plan())

    def _plan(self) -> Iterator[Part]:
        for number, condition in enumerate(self.suite.conditions()):
            data = self.datasets[condition.name]
            samples = self.samples(len(data.ids))
            for start in range(0, len(samples), self.part_size):
                indices = samples[start : start + self.part_size]
                # The name says where the part stands, and of which data it is: an image that is replaced makes others.
                name = f"{number:04d}-{start:06d}-{len(indices)}-{data.sha256[:12]}"
                yield Part(name, condition, indices, data)

    def samples(self, count: int) -> range:
        """Positions of a data set of `count` images that the run takes."""
        return range(0, count, self.spec.every)[: self.spec.limit or None]

    @cached_property
    def planned(self) -> int:
        """Rows of a sample table from which no image was left out."""
        return sum(len(part.indices) for part in self.parts)

    @cached_property
    def planned_images(self) -> int:
        """Source images in such a table."""
        # Conditions of a corruption benchmark have the same ids: the set of lists is small.
        distinct = {tuple(data.ids) for data in self.datasets.values()}
        return len({ids[index] for ids in distinct for index in self.samples(len(ids))})

    @cached_property
    def part_size(self) -> int:
        """Samples in a part: as many as the suite says, rounded up to whole tiles, because the last one is padded.

        A sample that is several rows of a tile fills tiles on its own. Whole tiles are a multiple of four, for methods
        whose images form groups.
        """
        if self.tally(self.pairs).together > 1:
            return self.suite.part
        multiple = math.lcm(self.spec.tile, 4)
        return -(-self.suite.part // multiple) * multiple

    def status(self, rows: int) -> str:
        """The status of a record with so many rows: see `RunRecord.status`."""
        return "complete" if rows == self.rows and not self.unread else "partial"

    @cached_property
    def required(self) -> Required:
        """Demands on what earlier runs left on disk: no worse than this run would make it."""
        if self.skip_bad:
            return Required()
        return Required(every_image=True, rows=self.planned, status=self.status(self.planned))

    def left_out(self, rows: Rows) -> list[str]:
        """Notes on files that are not read, and on images that were skipped; none where nothing is missing."""
        if len(rows["id"]) == self.planned:
            return list(self.unread)
        present = set(zip(rows["condition"], rows["id"], strict=True))
        names: dict[str, None] = {}
        for part in self.parts:
            for index in part.indices:
                if (part.condition.name, part.data.ids[index]) not in present:
                    names[_name_of(part.data, index)] = None
        return [*self.unread, note_on_skipped(list(names), self.planned - len(rows["id"]), self.planned)]

    @cached_property
    def journals(self) -> Sequence[Journal]:
        """The journal of each pair, which keeps its rows."""
        kept = self.parts, self.spec.kept
        suite = self.spec.suite
        return [
            Journal(self.out, suite, p.model, p.method_name, self.key(p), key_of(self._identity(p)), *kept)
            for p in self.pairs
        ]

    @property
    def corrupted(self) -> Sequence[Corrupted]:
        """The data sets under a corruption made on the fly, for each such condition."""
        return [data for data in map(innermost, self.datasets.values()) if isinstance(data, Corrupted)]

    @property
    def axis(self) -> plugins.Registry | plugins.Combined:
        """The kind of plugin that the suite combines with classifiers."""
        return plugins.AXES[self.suite.axis]

    @property
    def generates(self) -> bool:
        """True if every pair makes its own images, by a guide, so that pairs share no call."""
        return plugins.guide in self.axis.registries

    @cached_property
    def examples(self) -> Batch:
        """A few images of the data, for the checks before the run: the first that can be read."""
        return examples_of(self.data)

    @property
    def example(self) -> Tensor:
        """An image of the data, (1, 3, H, W), for what depends on its shape."""
        return self.examples.images[:1]

    @cached_property
    def shown(self) -> Tensor:
        """The images that every network and method is probed with: see `harness.models.probe`."""
        return shown(self.examples.images)

    def tally(self, pairs: Sequence[Pair]) -> Calls:
        """Network calls of these pairs' methods per image and classifier, kept: the suite runs the methods to count.

        A method that pairs share counts once, a guide for every pair.
        """
        distinct = {f"{pair.model if self.generates else ''} {pair.method_name}": pair for pair in pairs}
        names = tuple(distinct)
        if names not in self._tallies:
            those = list(distinct.values())
            self._tallies[names] = of_pairs(self.suite, those, self.example, self.data.num_classes, self.generates)
        return self._tallies[names]

    def uses_denoiser(self, pair: Pair) -> bool:
        """True if a pair's method is declared to look at denoised images, or the suite shows nothing else."""
        return self.suite.diffuses or bool(self.axis.of(pair.method_name).facts.get("denoiser"))

    def halvings(self) -> int:
        """Number of times that memory has forced a smaller tile so far."""
        return self.tiles.halved + self.classifier_tiles.halved + self.gradient_tiles.halved

    def spec_of(self, pair: Pair) -> RunSpec:
        """The specification that makes this pair's record alone, without settings that no number of it depends on."""
        uses = self.uses_denoiser(pair)
        differentiated = plugins.attack in self.axis.registries or getattr(self.suite, "differentiates", False)
        return replace(
            self.spec,
            models=(pair.model,),
            methods=(pair.method_name,),
            denoiser=self.spec.denoiser if uses else None,
            denoiser_dtype=self.spec.denoiser_dtype if uses else "float32",
            gradient_tile=self.spec.gradient_tile if differentiated else GRADIENT_TILE,
        )

    def key(self, pair: Pair) -> str:
        """The hash of everything that decides this pair's rows, apart from the versions of libraries."""
        return key_of({**self._identity(pair), "data": self.data_sha256})

    def _identity(self, pair: Pair) -> dict[str, Any]:
        """Everything that decides the rows, apart from the data: a fixed image leaves other parts valid."""
        spec = self.spec_of(pair)
        sources = plugins.suite.of(spec.suite).source, self.axis.of(pair.method_name).source
        denoiser = self.denoiser_weights.sha256 if self.denoiser_weights and spec.denoiser else ""
        model = self.models[pair.model].sha256
        return identity(spec, self.suite.version, self.suite.facts(), sources, model, denoiser, self._code(pair))

    def _code(self, pair: Pair) -> dict[str, str]:
        """Hashes of code from outside of the project that stand nowhere else in the identity."""
        return {
            kind: entry.source for kind, entry in self.entries(pair) if kind.startswith(OUTSIDE) and entry.origin.name
        }

    def entries(self, pair: Pair) -> Iterator[tuple[str, plugins.Entry]]:
        """The plugins behind a pair's rows, each with its kind."""
        spec = self.spec_of(pair)
        yield plugins.suite.kind, plugins.suite.of(spec.suite)
        for entry in self.axis.parts(pair.method_name):
            yield entry.kind, entry
        named = [(plugins.model, pair.model), (plugins.dataset, self.suite.dataset)]
        named += [(plugins.denoiser, spec.denoiser)] if spec.denoiser else []
        for registry, text in named:
            if text.partition(":")[0] in registry:
                yield registry.kind, registry.of(text)
        architecture = ModelText.of(pair.model).architecture
        if architecture in plugins.architecture:  # its code is part of the weights' hash, as that of files beside them
            yield plugins.architecture.kind, plugins.architecture[architecture]
        for name in dict.fromkeys(data.corruption for data in self.corrupted):
            if name in plugins.corruption:
                yield f"{plugins.corruption.kind} {name}", plugins.corruption[name]

    def origins(self, pair: Pair) -> dict[str, str]:
        """By kind of plugin, the file or package from outside of the project and its hash, as records name them."""
        return {kind: f"{entry.origin.name} {entry.source}" for kind, entry in self.entries(pair) if entry.origin.name}


def examples_of(data: Dataset) -> Batch:
    """The first images of a data set that can be read, one fewer than a probe shows."""
    batches: list[Batch] = []
    *others, last = range(min(TRIED, len(data.ids)))
    for index in others:
        with suppress(BadImage):
            batches.append(data.read([index]))
        if len(batches) == PROBED - 1:
            break
    batches = batches or [data.read([last])]
    ids = tuple(name for batch in batches for name in batch.ids)
    images = torch.cat([batch.images for batch in batches])
    return Batch(ids, images, torch.cat([batch.labels for batch in batches]))


def _name_of(data: Dataset, index: int) -> str:
    """An image as messages name it: by its file where the data set says so."""
    return str(data.called(index)) if hasattr(data, "called") else data.ids[index]
