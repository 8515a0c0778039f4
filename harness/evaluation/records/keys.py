"""Identity of a record: everything that decides its rows, apart from the data; its hash is the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from harness.plugins.settings import split
from harness.types import RunSpec

SCHEMA = 1
"""Version of the identity and of the record's file."""

LATER_SETTINGS = {"compile": False, "gradient_tile": 16}
"""Settings that shipped records are older than, with their defaults: these do not enter the key."""

OUTSIDE = r"(near|far|held_out)="
"""Start of a setting with folders of images out of distribution."""

ARCHIVE = r"^(reference=).*/([^/]+\.npz)$"
"""A setting with the path of a reference archive, whose hash is among the facts."""


def benchmark(suite: str) -> str:
    """A suite's canonical text without the folders its data lie in, which decide no number: a hash of the data does.

    Of ``clean=DIR`` the word remains, since the clean images are one more condition, and of a list ``ids=FILE``; of the
    folders of images out of distribution their names, after which conditions are called; of a reference archive the
    name of the file.
    """
    name, _, settings = suite.partition(":")
    parts = [re.sub("^(clean|ids)=.*", r"\1", part) for part in split(settings)]
    parts = [re.sub(r"[^,=]*/(?=[^,/])|/+(?=,|$)", "", p) if re.match(OUTSIDE, p) else p for p in parts]
    parts = [re.sub(ARCHIVE, r"\1\2", part) for part in parts]
    deciding = [part for part in parts if part and not part.startswith("data=")]
    return ":".join([name, ",".join(deciding)] if deciding else [name])


def identity(
    spec: RunSpec,
    version: int,
    facts: Mapping[str, str],
    sources: tuple[str, str],
    model: str,
    denoiser: str,
    code: Mapping[str, str] = {},
) -> dict[str, Any]:
    """Everything that decides a record's rows, apart from the data: a repaired image leaves other parts valid.

    spec: of this record alone. sources: of the plugin files of suite and method. model, denoiser: SHA-256 of weights.
    code: SHA-256 of other plugin files by their kind.
    """
    settings = asdict(replace(spec, suite=benchmark(spec.suite)))
    for name in LATER_SETTINGS:
        if settings[name] == LATER_SETTINGS[name]:
            del settings[name]
    for name in ("keep_logits", "keep_images"):  # which add to the rows, and decide no number
        del settings[name]
    return {
        "schema": SCHEMA,
        "spec": settings,
        "version": version,
        "facts": dict(facts),
        "suite": sources[0],
        "model": model,
        "method": sources[1],
        "denoiser": denoiser,
        **({"plugins": dict(code)} if code else {}),
    }
