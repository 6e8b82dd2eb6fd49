"""Three pipelines as Prefect flows: wiring, no logic. Each runs by itself and shares only the stores with the others."""

from ratchet.core.telemetry import disable_telemetry

disable_telemetry()  # before the import of Prefect, which reads its telemetry settings
