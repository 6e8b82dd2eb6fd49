"""The files of deploy/, and the metrics that the service exports, by which they are checked."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.support.checkout import ROOT

DEPLOY = ROOT / "deploy"
RANGE = re.compile(r"\$__rate_interval")


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "ratchet.json").read_text(encoding="utf-8"))


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of PromQL, and every series of the rules' tests, each with the file that it is from."""
    for name in ("ratchet.rules.yaml", "ratchet.rules.test.yaml"):
        content = yaml.safe_load((DEPLOY / "prometheus" / name).read_text(encoding="utf-8"))
        yield from ((name, rule["expr"]) for group in content.get("groups", []) for rule in group["rules"])
        yield from ((name, each["series"]) for test in content.get("tests", []) for each in test["input_series"])
    for panel in dashboard()["panels"]:
        yield from (("ratchet.json", RANGE.sub("5m", target["expr"])) for target in panel["targets"])
    scaled = yaml.safe_load((DEPLOY / "kubernetes" / "scaled-object.yaml").read_text(encoding="utf-8"))
    yield from (("scaled-object.yaml", trigger["metadata"]["query"]) for trigger in scaled["spec"]["triggers"])


def exported_metrics(folder: Path) -> Mapping[str, set[str]]:
    """The names of all samples that the service exports, each with its labels: once each part of it showed something."""
    from prometheus_client import REGISTRY

    _show_everything(folder)
    names: defaultdict[str, set[str]] = defaultdict(set)
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if sample.name.startswith("ratchet_"):
                names[sample.name] |= {*sample.labels}
    return names


def _show_everything(folder: Path) -> None:
    from inference_pipeline.online import metrics
    from inference_pipeline.online.access.request_counts import RequestCounts
    from inference_pipeline.online.shadow import Shadow
    from ratchet.core.clock import FixedClock
    from ratchet.feature_store.freshness import freshness_of
    from ratchet.storage.files import write_json
    from ratchet.use_case.contract import Lookup
    from tests.support.noshow import use_case
    from tests.support.runs import noshow_project

    requests = RequestCounts()
    requests.add("predict", "200", 0.001)
    requests.show()
    newest = datetime(2024, 7, 20, 12, tzinfo=UTC)
    run = replace(noshow_project(folder), clock=FixedClock(newest + timedelta(hours=3)))
    view = use_case.view("patient_history")
    found = freshness_of(view, newest, np.array([], "datetime64[us]"))
    write_json(run.paths.materialized_file, {"report": {"freshness": {view.name: found.as_of(newest)}}})
    metrics.show_freshness(run)
    counts = metrics.Counts("noshow", [Lookup(view.name, {})])
    counts.took("champion", 0.001)
    counts.show()
    metrics.show_problems("noshow", ())
    metrics.show_rollout("noshow", 0, Shadow(folder / "log"))
    metrics.show_lost("noshow", 0)
