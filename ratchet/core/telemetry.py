"""Environment variables against telemetry, log lines that repeat an error, long waits for an absent network, and busy waiting.

Call `disable_telemetry` before you import one of these libraries: most read their variable when they are imported.
"""

from __future__ import annotations

import logging
import os

QUIET = {
    "DO_NOT_TRACK": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # it raises every error that it logs
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "OPENBLAS_NUM_THREADS": "1",  # with more threads, on busy cores, solving a small system took 200 times as long
    "OMP_WAIT_POLICY": "PASSIVE",  # without it, on busy cores, LightGBM took 20 times as long to fit
}


def disable_telemetry() -> None:
    """Switch telemetry off for this process and its children, even if it was switched on before."""
    os.environ.update(QUIET)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)  # it logs each attempt to reach a server
