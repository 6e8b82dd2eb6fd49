"""The churn use case: its declaration, its labels by a plain reading of the rows, and its simulated company."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.clock import Period
from ratchet.features.expressions import compile_labels, compile_requests, compile_view
from ratchet.project.run import Run
from tests.support.accepted import check_for_leaks
from tests.support.cases import CHURN, accepted_rows, case_project, derived_rows, unknown_columns
from use_cases.churn import use_case
from use_cases.churn.simulator import simulator

BILL = {
    "customer": "c0001-00",
    "plan": "basic",
    "region": "north",
    "tenure_months": 3,
    "amount_cents": 1999,
    "billed_at": "2024-02-05T06:00:00-05:00",
}
ON_DEMAND = {"score_age_days", "is_new"}


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Accepted rows of some months of a small company."""
    run = case_project(tmp_path_factory.mktemp("company"), "churn", CHURN, customers=300)
    ingest(run)
    validate(run)
    return run


def ask(**changes: Any) -> Any:
    return use_case.request.model_validate_json(json.dumps({**BILL, **changes}))


class TestDeclaration:
    def test_a_customer_may_have_come_alone(self) -> None:
        """Without a referrer the request stands."""
        assert (None, "c0002-00") == (ask().referrer, ask(referrer="c0002-00").referrer)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("customer", 1), ("tenure_months", -1), ("billed_at", "2024-02-05T06:00:00")],
    )
    def test_what_no_caller_can_mean_is_refused(self, field: str, value: Any) -> None:
        """A number for a name, a negative tenure, and a time without offset."""
        with pytest.raises(ValidationError) as error:
            ask(**{field: value})
        assert [(field,)] == [problem["loc"] for problem in error.value.errors()]

    def test_names_only_columns_that_there_are(self, company: Run) -> None:
        """Each is a request's field, a feature or made on demand."""
        assert set() == unknown_columns(company, ON_DEMAND)

    def test_one_view_has_two_roles(self) -> None:
        """The payments of a customer, and those of who referred the customer."""
        roles = {lookup.name: dict(lookup.keys) for lookup in use_case.lookups if lookup.view == "account"}
        assert {"own": {"account": "customer"}, "referrer": {"account": "referrer"}} == roles


class TestLabels:
    def test_are_what_a_reading_of_the_cancellations_says(self, company: Run) -> None:
        """Whether the customer cancelled within 30 days of the bill, known when they are over."""
        ends = accepted_rows(company, "cancellations")
        expected = {}
        for bill in accepted_rows(company, "bills"):
            until = bill["billed_at"] + timedelta(days=30)
            timestamps = [end["cancelled_at"] for end in ends if end["customer"] == bill["customer"]]
            left = any(bill["billed_at"] <= timestamp < until for timestamp in timestamps)
            expected[bill["row_key"]] = (bill["billed_at"], float(left), until)
        found = {
            row["request_id"]: (row["event_timestamp"], row["label"], row["label_known_at"])
            for row in derived_rows(company, compile_labels(use_case))
        }
        assert expected == found
        assert {0.0, 1.0} == {label for _, label, _ in found.values()}

    def test_a_request_for_each_bill(self, company: Run) -> None:
        """Also for those that were never paid, with what the bill says."""
        bills, requests = accepted_rows(company, "bills"), derived_rows(company, compile_requests(use_case))
        names = ("customer", "referrer", "plan", "region", "tenure_months", "amount_cents")
        assert {bill["row_key"]: [bill[name] for name in names] for bill in bills} == {
            row["request_id"]: [row[name] for name in names] for row in requests
        }


class TestFeatures:
    def test_know_no_future(self, company: Run) -> None:
        """Cut off within a day, at midnight and at a batch of scores, nothing computed before changes."""
        timestamps = [(2023, 11, 20, 17, 30), (2023, 12, 10, 0, 0), (2024, 1, 15, 12, 0)]
        report = check_for_leaks(company, [datetime(*timestamp, tzinfo=UTC) for timestamp in timestamps])
        assert dict.fromkeys(("health", "account", "requests", "labels"), 0) == report.changed
        assert report.passed

    def test_a_score_holds_from_just_after_it_was_delivered(self, company: Run) -> None:
        """As the other system computed it, strictly later than it was known."""
        second = timedelta(seconds=1)
        scores = accepted_rows(company, "health_scores")
        assert {(row["customer"], row["delivered_at"] + second, row["score"]) for row in scores} == {
            (row["customer"], row["event_timestamp"], row["score"])
            for row in derived_rows(company, compile_view(use_case, use_case.view("health")))
        }

    def test_on_demand(self) -> None:
        """The age of the score in days, unknown without one, and who is new."""
        made = use_case.on_demand(
            {
                "event_timestamp": np.array(["2024-02-05T12:00", "2024-02-05"], "datetime64[us]"),
                "health__event_timestamp": np.array(["2024-02-01", "NaT"], "datetime64[us]"),
                "tenure_months": np.array([5.0, 6.0]),
            }
        )
        np.testing.assert_array_equal([4.5, np.nan], made["score_age_days"])
        assert ["yes", "no"] == made["is_new"].tolist()


class TestSimulator:
    def test_loses_no_row_and_quarantines_what_is_dirty(self, company: Run) -> None:
        """Each rule is broken by some row, and duplicates are met."""
        report = validate(company)
        rows = report["rows"]
        assert rows["raw"] == rows["accepted"] + rows["quarantined"] + rows["duplicates"]
        rules = {reason for table in use_case.tables for reason in table.rules}
        assert {*rules, "duplicate_key"} == set(report["reasons"])

    def test_a_month_does_not_depend_on_what_else_is_asked_for(self) -> None:
        """Whatever the period, a batch has the same name, digest and rows."""
        winter = Period(datetime(2023, 12, 1, 5, tzinfo=UTC), datetime(2024, 2, 1, 5, tzinfo=UTC))
        longer = Period(datetime(2023, 10, 1, 4, tzinfo=UTC), datetime(2024, 3, 1, 5, tzinfo=UTC))
        few, many = (
            {(each.table, each.name): each for each in simulator("", {"customers": 20}, period)}
            for period in (winter, longer)
        )
        assert few.keys() < many.keys()
        for name, batch in few.items():
            assert (batch.digest, batch.read()) == (many[name].digest, many[name].read())
