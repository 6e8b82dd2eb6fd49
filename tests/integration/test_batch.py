"""Batch scoring writes what the champion says of each request, once, and writes the same again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference_pipeline.batch import predict
from inference_pipeline.monitor.drift import monitor
from ratchet import prediction_log
from ratchet.errors import GateError, RegistryError
from ratchet.feature_store import historical
from ratchet.project import Project
from ratchet.tables import MANIFEST
from ratchet.trace import trace
from tests.support.killing import contents
from tests.support.projects import noshow_project
from tests.support.serving import offer_candidate, serving_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return serving_project(tmp_path_factory.mktemp("batch"))


def test_every_request_of_the_period_is_scored(project: Project) -> None:
    report = predict(project)
    print(report)
    print(monitor(project))
    log = prediction_log.read(project, project.period("fresh"))
    print(trace(project, log.column("prediction_id")[5].as_py()))
