"""No telemetry, no log lines that repeat an error, no step that waits for a network that is not there, and no thread that spins
while it waits for another.

Import this before any of the libraries it speaks to: most read their switch when they are imported.
"""

from __future__ import annotations

import logging
import os

QUIET = {
    "DO_NOT_TRACK": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what it logs it also raises
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "OPENBLAS_NUM_THREADS": "1",  # matrices here are small: on cores that others use too, a solve took 200 times as long
    "OMP_WAIT_POLICY": "PASSIVE",  # LightGBM on cores that others use too: fitting took 20 times as long without it
}


def disable_telemetry() -> None:
    """Switch telemetry off for this process and its children, whatever was set before."""
    os.environ.update(QUIET)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)  # it logs each attempt to reach a server
