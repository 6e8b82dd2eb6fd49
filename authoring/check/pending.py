"""Find rules that quarantine rows whose outcome is not known yet, although these are requests that need a prediction."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.compute as pc

from authoring.check.finding import Finding
from authoring.check.sample import Sample
from authoring.check.source_lines import Declaration
from ratchet.features.leak_check import late_columns
from ratchet.use_case.contract import Rule, SourceTable

EITHER = "either_value_is_missing"


def check_pending(sample: Sample, where: Declaration) -> Iterator[Finding]:
    """Find in tables with such rows every rule that compares two columns, of which one is still missing."""
    for table in sample.run.use_case.tables:
        pending = pc.sum(pc.is_null(sample.tables[table.name][table.known_at])).as_py() if table.known_at else 0
        for reason, rule in table.rules.items():
            if pending and _refuses_missing(rule, table):
                yield Finding(
                    "pending-quarantined",
                    where.table(table.name, "rules"),
                    f"rule {reason!r} quarantines rows whose outcome is not known yet: {pending:,} rows of table "
                    f"{table.name!r} have no {table.known_at}. They would be neither scored nor counted as unlabelled requests",
                    f'Give the rule ignore_row_if="{EITHER}". Else Great Expectations refuses a row that lacks either value',
                )


def _refuses_missing(rule: Rule, table: SourceTable) -> bool:
    compared = {rule.arguments.get(name) for name in ("column_A", "column_B")}
    return bool(compared & set(late_columns(table))) and rule.arguments.get("ignore_row_if") != EITHER
