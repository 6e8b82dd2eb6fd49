"""Automations of the Prefect server that watch the runs of our flows. A server has one of each name."""

from __future__ import annotations

from prefect.automations import Automation, ResourceSpecification
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore

OURS = ResourceSpecification(
    {"prefect.resource.role": "flow", "prefect.resource.name": ["feature", "training", "inference"]}
)
"""Events of runs of our flows have such a related resource."""
UNFINISHED = ("Failed", "Crashed", "TimedOut", "Cancelled")
"""Names of states in which a run ends without having done its work."""
ENDED = ("Completed", *UNFINISHED)


def events(*states: str) -> set[str]:
    """The names of the events that a run has entered one of these states."""
    return {f"prefect.flow-run.{state}" for state in states}


def keep_one(name: str, wanted: Automation | None) -> None:
    """Let the server have this automation of the name and no other, or none.

    One that is the same already is left alone, because it knows for which runs it waits; a new one waits for later runs only.
    """
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(name)
        same = [one.id for one in found if wanted and _content(one) == _content(wanted)]
        if wanted and not same:
            wanted.create()
        for one in found:
            if one.id not in same[:1]:
                client.delete_automation(one.id)


def _content(automation: AutomationCore) -> tuple[object, ...]:
    return automation.enabled, automation.trigger, automation.actions
