"""Locate published weights: a user's file, the weights folder, or the torch / Hugging Face cache."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from harness.base.errors import Absent, HarnessError
from harness.base.files import file_sha256
from harness.base.signatures import PAGE, is_page

ENDINGS = (".safetensors", ".pth.tar", ".pth", ".pt", ".ckpt", ".bin")
"""Endings of a user's file NAME.* in the weights folder; the first that exists counts."""


@dataclass(frozen=True)
class PublishedFile:
    """A file as its authors publish it.

    urls: addresses of the file itself, none if there is only a page. sha256, size: empty and 0 if unknown.
    hub: the Hugging Face repository that holds it as ``model.safetensors``.
    """

    name: str
    urls: Sequence[str] = ()
    sha256: str = ""
    size: int = 0
    hub: str = ""

    @property
    def digits(self) -> str:
        """The hash, or its first digits if only the name carries them, as in torch's hub; else empty."""
        digits_in_name = re.search(r"-([0-9a-f]{8,64})\.", self.name)
        return self.sha256 or (digits_in_name[1] if digits_in_name else "")


def default_folder() -> Path:
    """The folder ``$HARNESS_WEIGHTS``, or ``weights`` in the current one."""
    return Path(os.environ.get("HARNESS_WEIGHTS") or "weights")


@dataclass(frozen=True)
class WeightFiles:
    """Local places of published weights. Builders of models and denoisers that declare ``weight_files`` receive them.

    by_name: files by name of the network, from ``--weights NAME=FILE``; FILE#PART names one of several networks in a
        file: see `chosen`.
    folder: the weights folder.
    """

    by_name: Mapping[str, Path] = field(default_factory=dict)
    folder: Path = field(default_factory=default_folder)

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.by_name.items())), self.folder))

    @classmethod
    def of(cls, texts: Sequence[str]) -> WeightFiles:
        """The files of texts NAME=FILE or NAME=FILE#PART; raises HarnessError for other texts and missing files."""
        by_name = {}
        for text in texts:
            name, equals, path = text.partition("=")
            if not (name and equals and path):
                raise HarnessError(f"--weights {text!r}: write NAME=FILE, such as resnet50=resnet50-0676ba61.pth.")
            if not chosen(Path(path))[0].exists():
                raise HarnessError(f"--weights {text}: there is no such file.")
            by_name[name] = Path(path)
        return cls(by_name)

    def using(self, name: str, path: Path) -> WeightFiles:
        """These files, and this one for the network of that name."""
        return replace(self, by_name={**self.by_name, name: path})

    def find(self, name: str, published: Sequence[PublishedFile] = ()) -> Path | None:
        """The file with the weights of a network, or None.

        Order: the user's file; in the weights folder NAME.safetensors, the published files, and NAME with another
        ending; the published files in the caches. Raises HarnessError if the user's file does not exist.
        """
        if name in self.by_name:
            path = self.by_name[name]
            if not chosen(path)[0].exists():
                raise HarnessError(f"--weights {name}={path}: there is no such file.")
            return path
        return next((path for path in self._candidates(name, published) if path.is_file()), None)

    def _candidates(self, name: str, published: Sequence[PublishedFile]) -> Iterator[Path]:
        under_name = [self.folder / f"{name}{ending}" for ending in ENDINGS]
        yield under_name[0]
        yield from (self.folder / file.name for file in published)
        yield from under_name[1:]
        yield from (path for file in published for path in _cached(file))


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Weights of one network as its authors publish them.

    name: of the network, for users. about: one line. files: any of them holds the weights. page: the authors' page
    with the file. licence: of the weights, as far as their authors state it. format: of the file, in words.
    """

    name: str
    about: str
    files: Sequence[PublishedFile]
    page: str
    licence: str
    format: str

    def find(self, weight_files: WeightFiles) -> Path | None:
        """The file, its hash unchecked; None if it is not here. Raises HarnessError if the user's does not exist."""
        return weight_files.find(self.name, self.files)

    def locate(self, weight_files: WeightFiles) -> Path:
        """The file; raises Absent, which names the searched places and the remedy."""
        path = self.find(weight_files)
        if path is None:
            raise Absent(self.missing(weight_files))
        return path

    def lacks(self, weight_files: WeightFiles) -> str:
        """Name of the missing file; empty if the file is here."""
        return "" if self.find(weight_files) else self.files[0].name

    def missing(self, weight_files: WeightFiles) -> str:
        """Message for a missing file: the searched places and the remedy."""
        names = " or ".join([*(file.name for file in self.files), f"{self.name}.*"])
        fetch = f"harness weights download {self.name}" if any(file.urls for file in self.files) else "by hand"
        return (
            f"No weights of {self.name!r} here: looked for {names} in {weight_files.folder.absolute()} and for the "
            f"caches of torch and the Hugging Face hub. Get the file from {self.page} ({fetch}) and put it there, or "
            f"name one with --weights {self.name}=FILE."
        )

    def check(self, path: Path) -> str:
        """Compare a file with the published hashes: "yes", "no", or "unknown" if no hash is known.

        A file that keeps its published name must match the published hash, else HarnessError; a renamed file may
        differ, and the record says so.
        """
        path, part = chosen(path)
        if path.is_dir():
            return "unknown"
        sha256 = file_sha256(path)
        for file in self.files:
            if file.name == path.name and not sha256.startswith(file.digits):
                size = f" It has {path.stat().st_size:,} bytes instead of {file.size:,}." if file.size else ""
                reason = PAGE if is_page(path) else f"the file was changed, cut short, or is another one.{size}"
                raise HarnessError(
                    f"{path} has SHA-256 {sha256}, not {file.digits}: {reason} Fetch it again; a different file needs "
                    f"another name, such as {self.name}{path.suffix}."
                )
        hashes = [file.digits for file in self.files if file.digits]
        return "unknown" if not hashes or part else "yes" if any(map(sha256.startswith, hashes)) else "no"


def _cached(file: PublishedFile) -> Iterator[Path]:
    """Paths under which torch's hub and the Hugging Face hub keep a file."""
    import torch

    # torch's hub names files by their address; a name that only our manifest gives says nothing in its cache.
    if any(PurePosixPath(url).name == file.name for url in file.urls):
        yield Path(torch.hub.get_dir(), "checkpoints", file.name)
    if file.hub:
        from huggingface_hub import try_to_load_from_cache

        if isinstance(path := try_to_load_from_cache(file.hub, "model.safetensors"), str):
            yield Path(path)


def chosen(path: Path) -> tuple[Path, str]:
    """Split FILE#PART into the file and the name of one network in it; the part is empty if the path names none.

    A file with a # in its own name is that file.
    """
    text = str(path)
    for end in [len(text), *(k for k in range(len(text) - 1, 0, -1) if text[k] == "#")]:
        if Path(text[:end]).exists():
            return Path(text[:end]), text[end + 1 :]
    file, _, part = text.partition("#")
    return (Path(file), part) if file else (path, "")
