"""A champion that no registry holds, and joined requests for it to score."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from inference_pipeline.online.loader import described
from inference_pipeline.online.log_writer import LogWriter
from inference_pipeline.online.metrics import Counts
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.release import MODEL, Release, ReleasedModel
from inference_pipeline.online.requests import RequestReader
from inference_pipeline.online.scorer import Scorer
from ratchet.feature_store.online_features import OnlineFeatures
from ratchet.feature_store.stored_rows import HeldRows
from ratchet.model_registry.champion import Champion
from ratchet.project.run import Run
from ratchet.use_case.contract import Array
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


class FixedRows:
    """An online store in which every patient missed one of four appointments, known since the day before."""

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> list[HeldRows | None]:
        return [_SinceYesterday()] * len(wanted)

    def close(self) -> None:
        pass


class _SinceYesterday(HeldRows):
    def __init__(self) -> None:
        super().__init__(0, (), None)

    def at(self, second: int) -> tuple[int, Sequence[float]]:
        return second - 86_400, (4, 0.25)


def release_of(run: Run, champion: Champion) -> Release:
    """The description of a release that no folder holds."""
    contract = champion.model.contract
    released = ReleasedModel(
        version=champion.version, digest=champion.model.digest, feature_service=contract.feature_service
    )
    return described(run, contract, {MODEL: released}, {})


def fixed_predictor(
    run: Run, _folder: Path = Path(), log: LogWriter | None = None, counts: Counts | None = None
) -> Predictor:
    """A predictor that needs no store and no release."""
    champion = noshow_champion(run)
    release = release_of(run, champion)
    requests = RequestReader(run.use_case, release.columns)
    return Predictor(
        release,
        run.use_case,
        Scorer(release.champion, champion.model, run.use_case),
        None,
        OnlineFeatures(release.views, release.lookups, FixedRows(), timedelta(0)),
        log or LogWriter(run.paths.online_log),
        run.clock,
        {name: protocol.reader(requests) for name, protocol in PROTOCOLS.items()},
        counts or Counts(release.model_name, run.use_case.lookups),
    )
