"""What `ratchet check` says of each mistake, planted in the second use case: the line to change, the problem, the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REQUEST_CHANGED = (
    "mistakes.py: return with_use_case(run, examples=lambda tables: change(given(tables)), "
    "request=request or run.use_case.request)"
)
VIEW_CHANGED = "mistakes.py: return with_view(run, view.name, compute=lambda tables: change(view.compute(tables)))"
"""The lines of `mistakes.py` by which most of them are planted."""

MESSAGES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "no time zone": [
        (
            "noshow.py: timezone=TIMEZONE,",
            "`timezone` is 'Mars/Olympus', which is no time zone",
            "Give the IANA name of the place whose days count, such as 'Europe/Berlin', or 'UTC'",
        ),
    ],
    "naive time": [
        (
            'noshow.py: "reminder_at": INSTANT,',
            "column 'reminder_at' of table 'appointments' is a time without a time zone",
            "Declare it as pa.timestamp('us', 'UTC'), and let the loader turn local times into UTC",
        ),
    ],
    "view twice": [
        (
            VIEW_CHANGED,
            "view 'patient_history' has several rows for 4,511 of its keys and timestamps",
            "Aggregate by patient and event_timestamp, so that each has one row",
        ),
    ],
    "view between seconds": [
        (
            VIEW_CHANGED,
            (
                "view 'patient_history' has an event_timestamp with a fraction of a second, which an online store "
                "cannot keep"
            ),
            "Round it up to the next second, so that no row counts before it was known",
        ),
    ],
    "view without rows": [
        (
            VIEW_CHANGED,
            "view 'patient_history' has no row, though the tables it reads have",
            "Look at its filters and joins: one of them keeps nothing",
        ),
    ],
    "view before it is known": [
        (
            VIEW_CHANGED,
            (
                "view 'patient_history' uses what was not known yet: 169 of its rows change when the sources are cut "
                "off at the timestamp that these rows are for"
            ),
            (
                "Count a row from after its known_at (round up, not down), and end every window at the current row "
                "(following=0)"
            ),
        ),
    ],
    "key of too few columns": [
        (
            'noshow.py: key=("appointment_id",),',
            (
                "the key of table 'appointments' is not unique: 4,521 of 4,551 rows have the key of another row that "
                "differs, such as booked_days_ahead = 0, and would be quarantined as duplicates"
            ),
            "Name in `key` all the columns that together tell rows apart",
        ),
    ],
    "table without a key": [
        (
            'noshow.py: key=("appointment_id",),',
            "table 'appointments' has no key, so that a row delivered twice counts twice",
            "Name in `key` all the columns that together tell rows apart",
        ),
    ],
    "source of nothing": [
        (
            "params.yaml",
            (
                "source 'clinic' at tests/support/noshow.py: delivers nothing of appointments in "
                "[2023-12-31T13:30:00+00:00, 2024-07-31T14:30:00+00:00)"
            ),
            "Set source.path and periods in params.yaml to where and when there is data",
        ),
    ],
    "source of other columns": [
        (
            "mistakes.py: def loader(path: str, options: Mapping[str, Any], period: Period) -> list[Batch]:",
            "batch appointments/week-028: lacks column 'recorded_at'; has unknown column 'other'",
            "Deliver it with its columns, or teach the use case's loader what changed",
        ),
    ],
    "source that fails": [
        (
            'mistakes.py: raise UnicodeError("not a text")',
            "the loader fails with UnicodeError: not a text",
            "Fix the function",
        ),
    ],
    "view of bad rows": [
        (
            VIEW_CHANGED,
            (
                "view 'patient_history' fails with ConversionException: Conversion Error: Could not convert string "
                "'2024-01-06 22:00:00+00!' to INT64"
            ),
            "Fix the function",
        ),
    ],
    "view of later timestamps": [
        (
            (
                "mistakes.py: run, view.name, compute=lambda tables: _much_later(view.compute(tables)), "
                "max_age=None, lookback=None"
            ),
            "lookup 'patient_history' finds nothing: view 'patient_history' has rows only for later timestamps",
            "Let event_timestamp be the timestamp from which a row's values are known",
        ),
        (
            (
                "mistakes.py: run, view.name, compute=lambda tables: _much_later(view.compute(tables)), "
                "max_age=None, lookback=None"
            ),
            (
                "view 'patient_history' has no row before 2024-08-01, where the last period ends: nothing shows whether it "
                "uses what was not known yet, and the gate refuses every model without that"
            ),
            "Let event_timestamp be the timestamp from which a row's values are known",
        ),
    ],
    "periods without data": [
        (
            "params.yaml",
            "no example lies in the early-stopping period: they go from 2024-01-02 to 2024-04-30",
            "Set `periods` to when there is data",
        ),
        (
            "params.yaml",
            "no example lies in the holdout period: they go from 2024-01-02 to 2024-04-30",
            "Set `periods` to when there is data",
        ),
    ],
    "view that fails": [
        (
            'mistakes.py: return _tables["no such table"]',
            "view 'patient_history' fails with KeyError: 'no such table'",
            "Fix the function",
        ),
    ],
    "short lookback": [
        (
            (
                'noshow.py: View("patient_history", ("patient",), patient_history, lookback=timedelta(days=60), '
                "max_age=timedelta(days=60)),"
            ),
            (
                "view 'patient_history' looks further back than its `lookback` of no time: 20 of the 20 rows of "
                "2024-07-31 change when older rows are there"
            ),
            (
                "Set `lookback` to the longest window, plus the time from a row's event_time to the timestamp that it "
                "counts at"
            ),
        ),
    ],
    "no max_age": [
        (
            (
                'noshow.py: View("patient_history", ("patient",), patient_history, lookback=timedelta(days=60), '
                "max_age=timedelta(days=60)),"
            ),
            (
                "view 'patient_history' looks back 60 days, but has no max_age: a key without new rows would be "
                "served its last value for ever"
            ),
            "Set `max_age` to the time after which a value says nothing any more, such as its lookback",
        ),
    ],
    "short max_age": [
        (
            (
                'noshow.py: View("patient_history", ("patient",), patient_history, lookback=timedelta(days=60), '
                "max_age=timedelta(days=60)),"
            ),
            (
                "lookup 'patient_history' finds nothing, because the rows of view 'patient_history' are older than "
                "its max_age of 1e-06 seconds when they are asked for"
            ),
            "Set `max_age` to more than the time between two rows of a key",
        ),
    ],
    "foreign keys": [
        (
            'noshow.py: lookups=(Lookup("patient_history", {"patient": "patient"}),),',
            "lookup 'patient_history' finds nothing: no request has a key that view 'patient_history' has",
            "Compare patient of the request with patient of the view: spelling, type, leading zeros",
        ),
    ],
    "requests twice": [
        (
            (REQUEST_CHANGED),
            "4,551 values of request_id stand for several requests",
            "Let `examples` give one row for each request_id: row_id names a source row, and a join may repeat it",
        ),
    ],
    "requests by outcome": [
        (
            (REQUEST_CHANGED),
            "requests appear or vanish with what is known only after they are asked",
            (
                "Let `examples` choose its rows by their early columns alone, and leave the label null where it is "
                "not known"
            ),
        ),
    ],
    "outcome in the request": [
        (
            'noshow.py: early=("appointment_id", "patient", "clinic", "booked_days_ahead"),',
            (
                "request field 'outcome' follows from column 'missed' of table 'appointments', which is not among its"
                " `early` columns: nobody knows it before recorded_at, so no caller can send it"
            ),
            ("If it is known from reminder_at on, name 'missed' in `early`; if not, take 'outcome' out of the request"),
        ),
        (
            (REQUEST_CHANGED),
            "input 'outcome' gives the label away: alone it has an AUC of 1.0000",
            (
                "Take it out of `inputs`, or make it of what is known before the outcome; if it is known, sign why by "
                "`ratchet accept too-good --reason …`"
            ),
        ),
    ],
    "count of later rows": [
        (
            (REQUEST_CHANGED),
            "request field 'asked' follows from rows of table 'appointments' that come only after it is asked for",
            "Let `examples` make it of earlier rows, or take 'asked' out of the request",
        ),
    ],
    "outcome on demand": [
        (
            'planted_functions.py: return {"outcome": columns["label"] * 2}',
            "`on_demand` reads 'label', which nobody has when a prediction is asked for",
            "Make its columns of the request and its features alone",
        ),
    ],
    "label as input": [
        (
            "noshow.py: inputs={",
            "`inputs` names 'label', and nobody has it when a prediction is asked for",
            "Take it out of `inputs`",
        ),
    ],
    "on_demand that fails": [
        (
            "planted_functions.py: raise ValueError(\"could not convert 'x'\")",
            "`on_demand` fails with ValueError: could not convert 'x'",
            "Fix the function",
        ),
    ],
    "text as number": [
        (
            "noshow.py: inputs={",
            "input 'word' is declared a number, but holds text",
            "Declare it a 'category', or make numbers of it in `on_demand`",
        ),
    ],
    "label known at once": [
        (
            (REQUEST_CHANGED),
            "4,551 labels have no label_known_at after the timestamp that their prediction is asked for",
            "Let label_known_at be the instant from which the outcome is known, such as the `known_at` of its row",
        ),
    ],
    "label known too early": [
        (
            REQUEST_CHANGED,
            (
                "labels are not known yet at their label_known_at: 63 of them change when the sources are cut off "
                "just after the last of these timestamps"
            ),
            (
                "Let label_known_at be the instant from which the outcome cannot change any more, such as the end of "
                "the time that `label` looks at"
            ),
        ),
    ],
    "label of later days": [
        (
            "noshow.py: use_case = UseCase(",
            (
                "labels look further ahead than the `horizon` of no time: 78 of the 149 labels of 5 dates change "
                "when later rows are there"
            ),
            "Set `horizon` to the time from a request to the last row that its label may look at, and let it look no further",
        ),
    ],
    "count of earlier days": [
        (
            REQUEST_CHANGED,
            (
                "requests follow from rows of earlier dates than their own and the one before it: 31 of the 31 "
                "requests of 2024-04-30 change when these are there"
            ),
            "Make what looks back a view with a `lookback`, and look it up",
        ),
    ],
    "label of earlier days": [
        (
            REQUEST_CHANGED,
            (
                "labels follow from rows of earlier dates than their own and the one before it: 15 of the 31 labels "
                "of 2024-04-30 change when these are there"
            ),
            "Make what looks back a view with a `lookback`, and look it up",
        ),
    ],
    "column of all rows": [
        (
            "planted_functions.py: def since_the_first(columns: Columns) -> Columns:",
            (
                "`on_demand` makes another 'made' of a request by itself than among others, so that online answers "
                "would differ from training"
            ),
            "Compute each row from its own columns: what is made of other rows, such as their mean, belongs in a view",
        ),
    ],
    "prediction of all rows": [
        (
            "planted_functions.py: def less_the_mean(_columns: Columns, numbers: Array) -> Array:",
            (
                "`postprocess` makes another prediction of a request by itself than among others, so that online "
                "answers would differ from training"
            ),
            "Compute each row from its own columns: what is made of other rows, such as their mean, belongs in a view",
        ),
    ],
    "column of one value": [
        (
            "planted_functions.py: def one_value(_columns: Columns) -> Columns:",
            "`on_demand` gives column 'made' of shape (1,) for 4,551 requests",
            "Return an array with one value for each request",
        ),
    ],
    "prediction of one value": [
        (
            "planted_functions.py: def the_first(_columns: Columns, numbers: Array) -> Array:",
            "`postprocess` gives predictions of shape (1,) for 4,551 requests",
            "Return an array with one value for each request",
        ),
    ],
    "column that no single request has": [
        (
            'planted_functions.py: raise ValueError("one row is too few")',
            "`on_demand`, of one request by itself, fails with ValueError: one row is too few",
            "Fix the function",
        ),
    ],
    "postprocess that fails": [
        (
            'planted_functions.py: raise ValueError("no such number")',
            "`postprocess` fails with ValueError: no such number",
            "Fix the function",
        ),
    ],
    "label known in a year": [
        (
            "params.yaml",
            (
                "no label of the early-stopping period is known in time: it begins 14 days before they are needed, "
                "and a label takes 365.0 days to be known"
            ),
            "Let the early-stopping period begin earlier, so that it is longer than labels take",
        ),
        (
            "params.yaml",
            (
                "no label of the holdout period is known in time: it begins 78 days before they are needed, and a "
                "label takes 365.0 days to be known"
            ),
            "Let the holdout period begin earlier, so that it is longer than labels take",
        ),
    ],
    "no label": [
        (
            (REQUEST_CHANGED),
            "no example has a label",
            (
                "Let `label` be the outcome where it is known, such as 0 where nothing happened in time; null means "
                "not known yet. Where outcomes stay unknown for good, lower `gate.min_label_coverage`"
            ),
        ),
    ],
    "few labels": [
        (
            (REQUEST_CHANGED),
            "2,512 of 4,186 examples have no label, and the gate wants one for 95%",
            (
                "Let `label` be the outcome where it is known, such as 0 where nothing happened in time; null means "
                "not known yet. Where outcomes stay unknown for good, lower `gate.min_label_coverage`"
            ),
        ),
    ],
    "one class": [
        (
            (REQUEST_CHANGED),
            "every label is 1: there is nothing to learn",
            "Look at how `label` is made, or take a longer period or other rows into `examples`",
        ),
    ],
    "label that is no number": [
        (
            (REQUEST_CHANGED),
            "100% of the labels are neither 0 nor 1, such as nan",
            "Let `label` be 1 for yes and 0 for no",
        ),
    ],
    "no examples": [
        (
            (REQUEST_CHANGED),
            "`examples` gives no request from 4,551 rows",
            "Look at its filters and joins: one of them keeps nothing",
        ),
    ],
    "lookup of nothing": [
        (
            'noshow.py: lookups=(Lookup("patient_history", {"patient": "patient"}),),',
            "lookup 'elsewhere': there is no view 'elsewhere'",
            "Name one of `views`",
        ),
    ],
    "view without its keys": [
        (
            VIEW_CHANGED,
            "view 'patient_history': lacks patient",
            "Let its function return them",
        ),
    ],
    "examples that fail": [
        (
            'mistakes.py: return _tables["no such table"]',
            "`examples` fails with KeyError: 'no such table'",
            "Fix the function",
        ),
    ],
    "too few rows": [
        (
            "params.yaml",
            "the holdout will have about 1,300 rows, and the gate wants 10,000,000",
            "Let `periods.holdout` begin earlier, or lower `gate.min_rows`",
        ),
    ],
    "timestamp that is no field": [
        (
            'noshow.py: event_timestamp="reminder_at",',
            "`event_timestamp` is 'timestamp', which is no field of Reminder",
            "Name the field that says when the prediction is asked for",
        ),
    ],
    "early column that is none": [
        (
            'noshow.py: early=("appointment_id", "patient", "clinic", "booked_days_ahead"),',
            "`early` of table 'appointments' names 'nowhere', which is no column of its schema",
            "Name a column of the schema",
        ),
    ],
    "slice by nothing": [
        (
            "params.yaml",
            "`gate.slices` names 'nowhere', which neither a request, nor a lookup, nor `on_demand` has",
            "Name a column that there is",
        ),
    ],
    "baseline by nothing": [
        (
            'noshow.py: baseline=(("clinic",), ()),',
            "`baseline` names 'nowhere', which neither a request, nor a lookup, nor `on_demand` has",
            "Name a column that there is",
        ),
    ],
    "slices of a row": [
        (
            "params.yaml",
            (
                "slice 'event_timestamp' will have fewer than 50 rows in the holdout for 2024-05-14T15:29:00.000000 "
                "(about 1), 2024-05-14T16:57:00.000000 (about 1), 2024-05-14T18:15:00.000000 (about 1) and 1287 more:"
                " the gate cannot judge these"
            ),
            "Slice by something coarser, let `periods.holdout` begin earlier, or lower `gate.min_slice_rows`",
        ),
    ],
    "label longer than a block": [
        (
            "params.yaml",
            (
                "the bootstrap resamples blocks of a day, but a label looks 30 days ahead, so that neighbouring "
                "blocks share their outcomes and the gate's bounds come out too narrow"
            ),
            "Set `gate.block` to the column of the request that names the entity, or to 'week' if that is long enough",
        ),
    ],
    "one block": [
        (
            "params.yaml",
            "the holdout will have 1 block by 'all' to resample, and the gate wants 7",
            "Set `gate.block` to something finer, or let `periods.holdout` begin earlier",
        ),
    ],
}
"""Name of a mistake → the findings: the source line that is named, the problem, and what to do about it."""
