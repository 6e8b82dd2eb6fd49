"""`ratchet serve`: the online service, once it is known that its settings can be read."""

from __future__ import annotations

import os
import sys

import click

from cli.context import current_run

SERVICE = "inference_pipeline.online.service:Inference"


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Where it listens.")
def serve(port: int) -> None:
    """Answer HTTP requests on this machine, for every use case of params.yaml by the model that serves."""
    from ratchet.project.run import Run
    from ratchet.sources.batches import Source

    selected = current_run()
    for run in Run.load_all():
        Source.open(run)  # what is wrong is told here in a line; from BentoML's worker it would be a traceback
    os.environ["BENTOML_HOME"] = str(selected.paths.shared_state / "bentoml")
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", "127.0.0.1", "--port", str(port)]
    os.execv(command[0], command)  # noqa: S606 - a list, never a shell; a signal to this process must reach the service
