"""From a specification to everything it names, loaded and checked: what `evaluate` works on and a dry run describes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from harness import plugins, weights
from harness.data.contents import unread_note
from harness.diffusion.denoiser import Denoiser
from harness.journal import Journal
from harness.networks import TiledClassifier, Tiles, check_compiler, place
from harness.record import SCHEMA, benchmark, key_of
from harness.tables import Rows
from harness.types import BadImage, Condition, Dataset, HarnessError, Pair, RunSpec, Suite, Tally, Weights

TRIED = 100
"""Images that are tried before a data set counts as unreadable."""


@dataclass(frozen=True)
class Part:
    """The unit that is computed and written in one piece: some samples of one condition."""

    name: str
    condition: Condition
    indices: range


@dataclass(frozen=True, eq=False)
class Job:
    """One run.

    datasets: by condition. models: weights by model name. journals: one per pair.
    tiles, classifier_tiles: how the denoiser and the classifiers are called.
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
        """Every part of the run, in the order of the sample table; a name says which samples of which data it holds."""
        size = self.part_size
        return [
            Part(f"{c:04d}-{start:06d}-{len(some)}-{data.sha256[:12]}", condition, some)
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
        names = [part.name for part in self.parts]
        return [
            Journal(self.out, self.spec.suite, p.model, p.method, self.key(p), key_of(self._identity(p)), names)
            for p in self.pairs
        ]

    @property
    def axis(self) -> plugins.Registry | plugins.Combined:
        """The kind of plugin that the suite combines with classifiers."""
        return plugins.AXES[self.suite.axis]

    @cached_property
    def example(self) -> Tensor:
        """An image of the data, (1, 3, H, W), for what depends on its shape: the first that can be read."""
        *others, last = range(min(TRIED, len(self.data.ids)))
        for index in others:
            with suppress(BadImage):
                return self.data.read([index]).images
        return self.data.read([last]).images

    def tally(self, pairs: Sequence[Pair]) -> Tally:
        """What the methods of these pairs cost per image and classifier; one that pairs share is counted once."""
        procedures = {pair.method: pair.procedure for pair in pairs}
        return self.suite.tally(list(procedures.values()), self.example, self.data.num_classes)

    def uses_denoiser(self, pair: Pair) -> bool:
        """Whether a pair's method is declared to look at denoised images, or the suite shows nothing else."""
        return self.suite.diffuses or bool(self.axis.of(pair.method).facts.get("denoiser"))

    def halvings(self) -> int:
        """How often memory has forced a smaller tile so far."""
        return self.tiles.halved + self.classifier_tiles.halved

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
        settings = asdict(replace(spec, suite=benchmark(spec.suite)))
        if not spec.compile:
            del settings["compile"]  # records are older than this setting
        return {
            "schema": SCHEMA,
            "spec": settings,
            "version": self.suite.version,
            "facts": dict(self.suite.facts()),
            "suite": plugins.suite.of(spec.suite).source,
            "model": self.models[pair.model].sha256,
            "method": self.axis.of(pair.method).source,
            "denoiser": self.denoiser_weights.sha256 if self.denoiser_weights and spec.denoiser else "",
        }


def prepare(spec: RunSpec, out: Path | str) -> Job:
    """Load what a specification names; every mistake in it is reported here, before any work is done."""
    _, suite = plugins.suite.configure(spec.suite)
    datasets = {c.name: _opened(suite, c, spec.seed) for c in suite.conditions()}
    procedures = {name: plugins.AXES[suite.axis].configure(name)[1] for name in spec.methods}
    if spec.compile:
        check_compiler(spec.device)
    denoiser, denoiser_weights = weights.find_denoiser(spec.denoiser) if spec.denoiser else (None, None)
    if denoiser:
        place(denoiser.network, spec.device, spec.compile)
    group = max([getattr(p, "group", 1) for p in procedures.values()])
    tiles = Tiles(max(spec.tile // group, 1) * group, spec.device, spec.denoiser_dtype, multiple=group)
    classifier_tiles = Tiles(spec.tile, spec.device, spec.dtype, compiled=spec.compile)
    models, pairs = {}, []
    for name in spec.models:
        network, found = weights.find_classifier(name)
        models[name] = replace(found, name=name)
        classifier = TiledClassifier(network, classifier_tiles)
        pairs += [Pair(name, method, classifier, p, models[name]) for method, p in procedures.items()]
    job = Job(spec, Path(out), suite, datasets, pairs, models, denoiser, denoiser_weights, tiles, classifier_tiles)
    suite.check(list(procedures.values()), denoiser)
    _check_denoiser(job)
    for pair in pairs[:: len(procedures)]:
        _check_classifier(job, pair)
    for pair in pairs[: len(procedures)]:
        _check_method(job, pair)
    return job


def _opened(suite: Suite, condition: Condition, seed: int) -> Dataset:
    data = suite.open(condition, seed)
    if condition.size and len(data.ids) > condition.size:
        raise HarnessError(
            f"{suite.name}: {len(data.ids)} images under {condition.name!r}, of which {condition.size} were published. "
            "Other images lie there, too: give a folder of these alone."
        )
    return data


def _check_denoiser(job: Job) -> None:
    if job.denoiser and job.denoiser.conditional:
        raise HarnessError(
            f"The diffusion model {job.spec.denoiser!r} wants to be told the class of an image, which a test must not "
            "tell. Name an unconditional one with --denoiser."
        )
    if job.denoiser:
        job.denoiser.check_sides(job.example)


def _check_classifier(job: Job, pair: Pair) -> None:
    trained_on = job.models[pair.model].details.get("dataset", job.data.name)
    if trained_on != job.data.name:
        raise HarnessError(
            f"Model {pair.model!r} was trained on the classes of {trained_on!r}, not on those of {job.data.name!r}."
        )
    image, classes = job.example, job.data.num_classes
    try:
        logits = pair.classifier(image)
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(
            f"Model {pair.model!r} failed on an image of shape {tuple(image.shape)}: {type(error).__name__}: {error}"
        ) from error
    if logits.shape != (1, classes):
        raise HarnessError(
            f"Model {pair.model!r} gives outputs of shape {tuple(logits.shape)} for one image; "
            f"{job.data.name!r} has {classes} classes, so (1, {classes}) was expected."
        )


def _check_method(job: Job, pair: Pair) -> None:
    try:
        needs = job.tally([pair])
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"Method {pair.method!r} failed on one image: {type(error).__name__}: {error}") from error
    if needs.denoiser and not job.uses_denoiser(pair):
        raise HarnessError(
            f"Method {pair.method!r} looks at denoised images: declare it with @method(..., denoiser=True)."
        )
    if job.denoiser:
        job.denoiser.check_times(needs.times)
