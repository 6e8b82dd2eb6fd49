"""Views that another system computes: where their files lie, and whether these can be used."""

from __future__ import annotations

from collections.abc import Iterator

from authoring.check.finding import Finding
from authoring.check.source_lines import Declaration
from ratchet.core.errors import SettingsError, SourceError
from ratchet.features.upstream_registration import Register
from ratchet.project.run import Run


def check_upstream(run: Run, where: Declaration) -> Iterator[Finding]:
    """Read what featurize would register, and report what stops it."""
    try:
        register = Register.open(run)
    except SettingsError as error:
        yield Finding.of("upstream", where.setting("upstream"), error)
        return
    for name, rows in register.views.items():
        try:
            register.check(rows)
        except SourceError as error:
            yield Finding.of("upstream", where.setting("upstream", name), error)
