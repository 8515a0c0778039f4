"""What a run leaves behind: a JSON record, and a Parquet sample table beside it.

    results/local/digits-c/digits.vit--de--1f2e3d4c5b6a.json       the record: what was measured, from what, by what
    results/local/digits-c/digits.vit--de--1f2e3d4c5b6a.parquet    one row per sample and condition

The hash in the names identifies everything that decides a number.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

import harness
from harness.files import writing
from harness.tables import Rows, columns
from harness.types import Geometry, HarnessError, Metric, RunSpec, Weights

SCHEMA = 1


@dataclass(frozen=True)
class Cost:
    """What it took. The only part of a record, beside `created`, that may differ between two runs of the same thing.

    seconds: wall time of the batches, summed over shards; shared by all `pairs` evaluated together.
    images: test images evaluated, one per sample and condition.
    denoiser_calls: images that went through the denoiser while these rows were made, shared by all `pairs`.
    method_calls_per_image: denoiser calls that the method asks for on its own.
    at_most: that is an upper limit, of a suite that stops earlier where it can.
    pairs: how many classifier-method pairs shared the seconds and the calls.
    tile_halvings: how often memory forced a smaller tile; not zero means rows agree with other runs to rounding only.
    """

    seconds: float = 0.0
    images: int = 0
    denoiser_calls: int = 0
    method_calls_per_image: int = 0
    at_most: bool = False
    pairs: int = 1
    tile_halvings: int = 0


@dataclass(frozen=True)
class RunRecord:
    """One classifier under one method on one suite.

    status: "complete" for the whole test set, "partial" for a subset; subsets are never ranked beside whole sets.
    coverage: in words, "600 of 600 images" or "100 of 600 images (every 6th)".
    suite, suite_version, dataset: what was measured on. facts: what else decides the suite's numbers.
    model, denoiser: names, hashes and origins of the weights.
    data_sha256: hash of the clean test images, labels and ids.
    key: hash of everything that decides a number; the same key means the same rows.
    columns: (metric, condition) pairs that a leaderboard shows; the first one ranks.
    samples: name and SHA-256 of the sample table beside this file, and its number of rows.
    notes: what could not be computed, and why.
    environment: versions and hardware.
    classes: names of the data's classes, in the order of the labels; none where they have no names.
    plugins: files from outside of the package, "FILE SHA256" by kind of plugin: suite, method, ...
    probe: what the networks and the method gave for fixed images before the run; None in older records.
    sha256: of the record's canonical JSON without this field; empty in older records.
    """

    status: str
    coverage: str
    suite: str
    suite_version: int
    dataset: str
    facts: Mapping[str, str]
    model: Weights
    method: str
    denoiser: Weights | None
    spec: RunSpec
    data_sha256: str
    geometry: Geometry
    key: str
    columns: Sequence[tuple[str, str]]
    metrics: Sequence[Metric]
    notes: Sequence[str]
    samples: Mapping[str, Any]
    environment: Mapping[str, Any]
    cost: Cost
    created: str
    schema: int = SCHEMA
    classes: Sequence[str] = ()
    plugins: Mapping[str, str] = field(default_factory=dict)
    probe: Mapping[str, Any] | None = None
    sha256: str = ""
    path: Path | None = field(default=None, compare=False)

    @property
    def board(self) -> tuple[str, ...]:
        """Records with the same board may be ranked together: same suite, data, samples and randomness."""
        spec = self.spec
        facts = ",".join(f"{k}={v}" for k, v in sorted(self.facts.items()))
        data = (self.data_sha256, self.coverage, str(spec.seed), self.status)
        return (benchmark(self.suite), str(self.suite_version), facts, *data)

    @property
    def variant(self) -> str:
        """The method as tables name it: with its arithmetic, classifier's/denoiser's, where that is not all float32."""
        types = dict.fromkeys([self.spec.dtype, *([self.spec.denoiser_dtype] if self.spec.denoiser else [])])
        told = [] if list(types) == ["float32"] else ["/".join(types)]
        told += ["compiled"] if self.spec.compile else []
        return f"{self.method} ({', '.join(told)})" if told else self.method

    def metric(self, name: str, condition: str | None = None) -> Metric | None:
        """The metric of that name, for one condition or the first there is."""
        return next((m for m in self.metrics if m.name == name and condition in (None, m.condition)), None)

    def rows(self) -> Rows:
        """The sample table, checked against its hash."""
        assert self.path is not None
        file = self.path.with_name(self.samples["file"])
        try:
            data = file.read_bytes()
        except OSError as error:
            raise HarnessError(f"{file}: {error.strerror}. The record's sample table belongs beside it.") from error
        if hashlib.sha256(data).hexdigest() != self.samples["sha256"]:
            raise HarnessError(
                f"{file} is not the sample table that {self.path.name} was computed from (SHA-256 differs). "
                "Restore it, or delete both and run again."
            )
        return columns(pq.read_table(pa.BufferReader(data)))


def benchmark(suite: str) -> str:
    """A suite's canonical text without the folders its data lie in, which decide no number: a hash of the data does.

    Of ``clean=DIR`` the word remains, since the clean images are one more condition.
    """
    name, _, settings = suite.partition(":")
    parts = [re.sub("^clean=.*", "clean", part) for part in re.split(r",(?=\w+=)", settings)]
    kept = [part for part in parts if part and not part.startswith("data=")]
    return ":".join([name, ",".join(kept)] if kept else [name])


def key_of(identity: Mapping[str, Any]) -> str:
    """Twelve hex digits that stand for everything that decides a number."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def environment(device: str) -> dict[str, Any]:
    """Versions and hardware behind a record."""
    cuda = torch.device(device).type == "cuda"
    packages = ("numpy", "diffusers", "timm", "pillow", "scipy", "statsmodels")
    return {
        "harness": harness.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }


def save(record: RunRecord, file: Path) -> None:
    """Write a record's JSON."""
    values = asdict(record)
    del values["path"]
    with writing(file) as partial:
        partial.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def load(file: Path) -> RunRecord:
    """Read a record; raises HarnessError for a file that is not one, or of another schema."""
    try:
        values = json.loads(file.read_text())
        if values["schema"] != SCHEMA:
            raise HarnessError(f"{file} has record schema {values['schema']}; this version reads {SCHEMA}.")
        spec = values["spec"]
        return RunRecord(
            **{
                **values,
                "spec": RunSpec(**{**spec, "models": tuple(spec["models"]), "methods": tuple(spec["methods"])}),
                "model": Weights(**values["model"]),
                "denoiser": values["denoiser"] and Weights(**values["denoiser"]),
                "columns": tuple((name, condition) for name, condition in values["columns"]),
                "geometry": Geometry(**values["geometry"]),
                "metrics": tuple(Metric(**{**m, "interval": tuple(m["interval"])}) for m in values["metrics"]),
                "cost": Cost(**values["cost"]),
                "classes": tuple(values.get("classes", ())),
                "path": file,
            }
        )
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{file} is not a run record ({type(error).__name__}: {error}). Restore it, or delete it and run again."
        ) from error
