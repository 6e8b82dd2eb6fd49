"""Score a champion whose features this code no longer computes, with the code of the commit that the champion was made from."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from ratchet.code.git import checked_out
from ratchet.core.environment import ENVIRONMENT_PREFIX
from ratchet.core.errors import VersionError
from ratchet.core.settings import PARAMS_FILE
from ratchet.core.telemetry import QUIET
from ratchet.model_registry.champion import Champion, champion_fingerprint, resolve_champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.project.as_of import AsOf, write_as_of
from ratchet.project.run import Run
from training_pipeline.frozen_set import Answers, Holdout

logger = logging.getLogger(__name__)
MODULE = "training_pipeline.score_holdout"


def ask_champion(run: Run, holdout: Holdout) -> tuple[str | None, Answers]:
    """The champion's digest and its own code's predictions for the holdout, if this code computes different features.

    If it computes the same features, or if no model serves: None and no predictions.
    """
    registry = ModelRegistry.open(run)
    if champion_fingerprint(registry) in (None, holdout.fingerprint):
        return None, Answers.none("")
    champion = resolve_champion(registry)
    answers = predict_or_explain(run, champion, holdout.after(champion.model.contract.trained_until))
    return champion.model.digest, answers


def predict_or_explain(run: Run, champion: Champion, holdout: Holdout) -> Answers:
    """The predictions of the champion's own commit for every row. If that fails: no predictions, and the reason."""
    contract = champion.model.contract
    if not len(holdout.request_times):
        return Answers.none("no request of the holdout is newer than its training rows")
    if contract.commit is None or contract.dirty:
        remedy = "go back to its features, commit, train and promote, and then change them"
        return Answers.none(f"{contract.feature_service} was computed by code that was never committed: {remedy}")
    logger.info("scoring version %d by its own code, commit %s", champion.version, contract.commit)
    folder = run.paths.state / "own_code"
    try:
        with checked_out(run.root, contract.commit, folder):
            predicted = _score(run, champion, holdout, folder)
    except VersionError as error:
        return Answers.none(f"its own code, commit {contract.commit[:12]}, {error.problem}")
    lacking = ~pd.Index(holdout.rows["request_id"]).isin(predicted.index)
    if lacking.any():
        return Answers.none(f"its own code knows nothing of {lacking.sum()} requests")
    return Answers(predicted)


def _score(run: Run, champion: Champion, holdout: Holdout, folder: Path) -> pd.Series[float]:
    """Predictions by request_id. Raises VersionError with the last line that the old code wrote to stderr."""
    _write_params(run, champion.model.contract.use_case, folder / PARAMS_FILE)
    out, period = folder / "predictions.parquet", holdout.period
    instants = (period.start.isoformat(), period.end.isoformat())
    command = [sys.executable, "-m", MODULE, str(champion.directory), str(run.paths.accepted), *instants, str(out)]
    done = subprocess.run(command, cwd=folder, env=_environment(run), capture_output=True, text=True, check=False)
    if done.returncode:
        last_line = (done.stderr.strip() or "nothing").splitlines()[-1]
        problem = last_line.replace(f"{folder}/", "").replace(f"{run.root}/", "")  # a record holds no local paths
        raise VersionError(f"failed ({problem})", subject=MODULE, remedy="Fix this problem")
    return pd.read_parquet(out).set_index("request_id")["prediction"]


def _write_params(run: Run, use_case: str, path: Path) -> None:
    """Write the old commit's own params.yaml, with today's source, windows and instants, and where upstream files lie today."""
    today = run.settings.model_dump(mode="json", include={"source", "windows"})
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    section = {**params["use_cases"].get(use_case, {}), **today}
    places = {
        name: str(run.root / run.settings.upstream.get(name, own)) for name, own in section.get("upstream", {}).items()
    }
    section |= {"upstream": places} if places else {}
    params |= {"use_case": use_case, "use_cases": {use_case: section}}
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    write_as_of(path.parent, use_case, AsOf.at(run.as_of("training")))


def _environment(run: Run) -> dict[str, str]:
    """This process's environment without its Python path and stores: the old code uses only the stores of its own folder."""
    limits = {"THREADS": str(run.environment.threads), "MEMORY_LIMIT": run.environment.memory_limit}
    others = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    others.pop("PYTHONPATH", None)
    return {**others, **QUIET, **{f"{ENVIRONMENT_PREFIX}{name}": value for name, value in limits.items()}}
