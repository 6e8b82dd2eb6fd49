"""The section of params.yaml for a new use case: every setting is written out, with sizes that fit the number of rows."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from authoring.init.plan import Plan, least_slice
from ratchet.core.errors import SettingsError
from ratchet.core.settings import DriftSettings, GateSettings, Settings, SourceSettings, TrainingSettings

USE_CASES = "use_cases"


def section(plan: Plan, source: str) -> dict[str, Any]:
    """The settings of the use case as params.yaml holds them. `source` is the path of the data."""
    chosen = plan.chosen
    settings = Settings(
        use_case=plan.name,
        source=SourceSettings(name="csv", path=source, history=True),
        windows=chosen.windows(),
        training=TrainingSettings(refit="after_gate", lightgbm=_lightgbm(chosen.train_rows)),
        gate=GateSettings(
            slices=plan.slices,
            block=plan.block,
            min_rows=min(1000, chosen.holdout_rows // 2),
            min_slice_rows=least_slice(chosen),
            min_label_coverage=_coverage(plan.labelled),
        ),
        drift=DriftSettings(
            min_rows=max(1, min(500, chosen.fresh_rows // 2)), reference_rows=max(100, min(20_000, plan.rows))
        ),
    )
    return settings.model_dump(mode="json", exclude={"use_case", "upstream"}, exclude_none=True)


def _coverage(labelled: float) -> float:
    """The default, or a little less than the share of rows that have a label, rounded down to hundredths."""
    return max(0.01, min(0.95, math.floor(labelled * 95) / 100))


def _lightgbm(rows: int) -> dict[str, Any]:
    """Small trees for few rows."""
    leaves, least = next(sizes for most, sizes in _SIZES if rows < most)
    return {
        "n_estimators": 500,
        "learning_rate": 0.05,
        "num_leaves": leaves,
        "min_child_samples": least,
        "colsample_bytree": 0.8,
        "subsample": 0.8,
        "subsample_freq": 1,
        "reg_lambda": 5,
        "cat_smooth": 20,
        "cat_l2": 20,
    }


_SIZES = ((5_000, (7, 20)), (20_000, (15, 20)), (10**12, (31, 50)))
"""For fewer rows than this → the most leaves of a tree, and the fewest rows in a leaf."""


def added(params: Path, plan: Plan, source: str) -> str:
    """The text of params.yaml with the use case added and selected. Its comments are kept. Raises SettingsError."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    content = _load(yaml, params)
    if plan.name in content[USE_CASES]:
        raise SettingsError(
            f"has a section {USE_CASES}.{plan.name} already",
            subject=str(params),
            remedy="Choose another name, or delete the section if nothing uses it",
        )
    written = section(plan, source)
    written["windows"]["start"] = DoubleQuotedScalarString(written["windows"]["start"])
    written["schedules"] = {name: DoubleQuotedScalarString(cron) for name, cron in written.get("schedules", {}).items()}
    content[USE_CASES][plan.name] = {name: block for name, block in written.items() if block}
    content["use_case"] = plan.name
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def _load(yaml: YAML, params: Path) -> Any:
    try:
        content = yaml.load(params)
    except FileNotFoundError as error:
        remedy = "Run from the root of the checkout, or restore the file"
        raise SettingsError("is not there", subject=str(params), remedy=remedy) from error
    except YAMLError as error:
        problem = f"is not YAML ({' '.join(str(error).split())})"
        raise SettingsError(problem, subject=str(params), remedy="Fix the line that the error names") from error
    if not isinstance(content, dict) or not isinstance(content.get(USE_CASES), dict):
        raise SettingsError(
            f"has no {USE_CASES}", subject=str(params), remedy=f"Add a line `{USE_CASES}:` with a section"
        )
    return content
