"""Find columns with many values that they cannot hold. The rows are quarantined; many of them are a wrong declaration."""

from __future__ import annotations

from collections.abc import Iterator

from authoring.check.finding import Finding
from authoring.check.sample import DIRT, Sample
from authoring.check.source_lines import Declaration


def check_unreadable(sample: Sample, where: Declaration) -> Iterator[Finding]:
    """Check every column for text among numbers, infinite numbers and impossible times."""
    for name, read in sample.read.items():
        for column, problem in read.unreadable.items():
            if problem.count > DIRT * read.rows:
                yield Finding(
                    "unreadable",
                    where.column(name, column),
                    f"column {column!r} of table {name!r} cannot hold {problem.count:,} of {read.rows:,} values, such as "
                    f"{problem.text!r}: these rows will be quarantined",
                    "Declare the type that the values have, or leave a cell empty if its value is not known",
                )
