"""The promotion history: where a rollback leads."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ratchet.model_registry.promotion_history import Entry, previous, trail

VERSIONS = st.lists(st.integers(1, 4), min_size=1, max_size=12)


def history(*versions: int) -> list[Entry]:
    """Promotions of the versions in turn; a version that serves already is not promoted."""
    entries: list[Entry] = []
    for version in versions:
        if not entries or version != entries[-1].version:
            entries.append(entry(entries, version))
    return entries


def entry(entries: list[Entry], version: int) -> Entry:
    return Entry(
        model_name="noshow-clinic",
        number=len(entries) + 1,
        kind="promotion",
        version=version,
        previous=previous(entries, version),
        digest=str(version) * 64,
        by="someone",
        reason="because",
        waiver=None,
        at=datetime(2024, 8, 1, tzinfo=UTC),
    )


def test_nothing_comes_before_the_first_version() -> None:
    """The first promotion has nowhere to roll back to."""
    assert [entry.previous for entry in history(1)] == [None]


def test_each_promotion_can_be_rolled_back_in_turn() -> None:
    """Three promotions and two rollbacks lead back to the first version, and no further."""
    assert [entry.previous for entry in history(1, 2, 3, 2, 1)] == [None, 1, 2, 1, None]


def test_a_rollback_forgets_the_version_that_failed() -> None:
    """After a rollback the next promotion leads back to the version returned to, not to the one that was left."""
    assert trail(history(1, 2, 1, 3)) == [1, 3]


def test_an_old_version_asked_for_by_name_is_a_step_on() -> None:
    """Who promotes an old version can roll back to the newer one that served until then."""
    assert trail(history(1, 2, 3, 1)) == [1, 2, 3, 1]


@given(VERSIONS)
def test_the_trail_ends_in_what_serves(versions: list[int]) -> None:
    """Whatever was promoted, the last of the trail is the last promotion, and the one before it its `previous`."""
    entries = history(*versions)
    assert [None, *trail(entries)][-2:] == [entries[-1].previous, entries[-1].version]


@given(VERSIONS)
def test_rollbacks_always_reach_the_first_version(versions: list[int]) -> None:
    """Rolling back as often as possible ends, and ends at the version that served first."""
    entries = history(*versions)
    for _ in trail(entries)[1:]:
        target = entries[-1].previous
        assert target is not None
        entries.append(entry(entries, target))
    assert (entries[-1].version, entries[-1].previous) == (versions[0], None)
