"""Check a batch as a whole: its statistics against those of earlier batches of its table.

- `quarantined`: a large share of its rows breaks rules.
- `rule`: it breaks a rule of the use case that is not about single rows, such as a mean.
- `repeated`: most of its rows have keys that were accepted from one earlier batch.
- `volume`: far fewer or more rows for each day that it covers than usual.
- `days`: it covers far fewer or more days than usual. The report leaves it out for a batch that ends where the data end.
- `nulls`: in a column, the share of missing values is far from the usual one.
- `range`: many values of a column are outside the range, or the set, of those of earlier batches.
- `shifted`: its rows come at other hours of the day, as if all its times were an hour or more too early or too late.

Great Expectations judges `volume`, `nulls` and `range`. Usual is the median of earlier batches, so that one bad batch hides no
second one. A column that leaves its range in most batches, such as a running number, may do so again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_pipeline.batch_statistics import HALF_HOURS, Hours, Statistics, Times, usual_ranges, usual_values
from ratchet.core.frozen import Frozen
from ratchet.core.settings import Check, ValidationSettings
from ratchet.use_case.contract import Rule, expect

FEWEST_EARLIER = 2
"""A batch is compared with at least this many earlier ones."""
MOST_REPEATED = 0.5
"""A batch with a larger share of the keys of one earlier batch repeats it."""
LEAST_SHIFT, SURE_SHIFT = 1.0, 2.0
"""Hours. A shift between the two only warns, because a holiday may look like it."""
_UNRELATED = 0.05
"""The share of rows that may come at any hour, so that single rows at odd hours count little."""
_EVIDENCE = 12.0
_EVIDENCE_OF_A_ROW = 0.015
"""A shift must explain the hours better than none by this difference of log likelihoods: in all, times their dispersion, and
for each row."""
_SAME_SPREAD = 0.002
_LEAST_USUAL = 0.25
Rows = npt.NDArray[np.float64]
"""Numbers of rows, for each half-hour of the day."""


class Finding(Frozen):
    """A check that a batch did not pass, with what was found. `refuses` is whether it is quarantined whole for this."""

    check: Check
    refuses: bool
    detail: str


@dataclass(frozen=True)
class Expected:
    """What Great Expectations judges of a batch as a whole, and what is usual, in words."""

    check: Check
    column: str | None
    rule: Rule
    usual: str

    def failed(self, observed: Any, settings: ValidationSettings) -> Finding:
        """The finding that a batch does not meet it, with the value that Great Expectations observed."""
        texts = {
            "volume": f"has {observed:,} rows",
            "nulls": f"{self.column}: {_percent(observed)} of the values are there",
            "range": f"{self.column}: {observed:.3g}% of the values are unusual",
        }
        return finding(self.check, f"{texts[self.check]}, where {self.usual}", settings)


def expected(batch: Statistics, earlier: Sequence[Statistics], settings: ValidationSettings) -> Iterator[Expected]:
    """What to expect of the rows of a batch that break no rule, with these statistics, by those of earlier batches."""
    if len(earlier) < FEWEST_EARLIER:
        return
    if median(each.rows for each in earlier) >= settings.min_rows:
        yield _volume(batch, earlier, settings)
    if batch.rows >= settings.min_rows:
        yield from _nulls(batch, earlier, settings)
        yield from _ranges(earlier, settings)


def _volume(batch: Statistics, earlier: Sequence[Statistics], settings: ValidationSettings) -> Expected:
    usual = median(each.rows / _days(each) for each in earlier) * _days(batch)
    low, high = int(usual * settings.min_volume), int(usual * settings.max_volume) + 1
    rule = _rule("volume", settings, "table_row_count_to_be_between", min_value=low, max_value=high)
    return Expected("volume", None, rule, f"about {usual:,.0f} are usual for {_days(batch):.3g} days")


def _rule(check: Check, settings: ValidationSettings, expectation: str, **arguments: Any) -> Rule:
    """An expectation whose severity in Great Expectations is what the settings make of the check."""
    return expect(expectation, severity="critical" if check in settings.refuse else "warning", **arguments)


def _days(of: Statistics) -> float:
    return of.times.days if of.times else 1.0


def _nulls(batch: Statistics, earlier: Sequence[Statistics], settings: ValidationSettings) -> Iterator[Expected]:
    for column in batch.nulls:
        shares = [each.nulls[column] for each in earlier if column in each.nulls]
        if not shares:
            continue
        usual = median(shares)
        change = settings.max_null_change + _noise(usual, batch.rows)
        rule = _rule(
            "nulls",
            settings,
            "column_proportion_of_non_null_values_to_be_between",
            column=column,
            min_value=round(max(0.0, 1 - usual - change), 6),
            max_value=round(min(1.0, 1 - usual + change), 6),
        )
        yield Expected("nulls", column, rule, f"{_percent(1 - usual)} are usual")


def _noise(share: float, rows: int) -> float:
    """Three standard errors of a share."""
    return float(3 * np.sqrt(share * (1 - share) / rows))


def _ranges(earlier: Sequence[Statistics], settings: ValidationSettings) -> Iterator[Expected]:
    for column, (low, high) in usual_ranges(earlier).items():
        mostly = _mostly(column, earlier, settings)
        rule = _rule(
            "range",
            settings,
            "column_values_to_be_between",
            column=column,
            min_value=low,
            max_value=high,
            mostly=mostly,
        )
        if mostly > 0:
            yield Expected("range", column, rule, f"{low:g} to {high:g} are usual")
    for column, known in usual_values(earlier).items():
        mostly = _mostly(column, earlier, settings)
        rule = _rule("range", settings, "column_values_to_be_in_set", column=column, value_set=known, mostly=mostly)
        if mostly > 0:
            yield Expected("range", column, rule, f"{', '.join(known[:5])}{' …' * (len(known) > 5)} are usual")


def _mostly(column: str, earlier: Sequence[Statistics], settings: ValidationSettings) -> float:
    """The smallest share of values that must be in their range: less for a column that often leaves it, 0 if unknown."""
    left = [each.outside[column] for each in earlier if column in each.outside]
    return max(0.0, 1 - max(settings.max_outside, 2 * median(left))) if left else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def own_findings(
    batch: Statistics, earlier: Sequence[Statistics], broken: tuple[int, int], settings: ValidationSettings
) -> Iterator[Finding]:
    """The failed checks of those that Great Expectations does not offer. `batch` has the statistics of the rows that
    break no rule, and `broken` is the number of the others and of all rows."""
    bad, rows = broken
    if rows >= settings.min_rows and bad > settings.max_quarantined * rows:
        most = _percent(settings.max_quarantined)
        detail = f"{bad:,} of its {rows:,} rows are unreadable or break a rule; at most {most} may"
        yield finding("quarantined", detail, settings)
    is_compared = len(earlier) >= FEWEST_EARLIER and batch.rows >= settings.min_rows
    if is_compared and batch.times:
        usual, days = median(_days(each) for each in earlier), batch.times.days
        if not settings.min_volume <= days / usual <= settings.max_volume:
            yield finding("days", f"its rows span {days:.3g} days, where {usual:.3g} are usual", settings)
        hours = shift_of_hours(batch.times, [each.times for each in earlier if each.times])
        if abs(hours) >= LEAST_SHIFT:
            side = "late" if hours > 0 else "early"
            detail = (
                f"its times look {abs(hours):g} h too {side} by their hours of the day; are they in another time zone?"
            )
            yield finding("shifted", detail, settings, is_sure=abs(hours) >= SURE_SHIFT)


def broken_rule(rule: str, observed: Any, settings: ValidationSettings) -> Finding:
    """The finding that a batch breaks a rule of the use case that is not about single rows."""
    return finding("rule", f"breaks rule {rule!r} as a whole (observed {observed})", settings)


def finding(check: Check, detail: str, settings: ValidationSettings, *, is_sure: bool = True) -> Finding:
    """A failed check, which refuses the batch if it is sure and the settings say so."""
    return Finding(check=check, refuses=is_sure and check in settings.refuse, detail=detail)


def shift_of_hours(times: Times, earlier: Sequence[Times]) -> float:
    """By how many hours times are later than the hours of earlier batches suggest; 0 if there is not enough evidence.

    Only batches mostly of the same weekday are compared. What follows local time is earlier or later in UTC when the clocks
    change, and the reverse. So the hours that count are those of the clock on which the earlier batches agree more. As long as
    they do not show which one it is, a shift must be seen on both.
    """
    same = [each for each in earlier if each.weekday == times.weekday]
    if len(same) < FEWEST_EARLIER:
        return 0.0
    before = {clock: [_hours(each, clock) for each in same] for clock in ("local", "utc")}
    usual = {clock: _a_day(hours) for clock, hours in before.items()}
    spread = {clock: _entropy(rows) for clock, rows in usual.items()}
    followed = [clock for clock in usual if spread[clock] <= min(spread.values()) + _SAME_SPREAD]
    shifts = (_shift(_hours(times, clock), before[clock], usual[clock]) for clock in followed)
    return min(shifts, key=abs)


def _a_day(earlier: Sequence[Hours]) -> Rows:
    """How many rows a day usually has in each half-hour.

    What differs between the half-hours by chance alone would look like hours that a shift explains. So the numbers are drawn
    towards their mean by that part of their variance which is the variance of counts (James and Stein).
    """
    counts = np.sum([each.counts for each in earlier], axis=0)
    rows: Rows = counts / sum(max(1.0, each.spanned / HALF_HOURS) for each in earlier)
    by_chance = min(1.0, counts.mean() / max(counts.var(ddof=1), 1e-9))
    usual: Rows = rows.mean() + (1 - by_chance) * (rows - rows.mean())
    return usual


def _hours(times: Times, clock: str) -> Hours:
    return times.local if clock == "local" else times.utc


def _entropy(rows: Rows) -> float:
    shares = rows[rows > 0] / rows.sum()
    return float(-(shares * np.log(shares)).sum())


def _dispersion(counts: Rows, shares: Rows) -> float:
    """How much more rows differ from their shares than independent ones would: a chi-square statistic per degree of freedom.

    Rows that come several at a time are worth fewer. `counts` has a line for each batch, `shares` are those of each half-hour.
    """
    counts = counts[counts.sum(axis=1) > 0]
    likely = np.outer(counts.sum(axis=1), shares)
    freedom = max(1, len(counts) - 1) * max(1, int(np.count_nonzero(shares)) - 1)
    return float((np.square(counts - likely)[:, shares > 0] / likely[:, shares > 0]).sum()) / freedom


def _without_bursts(counts: Rows, largest: float) -> Rows:
    """Rows for each half-hour, but in none of them more than the largest usual share of all rows, and three standard errors.

    The rows of a single event, such as a match, look like the busiest hour at another time.
    """
    most = counts.sum() * largest
    kept: Rows = np.minimum(counts, most + 3 * np.sqrt(most))
    return kept


def _shift(hours: Hours, earlier: Sequence[Hours], usual: Rows) -> float:
    """The shift in hours, from -11.5 to 12, under which the hours are most likely; 0 without enough evidence for it."""
    delivered = np.array(hours.counts, np.float64)
    likely = np.array([_likely(np.roll(usual, steps), hours) for steps in range(HALF_HOURS)])
    counts = _without_bursts(delivered, float(np.exp(likely.max())))
    scores = likely @ counts
    best = int(scores.argmax())
    before = np.array([each.counts for each in earlier], np.float64)
    dispersion = max(
        1.0,
        _dispersion(before, before.sum(axis=0) / before.sum()),
        _dispersion(delivered[np.newaxis], np.exp(likely[best])),
    )
    if scores[best] - scores[0] < max(_EVIDENCE * dispersion, _EVIDENCE_OF_A_ROW * counts.sum()):
        return 0.0
    return (best if best <= HALF_HOURS // 2 else best - HALF_HOURS) / 2


def _likely(usual: Rows, hours: Hours) -> Rows:
    """The log likelihood of a row in each half-hour, where a day usually has so many rows in each.

    A batch that ends within a day covers its later hours less often. But if it has far more rows than are usual in what it
    covers, that is not why the other hours have none.
    """
    covered = usual * hours.covered
    rows = covered if covered.sum() >= _LEAST_USUAL * max(1, sum(hours.counts)) else usual
    likely: Rows = np.log((1 - _UNRELATED) * rows / rows.sum() + _UNRELATED / HALF_HOURS)
    return likely


def repeated(keys_of: Mapping[str, int], rows: int) -> str | None:
    """The earlier batch that has the keys of most of the rows; None if no single one has. `keys_of` counts them by batch."""
    most = max(keys_of, key=lambda batch: (keys_of[batch], batch), default=None)
    return most if most is not None and keys_of[most] > MOST_REPEATED * rows else None
