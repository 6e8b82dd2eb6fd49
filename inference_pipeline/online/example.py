"""A request to try the service with."""

from __future__ import annotations

from typing import Any

from ratchet import prediction_log
from ratchet.errors import StoreError
from ratchet.project import Project
from ratchet.tables import write_json


def example_request(project: Project) -> dict[str, Any]:
    """The latest scored request of the fresh period that leaves nothing out, as a V1 body; writes reports/request.json.

    Raises StoreError where none was scored.
    """
    requests = prediction_log.read(project, project.period("fresh")).column("request").drop_null().to_pylist()
    whole = [request for request in requests if None not in request.values()]
    if not whole:
        raise StoreError(
            "holds no request of the fresh period",
            subject=str(project.predictions),
            remedy="Run `ratchet stage predict`",
        )
    moment = whole[-1].pop("event_timestamp").isoformat()
    body = {"instances": [{**whole[-1], project.use_case.event_timestamp: moment}]}
    write_json(project.root / "reports" / "request.json", body)
    return body
