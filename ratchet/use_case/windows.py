"""Features over trailing windows: how often something happened to an entity in the last hour, day or week, and sums of it.

    trailing(
        "machine_alarms", ("machine",), ALARMS, tile="1h", windows=("1h", "24h", "7d"), delay="2h",
        sums={"alarms": 1, "false": _.is_false},
        features={"alarms": total("alarms"), "false_share": rate("false", "alarms")},
    )

is a view with the features alarms_1h, false_share_1h, alarms_24h and so on. Time is divided into tiles, and rows are summed
within the tile in which they became known. A tile enters a window at its end, because only then each of its rows was known
strictly before, and leaves it when the length of the window has passed. A row that became known exactly when a tile begins
enters one second later. A row that was not available to serving when its tile entered counts only from when it was: it was
delivered late, or no run of the feature pipeline had seen it yet. The view has a row whenever something enters or leaves a
window, so that a count also falls when nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import ibis

from ratchet.core.errors import SettingsError
from ratchet.core.text import parse_duration
from ratchet.use_case.columns import AVAILABLE_AT, EVENT_TIMESTAMP
from ratchet.use_case.contract import SourceTable, Tables, View

Sums = Mapping[str, ibis.Value]
"""The sums over one window, by name: integers, 0 where there was no row."""
Feature = Callable[[Sums], ibis.Value]
Rows = Callable[[Tables], ibis.Table]
UTC_INSTANT = "timestamp('UTC', 6)"
SECOND = timedelta(seconds=1)
"""The shortest time between two rows of a key: online stores keep whole seconds."""
_BEGINS, _ENTERS = "begins at", "enters at"
"""When the windows of a tile begin, and when it enters them. No column of a use case has a space."""


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
    row's event_time until it is usually known; rows that take longer count, too, but are stored apart, which costs more. `sums`
    are integers or booleans of a row, where null counts as 0; the number 1 counts rows. `rows` returns the rows to sum, if they
    are not simply the table's, for example with further columns or without some of the rows. A key has no features if nothing
    about it became known during twice the longest window. Raises SettingsError.
    """
    subject = f"view {name!r}"
    width, spans = _duration(tile, subject), {window: _duration(window, subject) for window in windows}
    known_at, made = _known_at(table, subject), features or {name: total(name) for name in sums}
    _check_tiles(width, spans, subject)

    def compute(tables: Tables) -> ibis.Table:
        known = rows(tables) if rows else tables[table.name]
        tiles = _tiles(known, keys, known_at, width, sums, subject)
        changes = _changes(tiles, keys, spans, list(sums))
        return changes.select(*keys, EVENT_TIMESTAMP, **_windowed(changes, keys, spans, list(sums), made))

    longest, wait = max(spans.values()), _duration(delay, subject)
    lookback = longest + width + wait
    return View(name, keys, compute, lookback=lookback, max_age=longest, tile=width, delay=(table.name, wait))


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
    """The sums over the rows of a tile that enter the windows at the same time."""
    if AVAILABLE_AT not in rows.columns:
        raise SettingsError(f"`rows` leaves out {AVAILABLE_AT}", subject=subject, remedy="Keep the table's own columns")
    known = rows.filter(rows[known_at].notnull())
    begins = _begins(known[known_at], width)
    times = {_BEGINS: begins, _ENTERS: ibis.greatest(begins, known[AVAILABLE_AT])}
    values = {name: ibis.literal(value) if isinstance(value, int) else value for name, value in sums.items()}
    summed = known.select(*keys, **times, **values)
    for name in sums:
        _check_whole(summed[name], f"{subject}, sum {name!r}")
    totals = {name: summed[name].cast("int64").fill_null(0).sum().cast("int64") for name in sums}
    return summed.group_by([*keys, *times]).agg(**totals)


def _begins(known_at: ibis.Value, width: timedelta) -> ibis.Value:
    """The end of the tile in which a row became known, or one second after the tile's beginning if it was exactly then: the
    first whole second at which every row of the tile was known strictly before."""
    begin = known_at.bucket(ibis.interval(width))
    return (known_at == begin).ifelse(begin + ibis.interval(SECOND), begin + ibis.interval(width)).cast(UTC_INSTANT)


def _changes(
    tiles: ibis.Table, keys: Sequence[str], spans: Mapping[str, timedelta], names: Sequence[str]
) -> ibis.Table:
    """By how much the sums over each window change, at each time at which a tile enters or leaves one of them.

    What is available only when its tile has left a window was never in it.
    """
    nothing = {_in(window, name): ibis.literal(0, "int64") for window in spans for name in names}
    leaves = {window: (tiles[_BEGINS] + ibis.interval(span)).cast(UTC_INSTANT) for window, span in spans.items()}
    was_in = {window: tiles[_ENTERS] < at for window, at in leaves.items()}
    entering = tiles.filter(ibis.or_(*was_in.values())).select(
        *keys,
        **{EVENT_TIMESTAMP: tiles[_ENTERS]},
        **{_in(window, name): was_in[window].ifelse(tiles[name], 0) for window in spans for name in names},
    )
    leaving = [
        tiles.filter(was_in[window]).select(
            *keys,
            **{EVENT_TIMESTAMP: leaves[window]},
            **{**nothing, **{_in(window, name): -tiles[name] for name in names}},
        )
        for window in spans
    ]
    changes = ibis.union(entering, *leaving)
    return changes.group_by([*keys, EVENT_TIMESTAMP]).agg(
        **{name: changes[name].sum().cast("int64") for name in nothing}
    )


def _windowed(
    changes: ibis.Table,
    keys: Sequence[str],
    spans: Mapping[str, timedelta],
    names: Sequence[str],
    features: Mapping[str, Feature],
) -> dict[str, ibis.Value]:
    """Each feature over each window, from all changes of its sums so far."""
    so_far = ibis.cumulative_window(group_by=keys, order_by=EVENT_TIMESTAMP)
    columns: dict[str, ibis.Value] = {}
    for window in spans:
        sums = {name: changes[_in(window, name)].sum().over(so_far) for name in names}
        columns |= {f"{name}_{window}": feature(sums) for name, feature in features.items()}
    return columns


def _in(window: str, name: str) -> str:
    """The column of a sum over a window; no column of a use case has a space."""
    return f"{name} in {window}"


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
