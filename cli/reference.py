"""Write docs/cli.md from the help of the commands: `python -m cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from cli.main import ratchet

HEADER = "# The `ratchet` command\n\nMade by `python -m cli.reference > docs/cli.md`; a test holds it to the code.\n"


def reference() -> str:
    """Every command's help, in one document."""
    root = click.Context(ratchet, info_name="ratchet", color=False, terminal_width=100, **ratchet.context_settings)
    return "\n".join([HEADER, _block(ratchet.get_help(root)), *_sections(ratchet, root)])


def _sections(group: click.Group, parent: click.Context) -> Iterator[str]:
    """The commands of a group, each followed by its own if it is a group itself."""
    for name, command in sorted(group.commands.items()):
        context = click.Context(command, info_name=name, parent=parent, color=False, terminal_width=100)
        yield f"## {context.command_path}\n\n{_block(command.get_help(context))}"
        if isinstance(command, click.Group):
            yield from _sections(command, context)


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
