"""A champion that no registry holds, and joined requests for it to score."""

from __future__ import annotations

import numpy as np

from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols import PROTOCOLS
from ratchet.feature_store.online_reads import Found
from ratchet.model_registry.champion import Champion
from ratchet.prediction_log import schema as prediction_schema
from ratchet.prediction_log.online_log import OnlineLog
from ratchet.project.run import Run
from ratchet.use_case.contract import Array, Columns
from tests.support.models import noshow_candidate, noshow_columns, noshow_contract, save_noshow
from tests.support.noshow import use_case
from tests.support.records import noshow_record


def noshow_champion(run: Run, version: int = 1, reference_rows: int = 100) -> Champion:
    """The candidate of made-up rows, with a signed record."""
    model = noshow_candidate(noshow_contract(run))
    directory = save_noshow(model, run.root / "champion", reference_rows)
    return Champion(version, model, noshow_record(run, model), directory)


def joined_columns(rows: int = 200, **changes: object) -> dict[str, Array]:
    """Requests joined with their features and completed; where there is no feature there is no timestamp."""
    columns = noshow_columns(rows, **changes)  # type: ignore[arg-type]
    looked_up = columns["event_timestamp"] - np.timedelta64(1, "D")
    absent = np.isnan(columns["patient_history__appointments_56d"])
    columns["patient_history__event_timestamp"] = np.where(absent, np.datetime64("NaT", "us"), looked_up)
    return use_case.complete(columns)


class FixedFeatures:
    """Every patient missed one of four appointments, known since the day before."""

    def read(self, requests: Columns) -> Found:
        timestamps = requests["event_timestamp"]
        columns = {
            "patient_history__appointments_56d": np.full(len(timestamps), 4.0),
            "patient_history__miss_rate_56d": np.full(len(timestamps), 0.25),
            "patient_history__event_timestamp": timestamps - np.timedelta64(1, "D"),
        }
        return Found(columns, {"patient_history": np.full(len(timestamps), None, object)})


def fixed_predictor(run: Run) -> Predictor:
    """A predictor that needs no store."""
    schema = prediction_schema.log_schema(run.use_case)
    readers = {name: protocol.reader(run.use_case) for name, protocol in PROTOCOLS.items()}
    return Predictor(run, noshow_champion(run), readers, FixedFeatures(), OnlineLog(run.paths.online_log), schema)
