"""deploy/ is what Prometheus, Docker and Kubernetes read: each file is checked by its own tool."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deployed import DEPLOY, expressions

PROMETHEUS = DEPLOY / "prometheus"
KEY_FILE = "/run/secrets/metrics_key"
Tool = Callable[..., str]


@pytest.fixture
def promtool() -> Tool:
    """Runs promtool in a folder, which says what it found."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: it is in Debian's package prometheus")
    return lambda *options, folder: said_by(program, *options, folder=folder)


def said_by(*command: str, folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The folder prometheus/, with the key's file where its configuration looks for it."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    key = tmp_path / "metrics_key"
    key.write_text("ratchet_0_0", encoding="utf-8")
    for path in (tmp_path / "prometheus").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert KEY_FILE in text
        path.write_text(text.replace(KEY_FILE, str(key)), encoding="utf-8")
    return tmp_path / "prometheus"


def test_rules_are_rules(promtool: Tool) -> None:
    assert "13 rules found" in promtool("check", "rules", "ratchet.rules.yaml", folder=PROMETHEUS)


def test_alerts_fire_when_they_should_and_only_then(promtool: Tool) -> None:
    assert "SUCCESS" in promtool("test", "rules", "ratchet.rules.test.yaml", folder=PROMETHEUS)


@pytest.mark.parametrize(
    ("rule", "edited"),
    [
        ("> 0.01", "> 0.5"),
        ("> 0.05", "> 0.001"),
        ("> 0.25", "> 25"),
        ("> 0.2", "> 0.001"),
        ("0.8 *", "0.01 *"),
        ('status!="200"', 'status="200"'),
        ("ratchet_unlogged_total", "ratchet_unlogged"),
        ("ratchet_challenger_failures_total", "ratchet_failures_total"),
        ("RatchetAbsent", "RatchetGone"),
        ("== 0", "== 2"),
        ("== 1", ">= 0"),
        ("Look at", "See"),
    ],
)
def test_a_wrong_rule_is_found(promtool: Tool, copied: Path, rule: str, edited: str) -> None:
    rules = copied / "ratchet.rules.yaml"
    text = rules.read_text(encoding="utf-8")
    assert rule in text
    rules.write_text(text.replace(rule, edited), encoding="utf-8")
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", "ratchet.rules.test.yaml", folder=copied)


@pytest.mark.parametrize("name", ["prometheus.yml", "kubernetes.yml"])
def test_the_configuration_is_prometheus(promtool: Tool, copied: Path, name: str) -> None:
    """Debian's promtool knows no Kubernetes, so the places where it finds pods are checked by hand."""
    config: Any = yaml.safe_load((copied / name).read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "ratchet"
    found = job.pop("kubernetes_sd_configs", None)
    assert found in (None, [{"role": "pod", "namespaces": {"names": ["ratchet"]}}])
    (copied / name).write_text(yaml.safe_dump(config), encoding="utf-8")
    assert "SUCCESS" in promtool("check", "config", name, folder=copied)


def test_expressions_of_dashboard_and_scaling_are_promql(promtool: Tool, tmp_path: Path) -> None:
    """As recording rules, which may hold any expression."""
    asked = [each for each in expressions() if each[0] in ("ratchet.json", "scaled-object.yaml")]
    assert len(asked) > 20
    rules = [{"record": f"asked:{number}", "expr": expression} for number, (_, expression) in enumerate(asked)]
    groups = {"groups": [{"name": "asked", "rules": rules}]}
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    assert f"{len(asked)} rules found" in promtool("check", "rules", "asked.yaml", folder=tmp_path)


def test_compose_can_read_its_file() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed; tests/unit/test_deploy.py checks the structure")
    said_by(docker, "compose", "--file", "compose.yaml", "config", "--quiet", folder=DEPLOY, RATCHET_IMAGE="ratchet:1")


def test_kustomize_puts_the_image_and_namespace_into_all_manifests() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed; tests/unit/test_deploy.py checks each manifest")
    objects = [*yaml.safe_load_all(said_by(kubectl, "kustomize", "kubernetes", folder=DEPLOY))]
    assert len(objects) == 7
    assert {each["metadata"]["namespace"] for each in objects} == {"ratchet"}
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/ratchet:change-me"
