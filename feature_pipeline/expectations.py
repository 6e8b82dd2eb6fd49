"""Check a batch against a use case's rules, with Great Expectations on its pandas engine, which lists every failing row.

The library catches an exception inside a rule, writes it into the rule's result and continues. Here the step stops if a rule
cannot be judged, or if it fails without naming rows.
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
_EVERY_ROW = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [ROW_ID],
    "return_unexpected_index_query": False,
}


def rules_digest(rules: Rules) -> str:
    """A digest that changes with any rule, and with the version of Great Expectations."""
    named = [(reason, rule.expectation, dict(rule.arguments)) for reason, rule in rules.items()]
    return digest(named, version("great_expectations"))


def failing_rows(rules: Rules, rows: pa.Table, batch: str) -> dict[str, list[str]]:
    """Reason → ids of the rows that break its rule. `batch` is used in messages only.

    Raises DataError if a rule cannot be judged or fails without naming rows, SettingsError if the library does not know a rule.
    """
    if not rules:
        return {}
    expectations = {reason: _expectation(rule, reason) for reason, rule in rules.items()}
    with _released():
        return _judge(expectations, rows, batch)


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


def _judge(rules: Mapping[str, Expectation], rows: pa.Table, batch: str) -> dict[str, list[str]]:
    from great_expectations.validator.v1_validator import Validator

    sources = _context().data_sources
    definition = sources.add_pandas(batch).add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    validator = Validator(definition, result_format=_EVERY_ROW, batch_parameters={"dataframe": rows.to_pandas()})
    try:
        return {reason: _failing(validator.validate_expectation(rule), reason, batch) for reason, rule in rules.items()}
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


def _failing(judged: ExpectationValidationResult, reason: str, batch: str) -> list[str]:
    raised = _raised(judged.exception_info)
    if raised is not None:
        raise DataError(
            f"rule {reason!r} could not be judged ({raised})", subject=batch, remedy="Fix the rule in the use case"
        )
    found: list[dict[str, Any]] = judged.result.get("unexpected_index_list") or []
    if not judged.success and not found:
        raise DataError(
            f"breaks rule {reason!r} as a whole (observed {judged.result.get('observed_value', 'nothing')})",
            subject=batch,
            remedy="Deliver the batch again, or correct the rule in the use case",
        )
    return list(dict.fromkeys(row[ROW_ID] for row in found))


def _raised(info: dict[str, Any]) -> str | None:
    """The first exception in a result: Great Expectations keeps one, or one for every metric."""
    found = [info] if "raised_exception" in info else list(info.values())
    return next((str(one["exception_message"]) for one in found if one["raised_exception"]), None)
