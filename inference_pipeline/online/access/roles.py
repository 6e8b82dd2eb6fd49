"""The roles of API keys."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["predict", "explain", "feedback", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""What a key may do. `admin` may do everything."""
