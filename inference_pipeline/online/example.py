"""A request to try the service with."""

from __future__ import annotations

from typing import Any

from ratchet import prediction_log
from ratchet.errors import StoreError
from ratchet.project import Project


def example_request(project: Project) -> dict[str, Any]:
    """The latest scored request of the fresh period, of those that leave nothing out if there are any, as a V1 body.

    It is asked as of the period's end, for which the online store was written: what a request before that needed has been
    replaced there. Raises StoreError where none was scored.
    """
    fresh = project.period("fresh")
    requests = prediction_log.read(project, fresh).column("request").to_pylist()
    if not requests:
        raise StoreError(
            "holds no request of the fresh period",
            subject=str(project.predictions),
            remedy="Run `ratchet stage predict`",
        )
    whole = [request for request in requests if None not in request.values()]
    latest = (whole or requests)[-1]
    fields = {name: latest[name] for name in project.use_case.request_fields()}
    return {"instances": [{**fields, project.use_case.event_timestamp: fresh.end.isoformat()}]}
