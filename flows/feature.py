"""The feature pipeline: deliveries become features in the offline and the online store."""

from __future__ import annotations

from prefect import flow

from flows.steps import keep_version, step, undisturbed
from ratchet.project import Project
from ratchet.reports import Report


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


@flow(name="feature", persist_result=False)
def feature_pipeline(use_case: str | None = None) -> None:
    """Read what the source delivered, accept or quarantine it, and bring both stores up to date."""
    with undisturbed(use_case) as name:
        ingest(name)
        validate(name)
        featurize(name)
        materialize(name)
        keep_version("feature", name, ["ingest", "validate", "featurize", "materialize"])


if __name__ == "__main__":
    feature_pipeline()
