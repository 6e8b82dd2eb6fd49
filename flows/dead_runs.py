"""End the runs whose process was killed, so that the next run of the deployment begins and people are notified.

A process that is killed cannot tell the server, so its run would be running for ever. The server sees that its heartbeats stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect.automations import Automation, EventTrigger, Posture
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings
from pydantic import TypeAdapter

from flows.automations import ENDED, OURS, events, keep_one
from ratchet.core.errors import SettingsError

_MISSED = 3
"""So many heartbeats in a row mean that a run is dead. A busy machine delays one."""
TO_BEGIN = timedelta(minutes=4)
"""A process has this long to begin. After five minutes the server gives its place to another run by itself."""

_OUTAGE = timedelta(days=1)
"""So long a machine may be off."""


def heartbeat_seconds() -> int:
    """The seconds between two heartbeats of a run, from prefect.toml. Raises SettingsError if there are to be none."""
    seconds = get_current_settings().flows.heartbeat_frequency
    if seconds is None:
        raise SettingsError(
            "is empty, so a run that was killed would keep the next ones waiting",
            subject="PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
            remedy="Set it to 30 or more seconds, or leave it to prefect.toml",
        )
    return seconds


def end_dead_runs(silence: timedelta | None = None, to_begin: timedelta = TO_BEGIN) -> None:
    """Let the server end runs of our flows that have sent no heartbeat for so long (default: for three of them), not even a
    first one, that have not begun so long after they were handed to a process, or whose process does not answer when a person
    cancels it.

    All but the last are marked as crashed. Both times are 10 seconds or more.
    """
    silence = silence or timedelta(seconds=_MISSED * heartbeat_seconds())
    for automation in (
        _unless(("Running", "heartbeat"), {"heartbeat", "Cancelling", *ENDED}, silence, StateType.CRASHED),
        _unless(("Pending",), {"Running", "Cancelling", *ENDED}, to_begin, StateType.CRASHED),
        _unless(("Cancelling",), set(ENDED), silence, StateType.CANCELLED),
    ):
        keep_one(automation.name, automation)


def _unless(last: tuple[str, ...], expected: set[str], within: timedelta, state: StateType) -> Automation:
    """Sets the state of a run unless one of the expected events of it comes in time after one of the last ones."""
    seen = " or ".join(last)
    return Automation(
        name=f"ratchet: end dead runs, last seen at {seen}",
        trigger=EventTrigger(
            after=events(*last),
            expect=events(*expected),
            match_related=OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(
                state=state,
                message=f"No sign of life for {within.total_seconds():g} seconds after {seen}: its process was killed, "
                "or cannot reach the server",
            )
        ],
    )


def is_forgetful() -> bool:
    """Whether the server would no longer end, after a restart, runs that were killed together with it."""
    with get_client(sync_client=True) as client:
        try:
            settings = client.request("GET", "/admin/settings").json()
        except PrefectHTTPStatusError:  # not a server that a person started
            return False
    return forgets(settings)


def forgets(settings: Mapping[str, Any]) -> bool:
    """Whether a server with these settings forgets in a restart for which runs it waits, or which of them hold a place."""
    server = settings["server"]
    kept = TypeAdapter(timedelta).validate_python(server["events"]["expired_bucket_buffer"])
    return kept < _OUTAGE or str(server["concurrency"]["lease_storage"]).endswith(".memory")
