"""Training is a function of its rows and settings, wherever it runs."""

from __future__ import annotations

import subprocess
import sys

from tests.support.models import noshow_baseline, noshow_candidate


def test_another_process_trains_the_same_model() -> None:
    """Neither the process, its hash seed nor its threads show in the digest."""
    code = "from tests.support.models import *; print(noshow_baseline().digest, noshow_candidate(threads=2).digest)"
    environment = {"PYTHONPATH": ".", "PYTHONHASHSEED": "99"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert [noshow_baseline().digest, noshow_candidate(threads=1).digest] == done.stdout.split()
