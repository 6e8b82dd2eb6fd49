"""DVC's cache: which of it is unused, and its removal by DVC."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class Cache:
    """The cache of a checkout, opened."""

    repo: Repo

    @property
    def folder(self) -> Path:
        return Path(self.repo.cache.local.path)

    @property
    def is_own(self) -> bool:
        """Whether it lies in this checkout. Others may use any other one, too."""
        return self.folder.resolve().is_relative_to(Path(self.repo.root_dir).resolve())

    def needed(self, named: Iterable[str]) -> set[str]:
        """The names of all contents that these need, or that DVC knows in the working tree: those of files in folders, too."""
        wanted = {*named, *(out.hash_info.value for out in self.repo.index.outs if out.hash_info)}
        folders = [name for name in wanted if name.endswith(".dir")]
        return wanted.union(*map(self._files, folders))

    def _files(self, name: str) -> set[str]:
        """The files of a folder; none if the cache does not hold it."""
        with suppress(FileNotFoundError):
            return {str(entry["md5"]) for entry in json.loads(self._path(name).read_bytes())}
        return set()

    def file(self, folder: str, name: str) -> bytes | None:
        """The content of a file in a folder that DVC names; None if the cache does not hold it."""
        with suppress(FileNotFoundError):
            found = {entry["relpath"]: entry["md5"] for entry in json.loads(self._path(folder).read_bytes())}
            return self._path(found[name]).read_bytes() if name in found else None
        return None

    def unused(self, needed: set[str]) -> list[Path]:
        """The files of the cache that hold anything else."""
        return [self._path(name) for name in self.repo.cache.local.all() if name not in needed]

    def remove_all_but(self, needed: set[str]) -> None:
        """Let DVC remove everything else. May be killed at any point and called again."""
        from dvc_data.hashfile.gc import gc
        from dvc_data.hashfile.hash_info import HashInfo

        gc(self.repo.cache.local, [HashInfo("md5", name) for name in needed])

    def _path(self, name: str) -> Path:
        return Path(self.repo.cache.local.oid_to_path(name))
