"""The time zone whose local days and hours count."""

TIMEZONE = "Europe/Copenhagen"
