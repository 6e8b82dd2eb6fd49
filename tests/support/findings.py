"""Where `ratchet check` finds each mistake that is planted in the second use case, and what its message names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REQUEST_CHANGED = "mistakes.py: return with_use_case(run, examples=lambda tables: change(given(tables)),"
VIEW_CHANGED = "mistakes.py: return with_view(run, view.name, compute=lambda tables:"
"""How lines begin by which most of them are planted."""

FOUND: Mapping[str, Sequence[tuple[str, str]]] = {
    "no time zone": [("noshow.py: timezone=TIMEZONE,", "`timezone`")],
    "naive time": [('noshow.py: "reminder_at": INSTANT,', "'reminder_at'")],
    "view twice": [(VIEW_CHANGED, "'patient_history'")],
    "view between seconds": [(VIEW_CHANGED, "'patient_history'")],
    "view without rows": [(VIEW_CHANGED, "'patient_history'")],
    "view before it is known": [(VIEW_CHANGED, "'patient_history'")],
    "key of too few columns": [('noshow.py: key=("appointment_id",),', "'appointments'")],
    "table without a key": [('noshow.py: key=("appointment_id",),', "'appointments'")],
    "source of nothing": [("params.yaml", "'clinic'")],
    "source of other columns": [
        ("mistakes.py: def loader(path: str, options: Mapping[str, Any], period: Period) ->", "'recorded_at'")
    ],
    "source that fails": [('mistakes.py: raise UnicodeError("not a text")', "the loader fails")],
    "view of bad rows": [(VIEW_CHANGED, "'patient_history'")],
    "view of later timestamps": [
        ("mistakes.py: run, view.name, compute=lambda tables: _much_later(view.compute(tables)),", "'patient_history'"),
        ("mistakes.py: run, view.name, compute=lambda tables: _much_later(view.compute(tables)),", "'patient_history'"),
    ],
    "windows without data": [("params.yaml", "`windows`"), ("params.yaml", "`windows`")],
    "view that fails": [('mistakes.py: return _tables["no such table"]', "'patient_history'")],
    "short lookback": [('noshow.py: View("patient_history", ("patient",), patient_history,', "'patient_history'")],
    "no max_age": [('noshow.py: View("patient_history", ("patient",), patient_history,', "'patient_history'")],
    "short max_age": [('noshow.py: View("patient_history", ("patient",), patient_history,', "'patient_history'")],
    "tile shorter than the schedule": [
        ('noshow.py: View("patient_history", ("patient",), patient_history,', "'0 * * * *'")
    ],
    "max_age shorter than the schedule": [
        ('noshow.py: View("patient_history", ("patient",), patient_history,', "1 hour")
    ],
    "foreign keys": [('noshow.py: lookups=(Lookup("patient_history", {"patient": "patient"}),),', "'patient_history'")],
    "requests twice": [(REQUEST_CHANGED, "`examples`")],
    "requests by outcome": [(REQUEST_CHANGED, "`examples`")],
    "outcome in the request": [
        ('noshow.py: early=("appointment_id", "patient", "clinic", "booked_days_ahead"),', "'outcome'"),
        (REQUEST_CHANGED, "'outcome'"),
    ],
    "count of later rows": [(REQUEST_CHANGED, "'asked'")],
    "outcome on demand": [('planted_functions.py: return {"outcome": columns["label"] * 2}', "`on_demand`")],
    "label as input": [("noshow.py: inputs={", "`inputs`")],
    "on_demand that fails": [("planted_functions.py: raise ValueError(\"could not convert 'x'\")", "`on_demand`")],
    "on_demand that changes what it gets": [('planted_functions.py: columns["twice"]', "`on_demand`")],
    "text as number": [("noshow.py: inputs={", "'word'")],
    "label known at once": [(REQUEST_CHANGED, "`row_arrived_at`")],
    "label known too early": [(REQUEST_CHANGED, "`label`")],
    "label of later days": [("noshow.py: use_case = UseCase(", "`horizon`")],
    "count of earlier days": [(REQUEST_CHANGED, "`lookback`")],
    "label of earlier days": [(REQUEST_CHANGED, "`lookback`")],
    "column of all rows": [("planted_functions.py: def since_the_first(columns: Columns) -> Columns:", "`on_demand`")],
    "prediction of all rows": [
        ("planted_functions.py: def less_the_mean(_columns: Columns, numbers: Array) -> Array:", "`postprocess`")
    ],
    "column of one value": [("planted_functions.py: def one_value(_columns: Columns) -> Columns:", "`on_demand`")],
    "prediction of one value": [
        ("planted_functions.py: def the_first(_columns: Columns, numbers: Array) -> Array:", "`postprocess`")
    ],
    "column that no single request has": [
        ('planted_functions.py: raise ValueError("one row is too few")', "`on_demand`")
    ],
    "postprocess that fails": [('planted_functions.py: raise ValueError("no such number")', "`postprocess`")],
    "label known in a year": [("params.yaml", "no label of"), ("params.yaml", "no label of")],
    "no label": [(REQUEST_CHANGED, "`label`")],
    "few labels": [(REQUEST_CHANGED, "`label`")],
    "one class": [(REQUEST_CHANGED, "`label`")],
    "label that is no number": [(REQUEST_CHANGED, "`label`")],
    "no examples": [(REQUEST_CHANGED, "`examples`")],
    "lookup of nothing": [('noshow.py: lookups=(Lookup("patient_history", {"patient": "patient"}),),', "'elsewhere'")],
    "view without its keys": [(VIEW_CHANGED, "'patient_history'")],
    "examples that fail": [('mistakes.py: return _tables["no such table"]', "`examples`")],
    "too few rows": [("params.yaml", "`windows.holdout`")],
    "timestamp that is no field": [('noshow.py: event_timestamp="reminder_at",', "`event_timestamp`")],
    "early column that is none": [
        ('noshow.py: early=("appointment_id", "patient", "clinic", "booked_days_ahead"),', "`early`")
    ],
    "slice by nothing": [("params.yaml", "`gate.slices`")],
    "baseline by nothing": [('noshow.py: baseline=(("clinic",), ()),', "`baseline`")],
    "baseline by no input": [('noshow.py: baseline=(("clinic",), ()),', "`inputs`")],
    "slices of a row": [("params.yaml", "'event_timestamp'")],
    "label longer than a block": [("params.yaml", "`gate.block`")],
    "one block": [("params.yaml", "'all'")],
}
"""Mistake → of each finding, in order, how the line to change begins, and a name that the message has."""
