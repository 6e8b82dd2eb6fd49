"""Whose clocks count."""

TIMEZONE = "Europe/Copenhagen"
