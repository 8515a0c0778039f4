"""Where the weights are that others published: a file that the user names, a folder, or a cache of torch or the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.base.errors import Absent, HarnessError
from harness.base.files import file_sha256
from harness.base.signatures import PAGE, is_page

ENDINGS = (".safetensors", ".pth.tar", ".pth", ".pt", ".ckpt", ".bin")
"""What the user's own files in the folder of weights may end in, the first that is there counts."""

given: dict[str, Path] = {}
"""Files by name of the network, from ``--weights NAME=FILE``; with the part that is meant, FILE#PART: see `chosen`."""


@dataclass(frozen=True)
class File:
    """A file as its authors publish it.

    urls: addresses of the file itself, none where there is only a page. sha256, size: empty and 0 where nobody states
    them. hub: the Hugging Face repository that holds it as ``model.safetensors``.
    """

    name: str
    urls: Sequence[str] = ()
    sha256: str = ""
    size: int = 0
    hub: str = ""

    @property
    def digits(self) -> str:
        """The hash, or the first digits of it that a name may carry as those of torch's hub do."""
        found = re.search(r"-([0-9a-f]{8,64})\.", self.name)
        return self.sha256 or (found[1] if found else "")


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Published weights of one network: the files that hold them, and what is known about these.

    name: what the user calls the network. about: in one line. page: where its authors point to the file.
    licence: of the weights, as far as their authors state it. format: of the file, in words.
    """

    name: str
    about: str
    files: Sequence[File]
    page: str
    licence: str
    format: str

    def find(self) -> Path | None:
        """The file, if it is here; its hash is not looked at. Raises HarnessError where `given` names none."""
        return find(self.name, self.files)

    def locate(self) -> Path:
        """The file; raises HarnessError, which says where it was looked for and what to do."""
        path = self.find()
        if path is None:
            raise Absent(self.missing)
        return path

    @property
    def lacks(self) -> str:
        """What is missing, in a few words; nothing where the file is here."""
        return "" if self.find() else self.files[0].name

    @property
    def missing(self) -> str:
        """Where the file was looked for, and what to do."""
        names = " or ".join([*(file.name for file in self.files), f"{self.name}.*"])
        fetch = f"harness weights download {self.name}" if any(file.urls for file in self.files) else "by hand"
        return (
            f"No weights of {self.name!r} here: looked for {names} in {folder().absolute()} and for the caches of "
            f"torch and the Hugging Face hub. Get the file from {self.page} ({fetch}) and put it there, or name one "
            f"with --weights {self.name}=FILE."
        )

    def check(self, path: Path) -> str:
        """Whether a file is the published one: "yes", "no", or "unknown" where its hash is not known.

        A file under a name of the user's own may be another one; one under a published name raises HarnessError.
        """
        path, part = chosen(path)
        if path.is_dir():
            return "unknown"
        sha256 = file_sha256(path)
        for file in self.files:
            if file.name == path.name and not sha256.startswith(file.digits):
                size = f" It has {path.stat().st_size:,} bytes instead of {file.size:,}." if file.size else ""
                what = PAGE if is_page(path) else f"the file was changed, cut short, or is another one.{size}"
                raise HarnessError(
                    f"{path} has SHA-256 {sha256}, not {file.digits}: {what} Fetch it again; a file of your own needs "
                    f"another name, such as {self.name}{path.suffix}."
                )
        known = [file.digits for file in self.files if file.digits]
        return "unknown" if not known or part else "yes" if any(map(sha256.startswith, known)) else "no"


def folder() -> Path:
    """The folder of weights: ``$HARNESS_WEIGHTS``, or ``weights`` where the command is given."""
    return Path(os.environ.get("HARNESS_WEIGHTS") or "weights")


def find(name: str, files: Sequence[File] = ()) -> Path | None:
    """The file with the weights of a network, or None.

    The file that the user gave; then in the folder of weights NAME.safetensors, the published files and NAME with
    another ending; then the published files in the caches. Raises HarnessError where a given file is not there.
    """
    if name in given:
        if not chosen(given[name])[0].exists():
            raise HarnessError(f"--weights {name}={given[name]}: there is no such file.")
        return given[name]
    return next((path for path in _candidates(name, files) if path.is_file()), None)


def _candidates(name: str, files: Sequence[File]) -> Iterator[Path]:
    own = [folder() / f"{name}{ending}" for ending in ENDINGS]
    yield own[0]
    yield from (folder() / file.name for file in files)
    yield from own[1:]
    yield from (path for file in files for path in _cached(file))


def _cached(file: File) -> Iterator[Path]:
    """Where torch's hub and the Hugging Face hub would have kept a file."""
    import torch

    # torch's hub names files by their address; a name that only our manifest gives says nothing in its cache.
    if any(PurePosixPath(url).name == file.name for url in file.urls):
        yield Path(torch.hub.get_dir(), "checkpoints", file.name)
    if file.hub:
        from huggingface_hub import try_to_load_from_cache

        if isinstance(path := try_to_load_from_cache(file.hub, "model.safetensors"), str):
            yield Path(path)


def chosen(path: Path) -> tuple[Path, str]:
    """The file that FILE#PART names, and the part of it that is meant; the path and nothing where no part is named.

    A file with a # in its own name is that file.
    """
    text = str(path)
    for end in [len(text), *(k for k in range(len(text) - 1, 0, -1) if text[k] == "#")]:
        if Path(text[:end]).exists():
            return Path(text[:end]), text[end + 1 :]
    file, _, part = text.partition("#")
    return (Path(file), part) if file else (path, "")


def give(texts: Sequence[str]) -> list[str]:
    """Remember files that the user names as NAME=FILE or NAME=FILE#PART; the names."""
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise HarnessError(f"--weights {text!r}: write NAME=FILE, such as resnet50=resnet50-0676ba61.pth.")
        if not chosen(Path(path))[0].exists():
            raise HarnessError(f"--weights {text}: there is no such file.")
        given[name] = Path(path)
    return [text.partition("=")[0] for text in texts]
