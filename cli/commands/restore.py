"""`ratchet restore`: the data of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import current_run
from ratchet.core.errors import RatchetError

if TYPE_CHECKING:
    from ratchet.project.run import Run


@click.command()
@click.argument("lock", type=click.Path(path_type=Path))
def restore(lock: Path) -> None:
    """Restore the data of a use case from LOCK.

    LOCK is the dvc.lock that a flow kept with its run. Files of other systems (`upstream` in params.yaml) cannot be restored:
    it says whether they still hold the rows that were used then."""
    from ratchet.project.restore import restore as put_back

    run = current_run()
    put_back(run, lock)
    if run.settings.upstream:
        click.echo(f"Files of other systems are not restored: {_upstream(run)}")


def _upstream(run: Run) -> str:
    """Whether the files of upstream views hold what the restored features registered."""
    from ratchet.features.upstream_registration import Register

    try:
        Register.open(run).require()
    except RatchetError as error:
        return str(error)
    return f"those of {', '.join(sorted(run.settings.upstream))} still hold the rows that were used then."
