"""Stores: folders anywhere that fsspec reaches, such as ``hf://datasets/ORG/NAME``, ``s3://BUCKET/DIR`` or a path."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.evaluation.records.parquet import MOST
from harness.evaluation.records.record import LARGEST

HUB = "hf://datasets/"
"""Start of the address of a data set on the Hugging Face hub."""

LIMITS = {".json": LARGEST, ".parquet": MOST}
"""Bytes that a file may have, by suffix."""

MOST_FILES = 200_000
"""Files that a store may hold."""

NAME = re.compile(r"[^/\\\x00-\x1f]+/[^/\\\x00-\x1f]+\.(json|parquet)")
"""Place of a record or a sample table in a store: the suite's folder, and the file."""


class Oversized(HarnessError):
    """A file of more bytes than a record or a sample table may have."""


@dataclass(frozen=True)
class Store:
    """A folder of an fsspec file system. address: as the user writes it. root: the folder's path in `system`."""

    address: str
    system: Any
    root: str

    @classmethod
    def of(cls, address: str) -> Store:
        """The store at an address; HarnessError for a protocol that is unknown, or whose package is not installed."""
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(address)
        except ImportError as error:
            raise HarnessError(f"{address} needs a package that is not installed: {error}") from error
        except ValueError as error:
            protocol = "hf://datasets/ORG/NAME, file://, memory://, s3:// or a folder"
            raise HarnessError(f"{address!r} is no address ({error}). Give {protocol}.") from error
        return cls(address, system, root.rstrip("/"))

    def names(self) -> list[str]:
        """Places of records and tables, "SUITE/FILE"; nothing else is read.

        Raises HarnessError for names that lead out of the store, for too many files, and for no folder at all.
        """
        with self.reporting("read"):
            paths = self.system.find(self.root) if self.system.exists(self.root) else []
        if len(paths) > MOST_FILES:
            raise HarnessError(f"{self.address} holds {len(paths):,} files; at most {MOST_FILES:,} are read.")
        names = []
        for path in paths:
            name = path.removeprefix(self.root).lstrip("/")
            if {"..", "."} & set(re.split(r"[/\\]", name)):
                raise HarnessError(f"{self.address} holds {name!r}, a name that leads out of it. Nothing was read.")
            if NAME.fullmatch(name) and not name.startswith((".", "metrics/")):
                names.append(name)
        return sorted(names)

    def read(self, name: str) -> bytes:
        """A file's bytes; HarnessError for more than `LIMITS` allows, whatever the store says of its size."""
        limit = LIMITS[Path(name).suffix]
        with self.reporting("read"), self.system.open(f"{self.root}/{name}", "rb") as file:
            content: bytes = file.read(limit + 1)
        if len(content) > limit:
            raise Oversized(f"{self.address}/{name} has more than {limit:,} bytes, the most that is read.")
        return content

    def readme(self) -> str:
        """The text of its README.md, empty where there is none."""
        path = f"{self.root}/README.md"
        with self.reporting("read"):
            if not self.system.exists(path):
                return ""
            with self.system.open(path, "rb") as file:
                return bytes(file.read(LARGEST)).decode("utf-8", "replace")

    def write(self, files: Mapping[str, bytes | Path]) -> None:
        """Put contents, or files of this machine, in the store in this order; on the hub in one commit."""
        with self.reporting("write to"):
            if self.address.startswith(HUB):
                _commit(self.address.removeprefix(HUB), files)
                return
            for name, content in files.items():
                path = f"{self.root}/{name}"
                self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
                self.system.pipe_file(path, content.read_bytes() if isinstance(content, Path) else content)

    @contextmanager
    def reporting(self, what: str) -> Iterator[None]:
        """Errors of file systems and servers as a HarnessError."""
        try:
            yield
        except HarnessError:
            raise
        except Exception as error:  # each library has its own kinds
            reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
            login = " For the hub: `hf auth login`, or the variable HF_TOKEN." if "hf:" in self.address else ""
            raise HarnessError(f"Cannot {what} {self.address}: {reason}.{login}") from error


def _commit(repository: str, files: Mapping[str, bytes | Path]) -> None:
    """One commit with all files to a data set on the hub, which is made if it is not there.

    repository: "ORG/NAME", with a folder after it where the address has one.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    owner, name, *folder = repository.strip("/").split("/")
    api = HfApi()
    api.create_repo(f"{owner}/{name}", repo_type="dataset", exist_ok=True)
    operations = [CommitOperationAdd("/".join([*folder, place]), content) for place, content in files.items()]
    message = f"Add {sum(place.endswith('.json') for place in files)} records"
    api.create_commit(f"{owner}/{name}", operations, commit_message=message, repo_type="dataset")


@contextmanager
def fetched(store: Store) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A temporary folder with the records of a store and their tables, to be verified before anything of it is kept.

    Beside it, by place, the reasons why records were left out: one that is too large takes no other one down.
    """
    names = store.names()
    if not names:
        raise HarnessError(f"No records at {store.address}. Give the address that `harness results push` was given.")
    folder = Path(tempfile.mkdtemp(prefix="harness-pull-"))
    try:
        left_out: dict[str, str] = {}
        there = set(names)
        for name in names:
            record = Path(name).with_suffix(".json").as_posix()
            if record not in there or record in left_out:
                continue
            try:
                content = store.read(name)
            except Oversized as error:
                left_out[record] = str(error)
                (folder / record).unlink(missing_ok=True)
                continue
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        yield folder, left_out
    finally:
        shutil.rmtree(folder, ignore_errors=True)
