"""The feature pipeline: batches become features in the offline and the online store."""

from __future__ import annotations

from prefect import flow

from flows.run_pipeline import run_name, run_pipeline


@flow(name="feature", flow_run_name=run_name, persist_result=False)
def feature_pipeline(
    use_case: str | None = None, as_of: str | None = None, since: str | None = None, step: str = "1d"
) -> None:
    """Read what the source delivered, accept or quarantine it, and bring both stores up to date."""
    run_pipeline("feature", use_case, as_of, since, step)


if __name__ == "__main__":
    feature_pipeline()
