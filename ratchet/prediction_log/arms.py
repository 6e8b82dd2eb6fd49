"""The names of arms in answers and in the log: who gave a prediction."""

from __future__ import annotations

CHAMPION, CHALLENGER, ASKED = "champion", "challenger", "asked"
"""A caller who names a version is answered by it, and belongs to no arm of a rollout."""
