"""How long a New York taxi trip takes, predicted at its pickup."""

from use_cases.nyc_taxi.use_case import use_case

__all__ = ["use_case"]
