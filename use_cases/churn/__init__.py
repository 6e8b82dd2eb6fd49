"""Which customers cancel within 30 days of a monthly bill."""

from use_cases.churn.use_case import use_case

__all__ = ["use_case"]
