"""The basics, which every room may import.

errors → every expected failure · clock → instants, periods, local time · settings → params.yaml
environment → RATCHET_* · schedule → cron · windows → training, holdout and fresh as of an instant
scope → a use case and its source · paths → their files and folders · telemetry → switched off · progress → of long steps
syntax → code without parts that have no effect · text → durations, counts, suggestions
"""
