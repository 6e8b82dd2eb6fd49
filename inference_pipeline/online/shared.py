"""What the releases of a use case share in a process, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from inference_pipeline.online.batches import Batches
from inference_pipeline.online.log_writer import LogWriter
from inference_pipeline.online.metrics import Counts
from inference_pipeline.online.served_features import ServedFeatures
from inference_pipeline.online.shadow import Shadow
from ratchet.project.run import Run


@dataclass(frozen=True)
class Shared:
    """Where features are read, where predictions are logged and counted, and the threads that predict. Without `batches`, each
    request is predicted at once."""

    features: ServedFeatures
    log: LogWriter
    counts: Counts
    shadow: Shadow
    batches: Batches | None = None

    @classmethod
    def of(cls, run: Run) -> Self:
        serving, folder = run.settings.serving, run.paths.online_log
        return cls(
            ServedFeatures(run),
            LogWriter(folder, serves_unlogged=serving.unlogged == "serve"),
            Counts(run.scope.namespace, run.use_case.lookups),
            Shadow(folder),
            Batches(serving.batch_rows) if serving.batch_rows > 1 else None,
        )

    def close(self) -> None:
        """Do what still waits, and stop."""
        if self.batches:
            self.batches.close()
        self.shadow.close()
        self.log.close()
