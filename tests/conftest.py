"""Set before any library is imported: no telemetry, no network, one quiet process."""

from __future__ import annotations

import os

from ratchet.quiet import QUIET

os.environ.update(QUIET)
