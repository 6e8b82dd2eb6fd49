"""Whose clocks count."""

TIMEZONE = "America/New_York"
