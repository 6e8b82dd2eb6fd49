"""Find the usual mistakes of a use case on a sample of its data, in seconds, each with the line to change.

checks → all checks, in order (the door) · finding → what a check reports · source_lines → the line of a declaration
sample, features → the rows, and what follows from them · every other module → some checks
"""

from authoring.check.checks import Checkup, check, checkup

__all__ = ["Checkup", "check", "checkup"]
