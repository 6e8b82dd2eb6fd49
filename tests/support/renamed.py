"""A use case whose folder has another name than it has itself."""

from tests.support.noshow import use_case

__all__ = ["use_case"]
