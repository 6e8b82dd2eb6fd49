"""params.yaml: every setting that changes results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ratchet.core.errors import SettingsError
from ratchet.core.frozen import Frozen
from ratchet.core.lengths import ONE_DAY, Days, Length
from ratchet.core.retention import problem_of as problem_of_retention
from ratchet.core.schedule import problem_of
from ratchet.core.scope import Scope
from ratchet.core.serving_settings import ServingSettings
from ratchet.core.wrong_settings import explain

PARAMS_FILE = "params.yaml"
WATCHED = ("source", "windows", "validation", "training", "gate", "drift", "schedules", "retention")
"""Keys that every section of params.yaml must have, because dvc.yaml names them."""
BLOCKS = {"day": timedelta(days=1), "week": timedelta(weeks=1)}
"""Blocks of the bootstrap in local time; any other block is a column."""
Model = TypeVar("Model", bound=BaseModel)


class SourceSettings(Frozen):
    """The active source: its name in the use case, the path that it reads from, and its other options.

    `history` is true for a source that holds the past, such as a simulator or a folder of old files. Then scheduled flows
    advance to the newest instant up to which it is complete, and not to the time at which they were scheduled. `lag` says for a
    table how long after they are known its rows are usually delivered, such as `{trips: 6h}`; others are delivered at once.
    """

    name: str
    path: str
    history: bool = False
    lag: dict[str, Length] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)


class Windows(Frozen):
    """How time is divided as of an instant. These are lengths, so that all windows move with the instant.

    `start` is the local day on which history begins. `fresh` is the newest part: models are monitored on it, and none is fitted
    or judged on it. `holdout` comes before it, and ends before the requests whose labels may not be known yet, which are those
    of the last `label_maturity`. Models are fitted on everything before the holdout, or on as much of it as `training` says;
    `early_stopping` is the newest part of these rows.
    """

    start: date
    training: Literal["expanding"] | Days = "expanding"
    early_stopping: Days = Field(ge=ONE_DAY)
    holdout: Days = Field(ge=ONE_DAY)
    fresh: Days = Field(ge=ONE_DAY)
    label_maturity: Days = timedelta(0)

    @model_validator(mode="after")
    def _leaves_rows_to_fit_on(self) -> Self:
        if self.training != "expanding" and self.training <= self.early_stopping:
            raise ValueError("training must be longer than early_stopping, which is part of it")
        return self


Check = Literal["quarantined", "rule", "repeated", "volume", "days", "nulls", "range", "shifted"]
"""A check of a batch as a whole. `feature_pipeline/batch_checks.py` says what each compares."""


class ValidationSettings(Frozen):
    """The bounds by which a batch is checked as a whole, against up to `trailing` earlier batches of its table.

    A batch that fails a check in `refuse` is quarantined whole; the other checks only warn. A batch of fewer than `min_rows`
    rows, or a table whose batches usually have fewer, is only checked for repeated keys. `max_quarantined` is the largest share
    of a batch's rows that may break a rule. `min_volume` and `max_volume` bound its rows for each day, and its days, as factors
    of the usual number. The share of missing values of a column may change by `max_null_change`, and `max_outside`
    is the largest share of a column's values that may be outside its usual range.
    """

    refuse: tuple[Check, ...] = ("quarantined", "rule", "shifted")
    trailing: int = Field(8, ge=2)
    min_rows: int = Field(50, ge=1)
    max_quarantined: float = Field(0.2, ge=0.0, le=1.0)
    min_volume: float = Field(0.6, ge=0.0, lt=1.0)
    max_volume: float = Field(1.7, gt=1.0)
    max_null_change: float = Field(0.1, ge=0.0, le=1.0)
    max_outside: float = Field(0.1, ge=0.0, le=1.0)


class TrainingSettings(Frozen):
    """How a candidate is fitted. `lightgbm` is passed to the estimator unchanged.

    With `refit: after_gate`, a candidate that the gate finds superior is fitted again on all rows up to the fresh window, and
    then serves.
    """

    seed: int = 7
    early_stopping_rounds: int = Field(50, ge=1)
    refit: Literal["after_gate", "never"] = "never"
    lightgbm: dict[str, Any] = Field(default_factory=dict)


class GateSettings(Frozen):
    """The bounds by which a candidate is judged. Skill is 1 − error(candidate) / error(reference), on the same rows.

    `slices` are columns: quality is also judged separately for each of their values. `block` is what the bootstrap resamples:
    local days or weeks, or the values of a column.

    `min_label_coverage` is the smallest share of the holdout's requests that must have a label: requests whose outcome is
    known early are not a fair sample. Probabilities must also have a calibration error of at most `max_calibration_error`,
    and an AUC that is at most `max_auc_loss` below the reference's.

    `max_refit_change` bounds how far the predictions of a refit may be from those of the judged model, as a share of the judged
    model's own error (both as a root mean square).
    """

    slices: tuple[str, ...] = ()
    block: str = Field("day", min_length=1)
    min_rows: int = Field(1000, ge=1)
    min_blocks: int = Field(7, ge=2)
    min_label_coverage: float = Field(0.95, gt=0.0, le=1.0)
    min_skill: float = Field(0.0, ge=0.0, lt=1.0)
    min_slice_rows: int = Field(200, ge=1)
    min_slice_skill: FiniteFloat = -0.05
    max_calibration_error: float = Field(0.1, ge=0.0, le=1.0)
    max_auc_loss: float = Field(0.01, ge=0.0, le=1.0)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    min_gain: float = Field(0.0, ge=0.0, lt=1.0)
    non_inferiority_margin: float = Field(0.01, ge=0.0, lt=1.0)
    resamples: int = Field(2000, ge=200)
    leak_cut_offs: int = Field(3, ge=1)
    max_refit_change: float = Field(0.5, gt=0.0)


class DriftSettings(Frozen):
    """A column drifts if its population stability index against the training reference reaches `column_threshold`.

    The window drifts if the share of such columns reaches `share_threshold`, or the prediction drifts.
    """

    column_threshold: float = Field(0.2, gt=0.0)
    share_threshold: float = Field(0.3, gt=0.0, le=1.0)
    reference_rows: int = Field(20_000, ge=100)
    min_rows: int = Field(500, ge=1)

    @model_validator(mode="after")
    def _enough_to_compare(self) -> Self:
        if self.reference_rows < self.min_rows:
            raise ValueError("reference_rows must be at least min_rows, or nothing could ever be compared")
        return self


class Schedules(Frozen):
    """When Prefect runs each flow of a use case, as cron expressions in UTC."""

    feature: str = "0 * * * *"
    training: str = "35 2 * * *"
    inference: str = "20 * * * *"

    @field_validator("*")
    @classmethod
    def _is_cron(cls, expression: str) -> str:
        problem = problem_of(expression)
        if problem:
            raise ValueError(f"{expression!r} is no cron expression ({problem})")
        return expression


class Retention(Frozen):
    """How long things are kept, back from the as-of instant; None is for ever.

    `predictions` is for both halves of the prediction log, and `features` for views, requests and labels. `runs` is for the
    data versions that runs left behind, and for the models that were registered and never served.
    """

    predictions: Days | None = Field(None, ge=ONE_DAY)
    features: Days | None = Field(None, ge=ONE_DAY)
    runs: Days | None = Field(timedelta(days=90), ge=ONE_DAY)


class Settings(Frozen):
    """The settings of one use case in params.yaml.

    `upstream` says for each view that another system computes where its Parquet files lie: a file, a folder, or a pattern.
    """

    use_case: str
    source: SourceSettings
    windows: Windows
    validation: ValidationSettings = ValidationSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    drift: DriftSettings = DriftSettings()
    schedules: Schedules = Schedules()
    retention: Retention = Retention()
    serving: ServingSettings = ServingSettings()
    upstream: dict[str, str] = Field(default_factory=dict)

    @field_validator("retention")
    @classmethod
    def _keeps_what_windows_need(cls, retention: Retention, info: ValidationInfo) -> Retention:
        problem = problem_of_retention(retention, info.data["windows"]) if "windows" in info.data else None
        if problem:
            raise ValueError(problem)
        return retention

    @property
    def scope(self) -> Scope:
        return Scope(self.use_case, self.source.name)

    @classmethod
    def load(cls, path: Path, use_case: str | None = None) -> Settings:
        """The settings of `use_case` (default: the one that params.yaml selects). Raises SettingsError."""
        params = Params.load(path)
        name = use_case or params.use_case
        if name not in params.use_cases:
            known = ", ".join(params.use_cases) or "none"
            raise SettingsError(
                f"use_case {name!r} has no section in use_cases (known are {known})",
                subject=str(path),
                remedy="Name one of them, or give it a section",
            )
        section = params.use_cases[name]
        missing = [block for block in WATCHED if block not in section]
        if missing:
            raise SettingsError(
                f"use_cases.{name} lacks {', '.join(missing)}",
                subject=str(path),
                remedy="Add it, at least as {}: dvc.yaml watches it",
            )
        return parse(cls, {**section, "use_case": name}, str(path), within=f"use_cases.{name}.")


class Params(Frozen):
    """params.yaml: a section for each use case of the checkout, and the use case that commands select by default."""

    use_case: str
    use_cases: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, path: Path) -> Params:
        """Raises SettingsError. `Settings.load` checks the sections."""
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SettingsError(
                "is not there", subject=str(path), remedy="Run from the root of the checkout, or restore the file"
            ) from error
        except yaml.YAMLError as error:
            problem = f"is not YAML ({' '.join(str(error).split())})"
            raise SettingsError(problem, subject=str(path), remedy="Fix the line it names") from error
        return parse(cls, raw if isinstance(raw, Mapping) else {}, str(path))


def parse(
    model: type[Model],
    raw: Mapping[str, Any],
    subject: str,
    *,
    within: str = "",
    spelled: Callable[[str], str] = lambda name: name,
) -> Model:
    """Validate `raw`, or raise a SettingsError that lists each wrong key with the known ones.

    `within` is the prefix of the keys in the subject, and `spelled` returns a key as it is written there.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(within + explain(model, dict(problem), spelled) for problem in error.errors())
        raise SettingsError(problems, subject=subject, remedy="Fix what is named and run again") from error
