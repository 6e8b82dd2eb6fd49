"""The batch inference pipeline: the newest requests become logged predictions and a drift report."""

from __future__ import annotations

from prefect import flow

from flows.run_pipeline import run_name, run_pipeline


@flow(name="inference", flow_run_name=run_name, persist_result=False)
def inference_pipeline(
    use_case: str | None = None, as_of: str | None = None, since: str | None = None, step: str = "1d"
) -> None:
    """Let another version serve if one is requested and its evidence holds, then score and report drift."""
    run_pipeline("inference", use_case, as_of, since, step)


if __name__ == "__main__":
    inference_pipeline()
