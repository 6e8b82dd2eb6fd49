"""Which delivered column is which column of a table, and what becomes of the others.

- A new column is dropped, with a note that has the line to add for keeping it.
- A column of a different type is cast where every value survives, with a note.
- A renamed column is found by `renamed`.
- A column that is missing is an error with the line to add, unless it is `optional`: then it is null, with a note.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from ratchet.core.errors import SettingsError, SourceError
from ratchet.core.text import closest
from ratchet.sources.csv_parsing import identifier, parses
from ratchet.use_case.contract import INSTANT

_DECLARED = {
    pa.bool_(): "pa.bool_()",
    pa.int64(): "pa.int64()",
    pa.float64(): "pa.float64()",
    INSTANT: "INSTANT",
    pa.string(): "pa.string()",
}
"""The types that a schema has, and how it is written there."""
_MOST_SHOWN = 30
"""How many headers an error names."""


@dataclass(frozen=True)
class Kind:
    """A delivered type by its name in the source ("" if it has none), and the type of a schema that holds such values; None if
    no such type does."""

    name: str
    declared: pa.DataType | None

    @classmethod
    def of(cls, delivered: pa.DataType) -> Kind:
        return cls(str(delivered), _holding(delivered))

    @classmethod
    def of_text(cls, text: pa.ChunkedArray) -> Kind:
        """The narrowest type that every value of a column of a CSV file has."""
        kinds = (kind for kind in (pa.int64(), pa.float64(), pa.bool_(), INSTANT) if parses(text, kind))
        return cls.of(pa.null()) if text.null_count == len(text) else cls("", next(kinds, pa.string()))


def _holding(delivered: pa.DataType) -> pa.DataType | None:
    kind = delivered.value_type if pa.types.is_dictionary(delivered) else delivered
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pa.bool_() if pa.types.is_boolean(kind) else pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return INSTANT
    return None if pa.types.is_nested(kind) or pa.types.is_duration(kind) or pa.types.is_interval(kind) else pa.string()


@dataclass(frozen=True)
class Headers:
    """How the columns of a table are found among delivered headers: by their `identifier`.

    `owner` says whose columns these are. `renamed` maps further headers to wanted columns; both the old and the new header are
    accepted, in any batch. `optional` columns may be missing from a batch, but not those that are `required`. Raises
    SettingsError if one of these names no wanted column, or a header could be two of them.
    """

    owner: str
    wanted: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)
    optional: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted({*self.renamed.values(), *self.optional} - {*self.wanted})
        if unknown:
            problem = f"renamed or optional names {', '.join(unknown)}, which is no column that is delivered"
            raise self._wrong(problem, f"Write renamed={{header: column}}, with a column of {', '.join(self.wanted)}")
        if not_optional := sorted({*self.optional} & {*self.required}):
            raise self._wrong(f"column {', '.join(not_optional)} cannot be optional", "Take it out of optional")
        keys = [*map(_key, self.wanted), *map(_key, self.renamed)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            problem = f"a header {', '.join(twice)} could be two columns, by the schema and by renamed"
            raise self._wrong(problem, "Take one of them out")

    def _wrong(self, problem: str, remedy: str) -> SettingsError:
        return SettingsError(problem, subject=self.owner, remedy=remedy)

    @cached_property
    def _columns(self) -> dict[str, str]:
        """Key of a header → the wanted column."""
        return {_key(name): name for name in self.wanted} | {_key(old): name for old, name in self.renamed.items()}

    def places(self, delivered: Sequence[str], subject: str) -> dict[str, int]:
        """Wanted column → the index of its header, without optional columns that are missing.

        Raises SourceError about `subject` if another column is missing, or if one is there twice.
        """
        places: dict[str, int] = {}
        for place, header in enumerate(delivered):
            name = self._columns.get(_key(header))
            if name in places:
                raise SourceError(
                    f"columns {delivered[places[name]]!r} and {header!r} would both be {name}",
                    subject=subject,
                    remedy="Deliver only one of them, or rename one there",
                )
            if name is not None:
                places[name] = place
        missing = [name for name in self.wanted if name not in places and (name not in self.optional or not places)]
        if missing:
            raise self._lacks(missing, delivered, subject)
        return {name: places[name] for name in self.wanted if name in places}

    def _lacks(self, missing: Sequence[str], delivered: Sequence[str], subject: str) -> SourceError:
        others = [header for header in delivered if _key(header) not in self._columns]
        alike = {header: name for name in missing if (header := _renamed(name, others, is_only=len(missing) == 1))}
        is_other = len(missing) == len(self.wanted)
        absent = [name for name in missing if name not in self.required and not is_other]
        ways = [
            *([f"did you mean renamed={json.dumps({**self.renamed, **alike}, ensure_ascii=False)}?"] if alike else []),
            *([f"if it may be missing, optional={_tuple([*self.optional, *absent])}"] if absent else []),
        ]
        shown = ", ".join([*delivered[:_MOST_SHOWN], *(["…"] if len(delivered) > _MOST_SHOWN else [])])
        return SourceError(
            f"lacks column {', '.join(missing)}; it has {shown}",
            subject=subject,
            remedy=f"Deliver it with that column{' or change how the use case reads it: ' * bool(ways)}{' '.join(ways)}",
        )

    def notes(
        self, delivered: Sequence[str], kinds: Mapping[int, Kind], declared: Mapping[str, pa.DataType]
    ) -> list[str]:
        """What was done with columns whose header or type is not the declared one.

        `kinds` are the types of headers by their index, if they have one; `declared` maps wanted columns to their types.
        """
        names = [self._columns.get(_key(header)) for header in delivered]
        noted = (
            dropped(header, kinds.get(place))
            if name is None
            else self._read_as(header, name, kinds.get(place), declared[name])
            for place, (header, name) in enumerate(zip(delivered, names, strict=True))
        )
        absent = (
            f"{name}: is not delivered, so it is null in every row" for name in self.optional if name not in names
        )
        return [*filter(None, noted), *absent]

    def _read_as(self, header: str, name: str, kind: Kind | None, declared: pa.DataType) -> str:
        is_renamed = _key(header) != _key(name)
        delivered = kind.name if kind else ""
        if is_renamed or (delivered and delivered != str(declared)):
            return f"{header}: {f'{delivered} ' if delivered else ''}→ {name} {declared}"
        return ""


def dropped(header: str, kind: Kind | None) -> str:
    """A note on a column that is not read, with the line to add to the schema for keeping it."""
    if kind and kind.name == str(pa.null()):
        return f"{header}: dropped; it has no values"
    shown = f"{header or 'a column without a name'}{f' ({kind.name})' if kind and kind.name else ''}: dropped"
    if kind is None or not header:
        return shown
    if kind.declared is None:
        return f"{shown}; no column can hold such values"
    if not identifier(header):
        return (
            f"{shown}; to keep it, add a column to the schema, and its name there as renamed={{{_quoted(header)}: …}}"
        )
    return f'{shown}; to keep it, add "{identifier(header)}": {_DECLARED[kind.declared]} to the schema'


def _key(header: str) -> str:
    return identifier(header) or header


def _renamed(name: str, others: Sequence[str], *, is_only: bool) -> str | None:
    """The header that a missing column may have now: one whose name is alike, or the only new one."""
    keys = {form: header for header in others for form in (_key(header), _in_order(header))}
    wanted = _key(name)
    within: Iterator[str] = (key for key in keys if wanted in key or (len(key) > 2 and key in wanted))
    found = closest(wanted, keys) or closest(_in_order(name), keys) or next(within, None)
    return keys[found] if found else (others[0] if is_only and len(others) == 1 else None)


def _in_order(header: str) -> str:
    """The words of a header in alphabetical order."""
    return "_".join(sorted(_key(header).split("_")))


def _tuple(names: Iterable[str]) -> str:
    """Names as a tuple in code."""
    quoted = [_quoted(name) for name in names]
    return f"({', '.join(quoted)}{',' * (len(quoted) == 1)})"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
