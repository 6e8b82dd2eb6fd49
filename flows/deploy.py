"""`python -m flows.deploy`: prefect.yaml, once for each use case of params.yaml."""

from __future__ import annotations

import os
import subprocess
import sys

from ratchet.errors import RatchetError
from ratchet.project import Project
from ratchet.settings import Settings

COMMAND = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")


def deploy(settings: Settings) -> None:
    """Deploy the three flows of a use case; Prefect's own output and exit code say how it went."""
    subprocess.run(COMMAND, env={**os.environ, **placeholders(settings)}, check=True)


def placeholders(settings: Settings) -> dict[str, str]:
    """What prefect.yaml leaves open."""
    schedules = {f"{flow.upper()}_SCHEDULE": cron for flow, cron in settings.schedules.model_dump().items()}
    return {"USE_CASE": settings.use_case, **schedules}


def main() -> None:
    try:
        for project in Project.load_all():
            deploy(project.settings)
    except RatchetError as error:
        sys.exit(f"flows.deploy: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
