"""`ratchet gc`: remove what is older than it is kept for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ratchet.project.gc import Part


@click.command()
@click.argument("name", required=False, metavar="[USE_CASE]")
@click.option("--apply", "is_applied", is_flag=True, help="Remove it. Without this option, nothing is changed.")
def gc(name: str | None, is_applied: bool) -> None:
    """Show or remove what is older than params.yaml keeps it.

    `retention` in params.yaml says how long predictions, the data versions of runs, and models that never served are kept, back
    from the as-of. What something kept needs is kept, too: every kept prediction can be traced, and every kept run and
    version can be restored. Of DVC's cache, it removes what nothing names, of any use case."""
    from ratchet.core.progress import show_line
    from ratchet.project.gc import collect
    from ratchet.project.run import Run

    run = Run.load(use_case=name or click.get_current_context().obj)
    with show_line(run.settings.use_case):
        parts = collect(run, apply=is_applied)
    click.echo(rendered(parts, is_applied=is_applied))
    if not is_applied and any(part.count for part in parts):
        click.echo(f"\nNothing was changed. To remove it: `ratchet gc {run.settings.use_case} --apply`")


def rendered(parts: list[Part], *, is_applied: bool) -> str:
    """A table with a line for each kind of things."""
    title = "removed" if is_applied else "to remove"
    lines = [f"{title:>9}  {'size':>9}  what", *(_line(part) for part in parts)]
    total = sum(part.size for part in parts)
    return "\n".join([*lines, f"{sum(part.count for part in parts):>9,}  {_bytes(total):>9}  in all"])


def _line(part: Part) -> str:
    why = f", {part.why}" if part.count and part.why else ""
    kept = f"; kept: {part.kept}" if part.kept else ""
    return f"{part.count:>9,}  {_bytes(part.size):>9}  {part.kind}{why}{kept}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
