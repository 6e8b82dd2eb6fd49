"""The OpenAPI document of what is served now, and a page on which a person tries it. Both work offline."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from inference_pipeline.online import feedback
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.protocols.json_schemas import TEXT, Schema, a_list, an_object
from inference_pipeline.online.protocols.port import KEY_HEADER, Protocol
from inference_pipeline.online.served import Served

DOCUMENT, PAGE, SCRIPT = "/openapi.json", "/docs", "/docs/start.js"
_ERROR = an_object({"error": TEXT, "fields": a_list(an_object({"field": TEXT, "reason": TEXT}))}, "fields")
_KEY = {
    "name": KEY_HEADER,
    "in": "header",
    "description": "A key of your own for this request. Sending both again gives the same answer.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
}


def document(served: Served) -> dict[str, Any]:
    """Every path, with the name of each model that answers now, and with the fields that it takes."""
    paths: dict[str, Any] = {}
    for name in (slot.run.scope.namespace for slot in served.slots):
        paths[feedback.PATH.replace("{name}", name)] = {"post": {"tags": ["v1"], **_post(*feedback.schemas())}}
    for name, protocol in PROTOCOLS.items():
        for (method, path), what in _operations(served, protocol):
            paths.setdefault(path, {})[method.lower()] = {"tags": [name], **what}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ratchet", "version": version("ratchet-mlops"), "summary": "Online predictions"},
        "paths": paths,
    }


def _operations(served: Served, protocol: Protocol) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    answering = [name for name in served.names() if not served.problem(name)]
    for method, path in protocol.shows:
        for concrete in _concrete(served, path, answering):
            yield (method, concrete), {"responses": _responses({})}
    for path, explains in protocol.asks.items():
        for name in answering:
            _, instances = served.metadata(name)
            body, answer = protocol.schemas(instances.schema(), instances.kinds)
            (concrete,) = _concrete(served, path, [name])
            yield ("POST", concrete), {"parameters": [] if explains else [_KEY], **_post(body, answer)}


def _post(body: Schema, answer: Schema) -> dict[str, Any]:
    content = {"application/json": {"schema": body}}
    return {"requestBody": {"required": True, "content": content}, "responses": _responses(answer)}


def _concrete(served: Served, path: str, names: list[str]) -> list[str]:
    """A path for each model that it may be about."""
    if "{name}" not in path:
        return [path]
    versions = {name: str(served.metadata(name)[0].champion.version) for name in names}
    return [path.replace("{name}", name).replace("{version}", versions[name]) for name in names]


def _responses(answer: Schema) -> dict[str, Any]:
    return {
        "200": {"description": "The answer", "content": {"application/json": {"schema": answer}}},
        "default": {"description": "Why there is none", "content": {"application/json": {"schema": _ERROR}}},
    }


HTML = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Ratchet: online predictions</title>
<link rel="stylesheet" href="static_content/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script src="{SCRIPT.removeprefix("/")}"></script>
</body>
</html>
"""
"""Swagger's page, from the files that BentoML serves."""
START = f"""SwaggerUIBundle({{
  url: "{DOCUMENT.removeprefix("/")}",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  supportedSubmitMethods: ["get", "post"],
}});
"""
