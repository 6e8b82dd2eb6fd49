"""`ratchet score`: score a file of requests."""

from __future__ import annotations

from pathlib import Path

import click

from cli.context import current_run


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--vectors", is_flag=True, help="The rows are ready feature vectors: nothing is looked up.")
def score(source: Path, target: Path, vectors: bool) -> None:
    """Score each row of SOURCE, and write the predictions to TARGET, in the same order.

    Both are CSV or Parquet. The rows are requests as the online service takes them, and are answered and logged as it would."""
    from inference_pipeline.online.instances import REQUESTS, VECTORS
    from inference_pipeline.online.score_file import score_file
    from ratchet.core.progress import show_line

    with show_line("score"):
        scored = score_file(current_run(), source, target, VECTORS if vectors else REQUESTS)
    fallback = f", {scored.without_features:,} of them by the baseline" if scored.without_features else ""
    click.echo(f"{scored.rows:,} predictions of version {scored.version}{fallback}, in {target}")
