"""Set before any library is imported: no telemetry, no network, one quiet process."""

from __future__ import annotations

import os

from hypothesis import settings

from ratchet.core.telemetry import QUIET

os.environ.update(QUIET)
settings.register_profile("ratchet", deadline=None)  # examples write files, on a machine that others use too
settings.load_profile("ratchet")
