"""Features over trailing windows: how often something happened to an entity in the last hour, day or week, and sums of it.

    trailing(
        "machine_alarms", ("machine",), ALARMS, tile="1h", windows=("1h", "24h", "7d"), delay="2h",
        sums={"alarms": 1, "false": _.is_false},
        features={"alarms": total("alarms"), "false_share": rate("false", "alarms")},
    )

is a view with the features alarms_1h, false_share_1h, alarms_24h and so on. Time is divided into tiles, and rows are summed
within the tile in which they became known. A tile counts from its end on, because only then each of its rows was known strictly
before. A row that became known exactly when a tile begins counts from one second later. Each row counts for the length of the
window. The view has a row whenever something enters or leaves a window, so that a count also falls when nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

import ibis
from ibis import _

from ratchet.core.errors import SettingsError
from ratchet.core.text import parse_duration
from ratchet.use_case.columns import EVENT_TIMESTAMP
from ratchet.use_case.contract import SourceTable, Tables, View

Sums = Mapping[str, ibis.Value]
"""The sums over one window, by name: integers, 0 where there was no row."""
Feature = Callable[[Sums], ibis.Value]
Rows = Callable[[Tables], ibis.Table]
UTC_INSTANT = "timestamp('UTC', 6)"
SECOND = timedelta(seconds=1)
"""The shortest time between two rows of a key: online stores keep whole seconds."""


def trailing(
    name: str,
    keys: tuple[str, ...],
    table: SourceTable,
    *,
    tile: str,
    windows: Sequence[str],
    delay: str,
    sums: Mapping[str, ibis.Deferred | int],
    features: Mapping[str, Feature] | None = None,
    rows: Rows | None = None,
) -> View:
    """The view `name` of `keys`: each of `features` (default: the sums) over each of `windows`, as `{feature}_{window}`.

    Times are written as "15m", "24h" or "7d", and each window is a whole number of tiles. `delay` is the longest time from a
    row's event_time until it is known; a rule should quarantine rows that take longer. `sums` are integers or booleans of a
    row, where null counts as 0; the number 1 counts rows. `rows` returns the rows to sum, if they are not simply the table's,
    for example with further columns or without some of the rows. A key has no features if nothing about it became known during
    twice the longest window. Raises SettingsError.
    """
    subject = f"view {name!r}"
    width, spans = _duration(tile, subject), {window: _duration(window, subject) for window in windows}
    known_at, made = _known_at(table, subject), features or {name: total(name) for name in sums}
    _check_tiles(width, spans, subject)

    def compute(tables: Tables) -> ibis.Table:
        known = rows(tables) if rows else tables[table.name]
        changes = _changes(_tiles(known, keys, known_at, width, sums, subject), keys, spans.values())
        return changes.select(*keys, EVENT_TIMESTAMP, **_windowed(changes, keys, spans, list(sums), made))

    longest = max(spans.values())
    return View(name, keys, compute, lookback=longest + width + _duration(delay, subject), max_age=longest)


def just_after(known_at: ibis.Value) -> ibis.Value:
    """The first whole second strictly after `known_at`: the earliest event_timestamp that may use what became known then."""
    return (known_at.truncate("s") + ibis.interval(SECOND)).cast(UTC_INSTANT)


def total(name: str) -> Feature:
    """The feature that is a sum itself."""
    return lambda sums: sums[name].cast("int64")


def rate(part: str, whole: str) -> Feature:
    """One sum divided by another: a share, or a mean if `whole` counts rows; null if `whole` is 0."""
    return lambda sums: sums[part] / sums[whole].nullif(0)


def _tiles(
    rows: ibis.Table,
    keys: Sequence[str],
    known_at: str,
    width: timedelta,
    sums: Mapping[str, ibis.Deferred | int],
    subject: str,
) -> ibis.Table:
    """The sums over the rows that begin to count at the same event_timestamp, which is strictly after each became known."""
    known = rows.filter(rows[known_at].notnull())
    counts_from = _counts_from(known[known_at], width)
    values = {name: ibis.literal(value) if isinstance(value, int) else value for name, value in sums.items()}
    summed = known.select(*keys, **{EVENT_TIMESTAMP: counts_from}, **values)
    for name in sums:
        _check_whole(summed[name], f"{subject}, sum {name!r}")
    totals = {name: summed[name].cast("int64").fill_null(0).sum() for name in sums}
    return summed.group_by([*keys, EVENT_TIMESTAMP]).agg(**totals)


def _counts_from(known_at: ibis.Value, width: timedelta) -> ibis.Value:
    """The end of the tile in which a row became known, or one second after the tile's beginning if it was exactly then."""
    begin = known_at.bucket(ibis.interval(width))
    return (known_at == begin).ifelse(just_after(known_at), (begin + ibis.interval(width)).cast(UTC_INSTANT))


def _changes(tiles: ibis.Table, keys: Sequence[str], spans: Iterable[timedelta]) -> ibis.Table:
    """The tiles, and an empty one at each time at which a tile leaves a window."""
    names = [name for name in tiles.columns if name not in {*keys, EVENT_TIMESTAMP}]
    nothing = {name: ibis.literal(0, tiles[name].type()) for name in names}
    leaving = [
        tiles.mutate(**{EVENT_TIMESTAMP: (_[EVENT_TIMESTAMP] + ibis.interval(span)).cast(UTC_INSTANT)}, **nothing)
        for span in spans
    ]
    return ibis.union(tiles, *leaving).group_by([*keys, EVENT_TIMESTAMP]).agg(**{name: _[name].sum() for name in names})


def _windowed(
    changes: ibis.Table,
    keys: Sequence[str],
    spans: Mapping[str, timedelta],
    names: Sequence[str],
    features: Mapping[str, Feature],
) -> dict[str, ibis.Value]:
    """Each feature over each window, from the rows that began to count less than one window ago."""
    columns: dict[str, ibis.Value] = {}
    for window, span in spans.items():
        over = ibis.range_window(
            group_by=keys, order_by=EVENT_TIMESTAMP, preceding=ibis.interval(span - SECOND), following=0
        )
        sums = {name: changes[name].sum().over(over) for name in names}
        columns |= {f"{name}_{window}": feature(sums) for name, feature in features.items()}
    return columns


def _duration(text: str, subject: str) -> timedelta:
    found = parse_duration(text)
    if found is None:
        remedy = 'Write a whole number and s, m, h or d: "15m", "24h" or "7d"'
        raise SettingsError(f"{text!r} is no duration", subject=subject, remedy=remedy)
    return found


def _known_at(table: SourceTable, subject: str) -> str:
    column = table.known_at or table.event_time
    if column is None:
        problem = f"nothing says when a row of {table.name} became known"
        raise SettingsError(problem, subject=subject, remedy="Give the table an event_time")
    return column


def _check_tiles(width: timedelta, spans: Mapping[str, timedelta], subject: str) -> None:
    uneven = [window for window, span in spans.items() if not span or span % width]
    if uneven or not spans:
        problem = f"window {', '.join(uneven)} is no whole number of tiles" if uneven else "has no window"
        raise SettingsError(problem, subject=subject, remedy="Use a shorter tile, or other windows")


def _check_whole(value: ibis.Value, subject: str) -> None:
    """Sums of floats would depend on the number of threads."""
    kind = value.type()
    if not (kind.is_integer() or kind.is_boolean()):
        raise SettingsError(f"adds up a {kind}", subject=subject, remedy="Cast it to integers of a small unit")
