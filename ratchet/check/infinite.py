"""Infinite values, which an online request cannot have, and of which no mean and no band can be made."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.check.declaration import Declaration
from ratchet.check.finding import Finding
from ratchet.check.sample import Sample


def check_infinite(sample: Sample, where: Declaration) -> Iterator[Finding]:
    """Of every column of fractions: rows with infinite values that no rule rules out."""
    for name, rows in sample.tables.items():
        for field in rows.schema:
            infinite = pc.sum(pc.is_inf(rows[field.name])).as_py() if pa.types.is_floating(field.type) else 0
            if infinite:
                yield Finding(
                    "infinite",
                    where.column(name, field.name),
                    f"column {field.name!r} of table {name!r} is infinite in {infinite:,} of {rows.num_rows:,} rows: training "
                    "would learn from values that no online request can have",
                    "Deliver nothing where nothing is known, or quarantine such rows by a rule: "
                    f'expect("column_values_to_be_between", column="{field.name}", min_value=-1e308, max_value=1e308)',
                )
