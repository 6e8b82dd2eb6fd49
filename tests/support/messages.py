"""What a message must name: places, values, commands and options. The words between them are free to be improved."""

from __future__ import annotations

import re


def missing(message: object, *names: str) -> list[str]:
    """Those of the names that a message does not have as whole words: `1 row` is neither in `11 rows` nor in `2,1 row`."""
    return [name for name in names if not re.search(rf"(?<![\w,.]){re.escape(name)}(?!\w)", str(message))]


def one_short_line(error: Exception) -> str:
    """The text of an error. Asserts that it can be read at a glance: a line of at most 600 characters."""
    text = str(error)
    assert "\n" not in text
    assert len(text) <= 600
    return text
