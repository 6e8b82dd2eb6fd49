"""The `ratchet` command: parse, call, map errors. A command imports what it needs only when it runs."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import click

from cli.commands.accept import accept
from cli.commands.advance import advance
from cli.commands.backfill import backfill
from cli.commands.bento import bento
from cli.commands.check import check
from cli.commands.gc import gc
from cli.commands.init import init
from cli.commands.keys import keys
from cli.commands.promote import promote, release, rollback
from cli.commands.quarantine import quarantine
from cli.commands.restore import restore
from cli.commands.rollout import rollout
from cli.commands.score import score
from cli.commands.serve import serve
from cli.commands.stage import sensors, stage
from cli.commands.status import status
from cli.commands.summary import summary
from cli.commands.trace import trace
from cli.commands.ui import ui
from ratchet.core.errors import RatchetError, SettingsError
from ratchet.core.telemetry import disable_telemetry

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it readable and writable"),
}
"""Number of a disk error → what to do about it."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ratchet-mlops")
@click.option("--use-case", metavar="NAME", help="A section of params.yaml, instead of the one that it selects.")
@click.pass_context
def ratchet(context: click.Context, use_case: str | None) -> None:
    """Pipelines that let a model into production only on evidence."""
    context.obj = use_case


for command in (
    accept,
    advance,
    backfill,
    bento,
    check,
    gc,
    init,
    keys,
    promote,
    quarantine,
    release,
    restore,
    rollback,
    rollout,
    score,
    sensors,
    serve,
    stage,
    status,
    summary,
    trace,
    ui,
):
    ratchet.add_command(command)


def _require_home() -> None:
    """Raises SettingsError if this user has no home folder, without which MLflow cannot be imported."""
    try:
        Path.home()
    except RuntimeError as error:
        raise SettingsError(
            f"is not set, and user {os.getuid()} has no home folder in the system either",
            subject="HOME",
            remedy="Set it to a folder that this user may write, and LOGNAME to a name, which DVC needs",
        ) from error


def main() -> None:
    """Run the command. An expected error is one line on stderr and exit code 1."""
    disable_telemetry()
    try:
        _require_home()
        ratchet()
    except RatchetError as error:
        sys.exit(f"ratchet: {error}")
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        subject, remedy = error.filename or "the disk", REMEDIES[error.errno]
        sys.exit(f"ratchet: {subject}: {error.strerror}. Nothing was half-written: {remedy} and run again.")
