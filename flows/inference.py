"""The inference pipeline, in batch: the newest requests become logged predictions and a drift report."""

from __future__ import annotations

from prefect import flow

from flows.steps import reconcile, recorded, run_name, step
from ratchet.project.project import Project
from ratchet.project.step_reports import Report


@step
def predict(project: Project) -> Report:
    from inference_pipeline.batch.predict import predict

    return predict(project)


@step
def monitor(project: Project) -> Report:
    from inference_pipeline.monitor.drift import monitor

    return monitor(project)


@flow(name="inference", flow_run_name=run_name, persist_result=False)
def inference_pipeline(use_case: str | None = None) -> None:
    """Let another version serve if one is requested and its evidence holds, then score and watch."""
    with recorded("inference", use_case, ["reconcile", "predict", "monitor"]) as name:
        reconcile(name)
        predict(name)
        monitor(name)


if __name__ == "__main__":
    inference_pipeline()
