"""`ratchet bento`: make a Bento of what serves."""

from __future__ import annotations

import click

from cli.context import current_run


@click.command()
@click.option("--all", "is_of_all", is_flag=True, help="Of every use case of params.yaml, not only the selected one.")
@click.option("--base-image", help="Of the container image. By default the Python under which this runs, on Debian.")
def bento(is_of_all: bool, base_image: str | None) -> None:
    """Make a Bento of what serves.

    It holds the champion, the evidence for it and the code, and answers where no registry is. The features come from the
    online store, which RATCHET_ONLINE_STORE and RATCHET_REDIS name; without one, the baseline answers."""
    from inference_pipeline.online.bento import BASE_IMAGE, build
    from ratchet.project.run import Run

    tag, releases = build(Run.load_all() if is_of_all else [current_run()], base_image or BASE_IMAGE)
    for release in releases:
        click.echo(f"{tag} holds {release.model_name} version {release.champion.version}")
    click.echo(f"Serve it by `bentoml serve {tag}`, or make an image by `bentoml containerize {tag}`")
