"""`ratchet restore`: the data of an earlier run."""

from __future__ import annotations

from pathlib import Path

import click

from cli.context import current_run


@click.command()
@click.argument("lock", type=click.Path(path_type=Path))
def restore(lock: Path) -> None:
    """Restore the data of a use case from LOCK.

    LOCK is the dvc.lock that a flow kept with its run."""
    from ratchet.project.restore import restore as put_back

    put_back(current_run(), lock)
