"""The time zone whose local days and hours count."""

TIMEZONE = "America/New_York"
