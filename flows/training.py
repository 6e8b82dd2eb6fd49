"""The training pipeline: features become a gated candidate in the model registry."""

from __future__ import annotations

from prefect import flow

from flows.run_pipeline import run_name, run_pipeline


@flow(name="training", flow_run_name=run_name, persist_result=False)
def training_pipeline(
    use_case: str | None = None, as_of: str | None = None, since: str | None = None, step: str = "1d"
) -> None:
    """Train a candidate, evaluate it, register it, and let it serve if the gate accepts it."""
    run_pipeline("training", use_case, as_of, since, step)


if __name__ == "__main__":
    training_pipeline()
