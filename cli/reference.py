"""Write docs/cli.md from the help of the commands: `python -m cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys

import click

from cli.main import ratchet

HEADER = "# The `ratchet` command\n\nMade by `python -m cli.reference > docs/cli.md`; a test holds it to the code.\n"


def reference() -> str:
    """Every command's help, in one document."""
    root = click.Context(ratchet, info_name="ratchet", color=False, terminal_width=100, **ratchet.context_settings)
    sections = [_section(name, command, root) for name, command in sorted(ratchet.commands.items())]
    return "\n".join([HEADER, _block(ratchet.get_help(root)), *sections])


def _section(name: str, command: click.Command, root: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=root, color=False, terminal_width=100)
    return f"## ratchet {name}\n\n{_block(command.get_help(context))}"


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
