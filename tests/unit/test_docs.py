"""What the documents name is there."""

from __future__ import annotations

import re

from tests.support.checkout import ROOT


def test_files_to_change_are_there() -> None:
    """Every file and folder that docs/where-to-change-what.md names, but for those of a use case still to be made."""
    text = (ROOT / "docs" / "where-to-change-what.md").read_text(encoding="utf-8")
    named = {path for path in re.findall(r"`([\w./]+/[\w./]*|[\w.]+\.yaml)`", text) if "NAME" not in path}
    assert len(named) > 30
    assert [] == [path for path in sorted(named) if not (ROOT / path).exists()]
