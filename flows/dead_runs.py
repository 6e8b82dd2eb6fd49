"""End the runs whose process was killed, so that the next run of the deployment begins and people are notified.

A process that is killed cannot tell the server, so its run would be running for ever. The server sees that its heartbeats stop.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation, EventTrigger, Posture
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.settings import get_current_settings

from flows.automations import ENDED, OURS, events, keep_one
from ratchet.core.errors import SettingsError

SILENT, UNBEGUN = "ratchet: end runs without heartbeat", "ratchet: end runs that never began"
_MISSED = 3
"""So many heartbeats in a row mean that a run is dead. A busy machine delays one."""
TO_BEGIN = timedelta(minutes=4)
"""A process has this long to begin. After five minutes the server gives its place to another run by itself."""


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
    """Let the server mark runs of our flows as crashed that have sent no heartbeat for so long (default: for three of them), or
    that have not begun so long after they were handed to a process. Both are 10 seconds or more."""
    silence = silence or timedelta(seconds=_MISSED * heartbeat_seconds())
    keep_one(SILENT, _automation(SILENT, {"heartbeat"}, {"heartbeat", *ENDED}, silence, "No heartbeat for"))
    keep_one(UNBEGUN, _automation(UNBEGUN, {"Pending"}, {"Running", "Cancelling", *ENDED}, to_begin, "Not begun after"))


def _automation(name: str, after: set[str], expect: set[str], within: timedelta, message: str) -> Automation:
    """Marks a run as crashed if, after one event of it, none of the expected ones comes in time."""
    return Automation(
        name=name,
        trigger=EventTrigger(
            after=events(*after),
            expect=events(*expect),
            match_related=OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"{message} {within.total_seconds():g} seconds: its process was killed, or cannot reach the server",
            )
        ],
    )
