"""The training pipeline: features become a gated candidate in the model registry."""

from __future__ import annotations

from prefect import flow

from flows.steps import reconcile, recorded, run_name, step
from ratchet.project.project import Project
from ratchet.project.step_reports import Report


@step
def train(project: Project) -> Report:
    from training_pipeline.train import train

    return train(project)


@step
def evaluate(project: Project) -> Report:
    from training_pipeline.evaluate import evaluate

    return evaluate(project)


@step
def register(project: Project) -> Report:
    from training_pipeline.register import register

    return register(project)


@flow(name="training", flow_run_name=run_name, persist_result=False)
def training_pipeline(use_case: str | None = None) -> None:
    """Fit a candidate, judge it, register it, and let it serve if its evidence holds."""
    with recorded("training", use_case, ["train", "evaluate", "register", "reconcile"]) as name:
        train(name)
        evaluate(name)
        register(name)
        reconcile(name)


if __name__ == "__main__":
    training_pipeline()
