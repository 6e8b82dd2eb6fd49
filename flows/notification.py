"""Notify people when a flow run fails. An automation of the Prefect server does so, even if the run's process was killed."""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation, EventTrigger, Posture, SendNotification
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.utilities.urls import url_for

from flows.automations import OURS, UNFINISHED, events, keep_one

AUTOMATION = "ratchet: tell of failed runs"
BLOCK = "ratchet-failed-runs"
SUBJECT = "{{ flow.name }} of {{ flow_run.parameters.use_case or 'the selected use case' }}: {{ flow_run.state.name }}"
BODY = "{{ flow_run.name }}: {{ flow_run.state.message or 'no message' }}"


def tell_of_failures(url: str) -> None:
    """Let the server POST {"text": …} to a webhook when a run of one of our flows fails. Without a URL, it notifies nobody.

    The server tries each delivery four times. If all fail, it logs that; the run itself is not affected.
    """
    keep_one(AUTOMATION, _automation(url) if url else None)


def _automation(url: str) -> Automation:
    link = url_for(
        "flow-run", obj_id="{{ flow_run.id }}"
    )  # computed here, because a server does not know its own address
    block = CustomWebhookNotificationBlock(
        name=BLOCK,
        url="{{address}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        secrets={"address": url},
    )
    return Automation(
        name=AUTOMATION,
        trigger=EventTrigger(
            expect=events(*UNFINISHED),
            match_related=OURS,
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            SendNotification(
                block_document_id=block.save(BLOCK, overwrite=True), subject=SUBJECT, body=f"{BODY}\n{link}"
            )
        ],
    )
