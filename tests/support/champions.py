"""A champion that no registry holds, and joined requests for it to score."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from inference_pipeline.online.arms import Arms
from inference_pipeline.online.load_release import instances_of
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.release import MODEL, Release, ReleasedModel
from inference_pipeline.online.release_writer import described
from inference_pipeline.online.rollout_watch import RolloutWatch
from inference_pipeline.online.scorer import Scorer, UncompiledModel
from inference_pipeline.online.shared import Shared
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
    service = champion.model.contract.feature_service
    released = ReleasedModel(version=champion.version, digest=champion.model.digest, feature_service=service)
    return described(run, champion, {MODEL: released}, {})


def fixed_predictor(
    run: Run,
    _folder: Path = Path(),
    shared: Shared | None = None,
) -> Predictor:
    """A predictor that needs no store and no release."""
    champion = noshow_champion(run)
    release = release_of(run, champion)
    return Predictor(
        release,
        run.use_case,
        Arms(Scorer(release.champion, UncompiledModel(champion.model, 1), run.use_case), sticky_by=release.keys),
        None,
        OnlineFeatures(release.views, release.lookups, FixedRows(), timedelta(0)),
        shared or Shared.of(run),
        run.clock,
        instances_of(run.use_case, release),
        RolloutWatch(run.settings.serving.rollout),
    )
