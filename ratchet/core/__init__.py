"""What every room may import.

errors → every expected failure · clock → instants, periods, local time · settings → params.yaml · environment → RATCHET_*
scope, paths → what belongs together, and where it lies · telemetry → switched off · progress → of long steps
syntax → code without what has no effect · text → durations, counts, hints
"""
