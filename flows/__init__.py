"""Three pipelines as Prefect flows: wiring, no logic. Each runs by itself and meets the others only in the stores."""

from ratchet.core.telemetry import disable_telemetry

disable_telemetry()  # before Prefect is imported, which reads its switches then
