"""Patterns of files: `in/2024-*/trips_*.csv.gz`.

In a pattern, `*`, `?` and `[…]` stand for characters of one name, and `**` for any number of folders, which it enters only if
they are no links. As much of the path as exists by that very name is no pattern: `jan[1].csv` is found literally.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

_MAGIC = re.compile(r"[*?\[]")
_ANY_DEPTH = "**"
Pattern = tuple[str, ...]
"""One part for each name below a folder."""


@dataclass(frozen=True)
class Place:
    """The part of a path that is no pattern, and the rest of it."""

    fixed: Path
    pattern: Pattern = ()

    @classmethod
    def of(cls, path: Path) -> Place:
        fixed, *names = (Path(path.anchor), *path.parts[bool(path.anchor) :])
        for number, name in enumerate(names):
            if _MAGIC.search(name) and not (fixed / name).exists():
                return cls(fixed, _pattern(names[number:]))
            fixed /= name
        return cls(fixed)


def _pattern(names: Sequence[str]) -> Pattern:
    """The names with one `**` for several in a row, and `*` after one at the end."""
    rest = [name for name, following in pairwise([*names, ""]) if not name == following == _ANY_DEPTH]
    return (*rest, "*") if rest[-1] == _ANY_DEPTH else tuple(rest)


def entries(place: Place) -> Iterator[tuple[Path, str]]:
    """Everything in the folders that the pattern leads through, with "" if it matches, or the reason why it does not."""
    return _entries(place.fixed, frozenset([place.pattern]))


def _entries(folder: Path, patterns: frozenset[Pattern]) -> Iterator[tuple[Path, str]]:
    patterns |= {rest[1:] for rest in patterns if rest[0] == _ANY_DEPTH}
    anywhere = {rest for rest in patterns if rest[0] == _ANY_DEPTH}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            yield path, "is hidden"
            continue
        rests = {rest[1:] for rest in patterns - anywhere if fnmatchcase(path.name, rest[0])}
        within = rests | (set() if path.is_symlink() else anywhere)
        deeper = frozenset(within - {()}) if path.is_dir() else frozenset()
        if deeper:
            yield from _entries(path, deeper)
        else:
            yield path, "" if () in rests else f"does not match {' or '.join(sorted(map('/'.join, patterns)))}"
