"""Load a release: verify it, and make the predictor that answers with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from inference_pipeline.online.arms import Arms
from inference_pipeline.online.instances import REQUESTS, VECTORS, InstanceReader
from inference_pipeline.online.predictor import Predictor
from inference_pipeline.online.protocols.port import Inputs
from inference_pipeline.online.release import BASELINE, CHALLENGER, MODEL, Release, read_release
from inference_pipeline.online.requests import RequestReader
from inference_pipeline.online.rollout_watch import RolloutWatch
from inference_pipeline.online.scorer import Scorer
from inference_pipeline.online.shared import Shared
from inference_pipeline.online.vectors import VectorReader
from ratchet.core.errors import SettingsError
from ratchet.feature_store.freshness import Freshness, read_freshness
from ratchet.feature_store.online_features import micros_of
from ratchet.gate.signing import SigningKey
from ratchet.project.run import Run
from ratchet.use_case.contract import UseCase


def load_predictor(run: Run, folder: Path, shared: Shared) -> Predictor:
    """The predictor of a release, verified. Raises GateError, DataError or OSError."""
    release = read_release(folder, SigningKey.open(run), run.use_case)
    return Predictor(
        release=release,
        use_case=run.use_case,
        arms=_arms(run, folder, release),
        baseline=Scorer.load(folder / BASELINE, release.baseline, run.use_case) if release.baseline else None,
        instances=instances_of(run.use_case, release),
        features=shared.features.of(release),
        shared=shared,
        clock=run.clock,
        watch=RolloutWatch(run.settings.serving.rollout),
    )


def _arms(run: Run, folder: Path, release: Release) -> Arms:
    """The models of a release. A challenger does nothing yet: `ModelSlot` follows its rollout."""
    champion = Scorer.load(folder / MODEL, release.champion, run.use_case)
    arms, released = Arms(champion, sticky_by=_sticky_by(run, release)), release.challenger
    return replace(arms, challenger=Scorer.load(folder / CHALLENGER, released, run.use_case)) if released else arms


def _sticky_by(run: Run, release: Release) -> Sequence[str]:
    """The columns of a request that decide who answers. Raises SettingsError for one that it has not."""
    named, columns = run.settings.serving.rollout.sticky_by, run.use_case.request_fields()
    if unknown := sorted({*named} - {*columns}):
        raise SettingsError(
            f"names {', '.join(unknown)}, which no request has",
            subject="serving.rollout.sticky_by of params.yaml",
            remedy=f"Name some of {', '.join(columns)}",
        )
    return named or release.keys


def instances_of(use_case: UseCase, release: Release) -> dict[str, InstanceReader[Inputs]]:
    """What may be sent to a release, by the end of the model's name."""
    return {REQUESTS: RequestReader(use_case, release.columns), VECTORS: VectorReader(release.inputs)}


def note_freshness(run: Run, predictor: Predictor) -> None:
    """Tell the predictor until when each view may be used. While the online store is being written, that stays as it was."""
    held = read_freshness(run.paths.materialized_file)
    if held:
        names = {
            place.view: lookup.view
            for place, lookup in zip(predictor.release.lookups, run.use_case.lookups, strict=True)
        }
        predictor.features.note_freshness([_usable_until(held.get(names[view])) for view in range(len(names))])


def _usable_until(found: Freshness | None) -> int | None:
    """Until when a view has features that are not too old, in microseconds since 1970; None if for ever."""
    if found is None or found.max_age_seconds is None:
        return None
    return micros_of(found.fresh_until) if found.fresh_until else 0
