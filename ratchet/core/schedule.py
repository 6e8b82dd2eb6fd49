"""Schedules as cron expressions in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from ratchet.core.clock import TICK


def problem_of(cron: str) -> str | None:
    """Why a text is no cron expression; None if it is one."""
    try:
        CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return str(error)
    return None


def latest_tick(cron: str, at: datetime) -> datetime:
    """The last instant of a schedule that is not after `at`."""
    return next(CronSim(cron, at.astimezone(UTC) + TICK, reverse=True))
