"""Do a step's work, and print one line about it: its name, its headline, and its seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ratchet.project.step_reports import Report


def run_and_report(name: str, work: Callable[[], Report], headline: Callable[[Report], str]) -> Report:
    """Do the work of a step and return its report. Shows the progress, and prints one line at the end."""
    from ratchet.core.progress import show_line

    began = time.monotonic()
    with show_line(name):
        report = work()
    click.echo(f"{name:<12} {headline(report)} ({time.monotonic() - began:.1f} s)")
    return report
