"""The feature pipeline: batches become features in the offline and the online store."""

from __future__ import annotations

from prefect import flow

from flows.steps import recorded, run_name, step
from ratchet.project.project import Project
from ratchet.project.step_reports import Report


@step
def ingest(project: Project) -> Report:
    from feature_pipeline.ingest import ingest

    return ingest(project)


@step
def validate(project: Project) -> Report:
    from feature_pipeline.validate import validate

    return validate(project)


@step
def featurize(project: Project) -> Report:
    from feature_pipeline.featurize import featurize

    return featurize(project)


@step
def materialize(project: Project) -> Report:
    from feature_pipeline.materialize import materialize

    return materialize(project)


@flow(name="feature", flow_run_name=run_name, persist_result=False)
def feature_pipeline(use_case: str | None = None) -> None:
    """Read what the source delivered, accept or quarantine it, and bring both stores up to date."""
    with recorded("feature", use_case, ["ingest", "validate", "featurize", "materialize"]) as name:
        ingest(name)
        validate(name)
        featurize(name)
        materialize(name)


if __name__ == "__main__":
    feature_pipeline()
