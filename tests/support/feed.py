"""A use case of two tables read from a folder, so that a test can deliver whatever it likes: payments and their shops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel

from ratchet.core.clock import FixedClock, Period
from ratchet.core.errors import SourceError
from ratchet.core.settings import Settings, SourceSettings
from ratchet.project.run import Run
from ratchet.storage.digests import md5
from ratchet.use_case.batch import Batch
from ratchet.use_case.contract import SourceTable, Tables, UseCase, expect
from tests.support.windows import as_of, windows

INSTANT = pa.timestamp("us", "UTC")
PAYMENTS = pa.schema({"id": pa.int64(), "shop": pa.string(), "at": INSTANT, "amount": pa.float64()})
SHOPS = pa.schema({"shop": pa.string(), "city": pa.string()})


def _read(path: Path) -> tuple[pa.Table, list[str]]:
    try:
        return pq.read_table(path), [f"read from {path.name}"]
    except (OSError, pa.ArrowException) as error:
        raise SourceError("is no whole Parquet file", subject=str(path), remedy="Fetch it again") from error


def folder(path: str, options: Mapping[str, Any], period: Period) -> Iterable[Batch]:
    """{path}/{table}/{batch}.parquet, as they are."""
    for file in sorted(Path(path).glob("*/*.parquet")):
        yield Batch(file.parent.name, file.stem, md5(file), partial(_read, file), files=[file])


RULES = {
    "amount_out_of_range": expect("column_values_to_be_between", column="amount", min_value=0, max_value=100),
    "unknown_shop": expect("column_values_to_be_in_set", column="shop", value_set=["a", "b", "c"]),
}


class Payment(BaseModel):
    shop: str
    at: AwareDatetime


def examples(tables: Tables) -> ibis.Table:
    payments = tables["payments"]
    return payments.select(request_id="row_key", shop="shop", event_timestamp="at", label="amount", label_known_at="at")


use_case = UseCase(
    name="feed",
    task="regression",
    timezone="UTC",
    label="amount",
    unit="coins",
    tables=(
        SourceTable("payments", PAYMENTS, key=("id",), event_time="at", known_at="at", rules=RULES),
        SourceTable("shops", SHOPS, key=("shop",)),
    ),
    sources={"folder": folder},
    views=(),
    lookups=(),
    request=Payment,
    event_timestamp="at",
    examples=examples,
    inputs={"shop": "category"},
    baseline=((),),
)


def feed_project(root: Path) -> Run:
    """A project that reads the folder `batches` below its root."""
    days = (date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3), date(2024, 1, 4), date(2024, 1, 5))
    source = SourceSettings(name="folder", path="batches")
    settings = Settings(use_case="tests.support.feed", source=source, windows=windows(days))
    return Run(root, settings, as_of(days[-1], "UTC"), clock=FixedClock(datetime(2024, 1, 5, tzinfo=UTC)))


def payment(identity: int | None, at: str | None, amount: float | None = 1.0, shop: str | None = "a") -> dict[str, Any]:
    """One payment; `at` is a local time of UTC in ISO format."""
    instant = None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC)
    return {"id": identity, "shop": shop, "at": instant, "amount": amount}


def deliver(run: Run, batch: str, rows: list[dict[str, Any]], table: str = "payments") -> Path:
    """Write one batch, in place of a former one of that name."""
    path = run.root / "batches" / table / f"{batch}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = PAYMENTS if table == "payments" else SHOPS
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def deliver_shops(run: Run) -> None:
    deliver(run, "all", [{"shop": "a", "city": "x"}, {"shop": "b", "city": "y"}], table="shops")
