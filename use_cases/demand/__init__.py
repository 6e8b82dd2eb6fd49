"""How many rides begin at a station in the coming hour."""

from use_cases.demand.use_case import use_case

__all__ = ["use_case"]
