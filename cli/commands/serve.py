"""`ratchet serve`: check that the settings can be read, then start the online service."""

from __future__ import annotations

import os
import sys

import click

from cli.context import current_run

SERVICE = "inference_pipeline.online.service:Inference"


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="The port of the service.")
def serve(port: int) -> None:
    """Start the online service on this machine.

    It answers HTTP requests for every use case of params.yaml with the champion of that use case."""
    from ratchet.project.run import Run
    from ratchet.sources.batches import Source

    selected = current_run()
    for run in Run.load_all():
        Source.open(run)  # an error is one line here; in BentoML's worker it would be a traceback
    os.environ["BENTOML_HOME"] = str(selected.paths.shared_state / "bentoml")
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", "127.0.0.1", "--port", str(port)]
    os.execv(command[0], command)  # noqa: S606 - a list, never a shell; a signal to this process must reach the service
