"""Which key each path needs, in one place. A path that is not named here needs a key; to change something, one of `admin`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from inference_pipeline.online.access.roles import ROLES, Role
from inference_pipeline.online.instances import VECTORS

OPEN = frozenset(
    {
        "/",
        "/livez",
        "/readyz",
        "/healthz",
        "/v2/health/live",
        "/v2/health/ready",
        "/docs",
        "/docs/start.js",
        "/openapi.json",
    }
)
_PAGES = "/static_content/"
"""Probes come without a key, and the pages that explain the service say nothing that its documents do not."""
OPEN_LOCALLY = frozenset({"/metrics"})
"""Names of models and counts of their requests: for a collector on the same machine, or with a key of any role."""
PROBES = {"/livez": "/v2/health/live", "/healthz": "/v2/health/live", "/readyz": "/v2/health/ready"}
"""Probes of Kubernetes → the path that answers them."""
READINESS = frozenset({"/readyz", "/v2/health/ready"})
_PROBED = frozenset({*PROBES, *PROBES.values()})
_ACTIONS = re.compile(
    r"/v1/models/(?P<v1>[^/]+):(?P<action>predict|explain|feedback)"
    r"|/v2/models/(?P<v2>[^/]+)(?:/versions/[^/]+)?/infer"
)
_ROLES: dict[str | None, Role] = {"predict": "predict", "explain": "explain", "feedback": "feedback", None: "predict"}
_MODEL = re.compile(r"/v[12]/models/([^/]+)(?:/.*)?")
_LISTS = frozenset({"/v2/repository/index"})
"""Paths that change nothing, although they are asked with POST."""


@dataclass(frozen=True)
class Need:
    """One of the roles, for the model unless that is empty. An open path needs no key."""

    roles: frozenset[Role] = frozenset(ROLES)
    model: str = ""
    is_open: bool = False
    is_open_locally: bool = False
    asked: str = "other"
    """What is asked, in one of a few words."""


def asking(role: Role, name: str) -> Need:
    """What is needed to ask the model with this name."""
    return Need(frozenset({role}), model_of(name), asked=role)


def model_of(name: str) -> str:
    """The model with this name, which has another one under which it takes ready vectors."""
    return name.removesuffix(VECTORS)


@lru_cache(maxsize=1024)
def need_of(method: str, path: str) -> Need:
    """What a request for a path needs."""
    if path in OPEN or path.startswith(_PAGES):
        return Need(is_open=True, asked="probe" if path in _PROBED else "page")
    if path in OPEN_LOCALLY:
        return Need(is_open_locally=True, asked="metrics")
    if action := _ACTIONS.fullmatch(path):
        return asking(_ROLES[action["action"]], action["v1"] or action["v2"])
    found = _MODEL.fullmatch(path)
    model = model_of(found[1]) if found else ""
    asked = "model" if model or path in _LISTS else "other"
    reads = method in ("GET", "HEAD") or path in _LISTS
    return Need(model=model, asked=asked) if reads else Need(frozenset({"admin"}), model, asked=asked)
