"""What is a refit worth? `python -m benchmarks.refit_gain DIR`, with the TLC's months of January to June 2023 in DIR.

For three months, the model of nyc_taxi is trained as params.yaml says, with that month as the holdout, and its recipe is fitted
again with the holdout. Both models are compared on the month after it, which neither has seen.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from feature_pipeline.featurize import featurize
from feature_pipeline.ingest import ingest
from feature_pipeline.validate import validate
from ratchet.core.clock import Period, local_midnight
from ratchet.core.environment import Environment
from ratchet.core.settings import PARAMS_FILE, Settings, SourceSettings
from ratchet.core.telemetry import disable_telemetry
from ratchet.feature_store.definitions import apply
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.offline_reads import labelled_requests
from ratchet.models.metrics import metrics, row_losses
from ratchet.models.model import Model
from ratchet.project.as_of import AsOf
from ratchet.project.run import Run
from training_pipeline.dataset import dataset
from training_pipeline.evidence import block_codes, paired_gain
from training_pipeline.frozen_set import complete, read_refit_set, read_training_set
from training_pipeline.refit import collect
from training_pipeline.train import fit_candidate, fit_recipe, stop_early

MONTHS = (
    (date(2023, 4, 15), date(2023, 5, 1)),
    (date(2023, 5, 15), date(2023, 6, 1)),
    (date(2023, 6, 15), date(2023, 7, 1)),
)
"""As-of day of the training, and the end of the month on which both models are compared."""


@click.command()
@click.argument("months", type=click.Path(exists=True, path_type=Path))
def main(months: Path) -> None:
    """Print a table in Markdown."""
    disable_telemetry()
    with TemporaryDirectory() as folder:
        run = _project(Path(folder), months)
        for step in (ingest, validate, featurize):
            step(run)
        apply(FeatureStore.open(run))
        click.echo("| month | n | trees | judged, RMSE | refitted, RMSE | gain | bounds | change |")
        click.echo("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for day, end in MONTHS:
            click.echo(_row(run, day, end))


def _project(folder: Path, months: Path) -> Run:
    """A project with all months, as of July."""
    settings = Settings.load(Path(PARAMS_FILE), "nyc_taxi")
    source = SourceSettings(name="tlc", path=str(months.resolve()), history=True)
    instants = AsOf.at(_local(date(2023, 7, 1)))
    return Run(folder, settings.model_copy(update={"source": source}), instants, Environment.from_environment())


def _local(day: date) -> datetime:
    return local_midnight(day, "America/New_York")


def _row(run: Run, day: date, end: date) -> str:
    """Train, refit, and compare on the month that ends at `end`."""
    assert run.instants
    run = run.as_of_instants(run.instants.model_copy(update={"training": _local(day)}))
    dataset(run)
    training, settings, threads = read_training_set(run), run.settings, run.environment.threads
    trees = stop_early(training, settings.training, threads).trees
    judged = fit_candidate(training, trees, settings.training, threads)
    rows = read_refit_set(run)
    contract = rows.contract.model_copy(update={"kind": "lightgbm", "params": judged.contract.params})
    refit = fit_recipe(contract, rows.rows, run.use_case.postprocess, threads)
    change = collect(refit, judged, rows).change
    period = Period(contract.trained_until, _local(end))
    return f"| {period.start:%Y-%m} | {_compare(run, judged, refit, trees, period)} | {change:.2f} |"


def _compare(run: Run, judged: Model, refit: Model, trees: int, period: Period) -> str:
    """The cells about one month of unseen rows."""
    use_case, gate = run.use_case, run.settings.gate
    rows = complete(use_case, labelled_requests(FeatureStore.open(run), period, run.as_of("feature")))
    predicted = [model.predict(rows) for model in (judged, refit)]
    before, after = (metrics(use_case.task, rows["label"], each)["rmse"] for each in predicted)
    losses = [row_losses(use_case.task, rows["label"], each) for each in predicted]
    blocks = block_codes(rows, gate.block, use_case.timezone)
    gain = paired_gain(use_case.task, losses[1], losses[0], blocks, gate, run.settings.training.seed)
    bounds = f"{gain.lower:.2%} to {gain.upper:.2%}"
    return f"{len(rows['label']):,} | {trees} | {before:.3f} | {after:.3f} | {gain.value:.2%} | {bounds}"


if __name__ == "__main__":
    main()
