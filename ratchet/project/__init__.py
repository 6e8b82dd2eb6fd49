"""A checkout at work.

project → settings, use case and paths · step_reports → what a step reports · versions → git, DVC and the lock of a use case ·
code_digest → which code a result follows from
"""
