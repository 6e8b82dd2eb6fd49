"""What deploy/ says of the service is so: its manifests, its variables, and the metrics that rules and dashboard name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from bentoml._internal.container import generate
from jsonschema import Draft202012Validator, ValidationError

from cli.commands.serve import serve
from inference_pipeline.online.access.needs import PROBES, need_of
from ratchet.core.environment import ENVIRONMENT_PREFIX, Environment
from tests.support.checkout import ROOT
from tests.support.deployed import DEPLOY, dashboard, exported_metrics, expressions

KUBERNETES = DEPLOY / "kubernetes"
VERSIONS = ("1.30", kubernetes_validate.latest_version())
OURS = "serving.knative.dev/v1", "keda.sh/v1alpha1", "kustomize.config.k8s.io/v1beta1"
"""Kinds that Kubernetes itself does not have."""
PORT = next(option.default for option in serve.params if option.name == "port")
STATE = f"{generate.BENTO_PATH}/src/state"


def fields(required: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with these fields and no others."""
    return {
        "type": "object",
        "required": required.split(),
        "additionalProperties": False,
        "properties": properties,
    }


TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
HEAD = {"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object", "required": ["name"]}}
SCALED_OBJECT = fields(
    "apiVersion kind metadata spec",
    **HEAD,
    spec=fields(
        "scaleTargetRef triggers",
        scaleTargetRef=fields("name", name=TEXT),
        minReplicaCount=NUMBER,
        maxReplicaCount=NUMBER,
        pollingInterval=NUMBER,
        fallback=fields("failureThreshold replicas", failureThreshold=NUMBER, replicas=NUMBER),
        advanced=fields("", horizontalPodAutoscalerConfig=fields("", behavior={"type": "object"})),
        triggers={
            "type": "array",
            "items": fields(
                "type metadata",
                type={"const": "prometheus"},
                metadata=fields(
                    "serverAddress query threshold",
                    serverAddress=TEXT,
                    query=TEXT,
                    threshold=TEXT,
                    ignoreNullValues={"enum": ["true", "false"]},
                ),
            ),
        },
    ),
)
"""The fields of KEDA's ScaledObject that are used. No package has its schema for the versions of Python that we support."""
KNATIVE = fields(
    "apiVersion kind metadata spec",
    **HEAD,
    spec=fields(
        "template",
        template=fields(
            "spec",
            metadata=fields("", annotations=TEXTS, labels=TEXTS),
            spec={"type": "object", "required": ["containers", "timeoutSeconds"]},  # a pod's, which is checked as such
        ),
    ),
)
"""Likewise of Knative's Service."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def manifest(name: str) -> Any:
    return read(KUBERNETES / f"{name}.yaml")


def pods() -> Iterator[Any]:
    """The pods of the Deployment and of the Knative service."""
    yield manifest("deployment")["spec"]["template"]["spec"]
    yield manifest("knative")["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_have_fields_of_kubernetes_and_no_others(version: str) -> None:
    """By the schemas of its API, where they are strict."""
    found = [each for each in map(read, KUBERNETES.glob("*.yaml")) if each["apiVersion"] not in OURS]
    assert len(found) >= 6
    for each in found:
        kubernetes_validate.validate(each, version, strict=True)
    wrong = manifest("deployment")
    wrong["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_scaling_is_keda_s() -> None:
    scaled = manifest("scaled-object")
    Draft202012Validator(SCALED_OBJECT).validate(scaled)
    assert scaled["spec"]["scaleTargetRef"]["name"] == manifest("deployment")["metadata"]["name"]
    assert scaled["spec"]["minReplicaCount"] > manifest("disruption-budget")["spec"]["maxUnavailable"]


def test_the_alternative_is_knative_s() -> None:
    service = manifest("knative")
    Draft202012Validator(KNATIVE).validate(service)
    spec = dict(service["spec"]["template"]["spec"])
    del spec["timeoutSeconds"]
    spec["containers"] = [{"name": "user-container", **each} for each in spec["containers"]]
    for each in spec["containers"]:  # Knative fills in the port
        for probe in ("livenessProbe", "readinessProbe"):
            each[probe] = {**each[probe], "httpGet": {"port": PORT, **each[probe]["httpGet"]}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


def test_all_manifests_are_applied() -> None:
    """But for the alternative."""
    listed = set(manifest("kustomization")["resources"])
    assert listed == {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", "knative.yaml"}


def test_a_pod_is_what_the_image_is() -> None:
    """Its user, port and state, without rights that it does not need; and Kubernetes adds no variables."""
    for pod in pods():
        (container,) = pod["containers"]
        mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        user = [pod["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")]
        assert [generate.BENTO_UID_GID] * 3 == user
        assert pod["enableServiceLinks"] is False
        assert PORT in [each["containerPort"] for each in container["ports"]]
        assert mounts["state"] == STATE
        assert set(mounts) == {each["name"] for each in pod["volumes"]}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        settings = manifest("settings")["data"]
        assert settings["RATCHET_API_KEYS"] == f"{mounts['keys']}/api_keys.json"
        assert settings["BENTOML_HOME"].startswith(f"{mounts['tmp']}/")


def test_probes_are_answered_without_a_key() -> None:
    for pod in pods():
        container = pod["containers"][0]
        probes = {name: each["httpGet"]["path"] for name, each in container.items() if name.endswith("Probe")}
        assert {*probes.values()} == {"/livez", "/readyz"} <= {*PROBES}
        assert all(need_of("GET", path).is_open for path in probes.values())
        assert probes["livenessProbe"] == "/livez"
        assert probes["readinessProbe"] == "/readyz"


def test_variables_are_settings_of_the_service() -> None:
    """Any other one that begins so would keep it from starting."""
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Environment.model_fields}
    texts = [path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.is_file()]
    named = {name for text in texts for name in re.findall(r"\bRATCHET_[A-Z_]*[A-Z]\b", text)}
    assert {"RATCHET_REDIS", "RATCHET_API_KEY_SECRET"} <= named
    assert named - known == {"RATCHET_IMAGE"}, "only compose reads this one"
    variables = {**manifest("settings")["data"], **read(DEPLOY / "compose.yaml")["services"]["ratchet"]["environment"]}
    Environment.from_environment({name: value for name, value in variables.items() if name != "RATCHET_IMAGE"})
    assert "RATCHET_IMAGE" not in variables


def test_compose_names_what_it_declares() -> None:
    """Versions are pinned, each service has a health check, and files that are mounted are there."""
    compose = read(DEPLOY / "compose.yaml")
    services = compose["services"]
    assert {"ratchet", "redis", "prometheus", "grafana"} == set(services)
    for name, service in services.items():
        pinned = re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+[\w.-]*", service["image"])
        assert pinned or service["image"].startswith("${RATCHET_IMAGE:?"), name
        assert service["healthcheck"]["test"][0] == "CMD"
        assert {*service.get("networks", [])} <= set(compose["networks"])
        assert {*service.get("secrets", [])} <= set(compose["secrets"])
        assert {*service.get("depends_on", {})} <= set(services)
        for source in (each.partition(":")[0] for each in service["volumes"]):
            is_there = (DEPLOY / source).exists() or source.startswith("./secrets/")
            assert is_there if source.startswith("./") else source in compose["volumes"], source
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "others come through a proxy"


def test_compose_runs_the_service_as_the_cluster_does() -> None:
    service = read(DEPLOY / "compose.yaml")["services"]["ratchet"]
    assert f"state:{STATE}" in service["volumes"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert f"127.0.0.1:{PORT}:{PORT}" in service["ports"]
    (job,) = read(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"]
    assert [f"ratchet:{PORT}"] == job["static_configs"][0]["targets"]
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_metrics_and_their_labels_are_exported(tmp_path: Path) -> None:
    """Those of each expression, in rules, their tests, dashboard and scaling. A renamed metric fails here."""
    exported = {**exported_metrics(tmp_path), "up": set()}
    found = 0
    for where, expression in expressions():
        for name, selector in re.findall(
            r"\b(ratchet_\w+|up)\b(?:\{([^}]*)\})?", re.sub(r'job="ratchet"', "", expression)
        ):
            assert name in exported, f"{where}: {name}"
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert labels <= exported[name] | {"job", "instance"}, f"{where}: {expression}"
            found += 1
    assert found > 80
    dashed = " ".join(expression for where, expression in expressions() if where == "ratchet.json")
    shown = {name.removesuffix("_bucket") for name in exported if not name.endswith(("_sum", "_count", "_created"))}
    assert [] == [name for name in sorted(shown) if name not in dashed], "the dashboard shows every metric"


def test_each_alert_says_what_to_do_and_is_tested() -> None:
    (group,) = read(DEPLOY / "prometheus" / "ratchet.rules.yaml")["groups"]
    tests = (DEPLOY / "prometheus" / "ratchet.rules.test.yaml").read_text(encoding="utf-8")
    for rule in group["rules"]:
        assert {"summary", "description"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.search(rf"alertname(=\"|: ){rule['alert']}\b", tests), rule["alert"]


def test_the_dashboard_can_be_loaded() -> None:
    """Its ids are unique, panels do not overlap, and each asks the chosen Prometheus."""
    panels = dashboard()["panels"]
    assert len(panels) == len({panel["id"] for panel in panels}) > 10
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len({*cells})
    assert max(x for x, _ in cells) < 24
    assert all(panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for panel in panels)
    assert [["A", "B", "C"][: len(panel["targets"])] for panel in panels] == [
        [target["refId"] for target in panel["targets"]] for panel in panels
    ]
    variables = {each["name"] for each in dashboard()["templating"]["list"]}
    used = {name for name in re.findall(r"\$\{?(\w+)", json.dumps(panels)) if not name.startswith("__")}
    assert used == variables == {"datasource", "model"}
