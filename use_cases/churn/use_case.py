"""Predict, when a customer's monthly bill is sent, whether the customer will cancel within 30 days."""

from __future__ import annotations

from datetime import timedelta

import ibis
import pyarrow as pa
from ibis import _
from pydantic import AwareDatetime, BaseModel, Field

from ratchet.use_case.contract import INSTANT, Lookup, SourceTable, Tables, UseCase, View, expect
from ratchet.use_case.newest import newest
from ratchet.use_case.request_fields import kinds_of, numbers, schema_of
from ratchet.use_case.windows import rate, total, trailing
from use_cases.churn.on_demand import on_demand
from use_cases.churn.simulator import TIMEZONE, simulator

NOTICE = timedelta(days=30)


class Bill(BaseModel):
    """What is known when a bill is sent. Some customers were referred by another one."""

    customer: str
    referrer: str | None = None
    plan: str
    region: str
    tenure_months: int = Field(ge=0, le=1200)
    amount_cents: int = Field(ge=0)
    billed_at: AwareDatetime


BILLS = SourceTable(
    "bills",
    schema_of(Bill, days_to_pay=pa.int64(), paid_at=INSTANT),
    key=("customer", "billed_at"),
    event_time="billed_at",
    known_at="paid_at",
    early=tuple(Bill.model_fields),
    rules={
        "unknown_plan": expect("column_values_to_be_in_set", column="plan", value_set=["basic", "family", "business"]),
        "negative_amount": expect("column_values_to_be_between", column="amount_cents", min_value=0),
        "paid_after_30_days": expect("column_values_to_be_between", column="days_to_pay", min_value=0, max_value=30),
    },
)
SCORES = SourceTable(
    "health_scores",
    pa.schema({"customer": pa.string(), "score": pa.float64(), "computed_at": INSTANT, "delivered_at": INSTANT}),
    key=("customer", "computed_at"),
    event_time="computed_at",
    known_at="delivered_at",
    rules={"score_outside_0_to_100": expect("column_values_to_be_between", column="score", min_value=0, max_value=100)},
)
CANCELLATIONS = SourceTable(
    "cancellations",
    pa.schema({"customer": pa.string(), "cancelled_at": INSTANT}),
    key=("customer", "cancelled_at"),
    event_time="cancelled_at",
)


def health(tables: Tables) -> ibis.Table:
    """The last score that another system computed. It counts from when it is available."""
    scores = newest(tables["health_scores"], ("customer",), "computed_at", within=timedelta(days=1))
    return scores.select("customer", "score", event_timestamp=_.row_available_at)


def examples(tables: Tables) -> ibis.Table:
    """One request for each bill; whether the customer stayed is known 30 days later."""
    bills, ends = tables["bills"], tables["cancellations"]
    until = bills.billed_at + ibis.interval(NOTICE)
    cancelled = [bills.customer == ends.customer, ends.cancelled_at >= bills.billed_at, ends.cancelled_at < until]
    return bills.select(
        *Bill.model_fields,
        request_id=_.row_key,
        event_timestamp=_.billed_at,
        label=_.row_key.isin(bills.semi_join(ends, cancelled).row_key).cast("float64"),
        label_known_at=until,
    )


use_case = UseCase(
    name="churn",
    task="binary",
    timezone=TIMEZONE,
    label="cancelled",
    unit="probability",
    tables=(BILLS, SCORES, CANCELLATIONS),
    sources={"simulator": simulator},
    views=(
        View("health", ("customer",), health, lookback=timedelta(days=2), max_age=timedelta(days=40)),
        trailing(
            "account",
            ("account",),
            BILLS,
            tile="1d",
            windows=("35d", "105d"),
            delay="31d",
            sums={"paid": 1, "days": _.days_to_pay, "late": _.days_to_pay > 14},
            features={"paid": total("paid"), "days_to_pay": rate("days", "paid"), "late_share": rate("late", "paid")},
            rows=lambda tables: tables["bills"].mutate(account=_.customer),
        ),
    ),
    lookups=(
        Lookup("health", {"customer": "customer"}),
        Lookup("account", {"account": "customer"}, name="own"),
        Lookup("account", {"account": "referrer"}, name="referrer"),
    ),
    request=Bill,
    event_timestamp="billed_at",
    examples=examples,
    horizon=NOTICE,
    on_demand=on_demand,
    inputs={
        **kinds_of(Bill, customer=None, referrer=None),
        **numbers("health__score", "score_age_days"),
        **numbers("own__paid_105d", "own__days_to_pay_35d", "own__days_to_pay_105d", "own__late_share_105d"),
        **numbers("referrer__days_to_pay_105d", "referrer__late_share_105d"),
    },
    baseline=(("plan", "region"), ("plan",), ()),
)
