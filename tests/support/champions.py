"""A champion that no registry holds, and joined requests for it to score."""

from __future__ import annotations

import numpy as np

from ratchet.project import Project
from ratchet.promotion import Champion
from ratchet.use_case import Array
from tests.support.models import noshow_candidate, noshow_columns, noshow_contract, save_noshow
from tests.support.records import noshow_record


def noshow_champion(project: Project, version: int = 1, reference_rows: int = 100) -> Champion:
    """The candidate of made-up rows, with a signed record."""
    model = noshow_candidate(noshow_contract(project))
    directory = save_noshow(model, project.root / "champion", reference_rows)
    return Champion(version, model, noshow_record(project, model), directory)


def joined_columns(rows: int = 200, **changes: object) -> dict[str, Array]:
    """Requests joined with their features, as `historical` returns them; without a feature there is no timestamp."""
    columns = noshow_columns(rows, **changes)  # type: ignore[arg-type]
    looked_up = columns["event_timestamp"] - np.timedelta64(1, "D")
    absent = np.isnan(columns["patient_history__appointments_56d"])
    columns["patient_history__event_timestamp"] = np.where(absent, np.datetime64("NaT"), looked_up)
    return columns
