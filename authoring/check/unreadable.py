"""Values that a column cannot hold: their rows are quarantined, and more than a few are a mistake of the declaration."""

from __future__ import annotations

from collections.abc import Iterator

from authoring.check.finding import Finding
from authoring.check.sample import DIRT, Sample
from authoring.check.source_lines import Declaration


def check_unreadable(sample: Sample, where: Declaration) -> Iterator[Finding]:
    """Of every column: text among numbers, infinite numbers, impossible times."""
    for name, read in sample.read.items():
        for column, problem in read.unreadable.items():
            if problem.count > DIRT * read.rows:
                yield Finding(
                    "unreadable",
                    where.column(name, column),
                    f"column {column!r} of table {name!r} cannot hold {problem.count:,} of {read.rows:,} values, such as "
                    f"{problem.text!r}: these rows will be quarantined",
                    "Declare the type that it has, or have nothing delivered where nothing is known",
                )
