"""Check a batch against a use case's rules, with Great Expectations on its pandas engine, which lists every failing row.

The library catches an exception inside a rule, writes it into the rule's result and continues. Here the step stops if a rule
cannot be judged. A rule that fails without naming rows is about the whole batch.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ratchet.core.errors import DataError, SettingsError
from ratchet.core.text import closest
from ratchet.storage.digests import digest
from ratchet.use_case.contract import ROW_ID, Rule

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import AbstractDataContext
    from great_expectations.expectations.expectation import Expectation

Rules = Mapping[str, Rule]
"""Reason for quarantine → the rule that such a row breaks."""
EVERY_ROW: Mapping[str, Any] = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [ROW_ID],
    "return_unexpected_index_query": False,
}


def rules_digest(rules: Rules) -> str:
    """A digest that changes with any rule, and with the version of Great Expectations."""
    named = [(reason, rule.expectation, dict(rule.arguments)) for reason, rule in rules.items()]
    return digest(named, version("great_expectations"))


Results = Mapping[str, "ExpectationValidationResult"]
"""Reason, or other name of a rule → the library's own result."""


def failing(results: Results) -> dict[str, list[str]]:
    """Reason → ids of the rows that break its rule, in results for every row."""
    found: dict[str, list[dict[str, Any]]] = {
        reason: result.result.get("unexpected_index_list") or [] for reason, result in results.items()
    }
    return {reason: list(dict.fromkeys(row[ROW_ID] for row in rows)) for reason, rows in found.items()}


def observed(results: Results) -> dict[str, Any]:
    """Name → observed value of each rule that failed and names no rows, because it is about the whole batch. For a rule about
    single values it is the percentage of unexpected ones."""
    return {
        name: result.result.get("observed_value", result.result.get("unexpected_percent_nonmissing"))
        for name, result in results.items()
        if not result.success and not result.result.get("unexpected_index_list")
    }


def judge(rules: Rules, rows: pa.Table, batch: str, result_format: Any) -> Results:
    """Let Great Expectations judge a batch. Raises DataError if a rule cannot be judged, SettingsError if it is unknown."""
    if not rules or not rows.num_rows:
        return {}
    expectations = {name: _expectation(rule, name) for name, rule in rules.items()}
    with _released():
        results = _judge(expectations, rows, batch, result_format)
    for name, result in results.items():
        _require_judged(result, name, batch)
    return results


def _expectation(rule: Rule, reason: str) -> Expectation:
    """A rule as an object of Great Expectations."""
    from great_expectations.expectations import core

    known = {name.lower(): kind for name, kind in vars(core).items() if name.startswith("Expect")}
    name = f"expect{rule.expectation.replace('_', '')}"
    try:
        expectation: Expectation = known[name](**rule.arguments)
    except KeyError as error:
        near = closest(name, known)
        raise SettingsError(
            f"Great Expectations ships no expect_{rule.expectation}"
            + (f" (but {known[near].__name__})" if near else ""),
            subject=f"rule {reason!r}",
            remedy="Use a name from its gallery, in snake case and without expect_",
        ) from error
    except ValueError as error:  # pydantic's
        raise SettingsError(
            f"expect_{rule.expectation} does not take these arguments ({' '.join(str(error).split())})",
            subject=f"rule {reason!r}",
            remedy="Use the arguments that its documentation lists",
        ) from error
    return expectation


@contextmanager
def _released() -> Iterator[None]:
    """Free the objects made inside at once: the library's objects refer to one another in cycles, and keep the batch alive."""
    gc.freeze()  # older objects need not be scanned
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()


def _judge(rules: Mapping[str, Expectation], rows: pa.Table, batch: str, result_format: Any) -> Results:
    from great_expectations.validator.v1_validator import Validator

    sources = _context().data_sources
    definition = sources.add_pandas(batch).add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    validator = Validator(definition, result_format=result_format, batch_parameters={"dataframe": rows.to_pandas()})
    try:
        return {name: validator.validate_expectation(rule) for name, rule in rules.items()}
    finally:
        sources.delete(batch)


@cache
def _context() -> AbstractDataContext:
    from great_expectations import get_context
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),  # the default one leaves a temporary folder for docs behind
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return get_context(mode="ephemeral", project_config=config)


def _require_judged(judged: ExpectationValidationResult, rule: str, batch: str) -> None:
    """Raises DataError if the rule could not be judged."""
    raised = _raised(judged.exception_info)
    if raised is not None:
        raise DataError(
            f"rule {rule!r} could not be judged ({raised})", subject=batch, remedy="Fix the rule in the use case"
        )


def _raised(info: dict[str, Any]) -> str | None:
    """The first exception in a result: Great Expectations keeps one, or one for every metric."""
    found = [info] if "raised_exception" in info else list(info.values())
    return next((str(one["exception_message"]) for one in found if one["raised_exception"]), None)
